//! Starting, and doing nothing.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::Options;
use crate::cluster::{Agent, Cluster};
use crate::stats::{Samples, ms};
use crate::table::{Row, Table};

/// Starts on fresh data directories.
const STARTS: usize = 5;
/// What a cluster does in its first seconds is starting.
const SETTLE: Duration = Duration::from_secs(5);
/// For how long the idle processor time is counted.
const IDLE: Duration = Duration::from_secs(30);
/// Clock ticks a second in /proc/PID/stat (USER_HZ), fixed in the kernel's interface on the machines Berth runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// From `berth up` on nothing to a Ready node, seen by a client over HTTPS.
pub(crate) async fn cold_starts(options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let mut samples = Samples::default();
    for _ in 0..STARTS {
        let begun = Instant::now();
        let mut cluster = Cluster::launch(options, Agent::Real)?;
        cluster.ready(Agent::Real).await?;
        samples.extend([begun.elapsed()]);
    }
    let measured = format!("{} (max {})", ms(samples.p50()), ms(samples.max()));
    table.add(Row::new(format!("cold start to node Ready, median of {STARTS}"), measured, "500 ms"));
    Ok(())
}

/// Memory and processor time of a node without pods.
pub(crate) async fn idle(options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let cluster = Cluster::start(options, Agent::Real).await?;
    tokio::time::sleep(SETTLE).await;
    let (before, begun) = (cpu_seconds(cluster.pid())?, Instant::now());
    tokio::time::sleep(IDLE).await;
    let cpu = (cpu_seconds(cluster.pid())? - before) / begun.elapsed().as_secs_f64() * 100.0;
    let pss = pss_mib(cluster.pid())?;
    table.add(Row::new("idle memory (PSS), no pods", format!("{pss:.1} MiB"), "50 MiB"));
    table.add(Row::new(
        format!("idle CPU over {} s", IDLE.as_secs()),
        format!("{cpu:.2} % of a core"),
        "1 %",
    ));
    Ok(())
}

/// The proportional set size of a process and its children.
pub(crate) fn pss_mib(pid: u32) -> anyhow::Result<f64> {
    let mut kib = 0.0;
    for pid in std::iter::once(pid).chain(children(pid)) {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let line =
            text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss in smaps_rollup")?;
        kib += line.trim().trim_end_matches("kB").trim().parse::<f64>()?;
    }
    Ok(kib / 1024.0)
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// User and system time of a process so far.
fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat names no command")?;
    // The state is field 3 of proc_pid_stat(5), utime 14 and stime 15.
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / TICKS_PER_SECOND)
}
