//! Decisions and persisted bindings a second: 5,000 nodes, 10,000 pods.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use berth_scheduler::Scheduler;
use berth_state::State;
use berth_tasks::{Clock, SystemClock};

use crate::Options;
use crate::control_plane::ControlPlane;
use crate::load::{NODES, PODS, Workload};
use crate::policies::{Kind, Policies, install, install_in};
use crate::stats::{median, per_second};
use crate::table::{Row, Table};

/// How often each is measured, in turn, so that all see the same machine.
const DECISION_ROUNDS: usize = 5;
const BINDING_ROUNDS: usize = 3;
/// Pods decided about at a time, as the shell does it.
const ROUND_PODS: usize = 256;

/// What the pure scheduler makes of it, with nothing written.
pub(crate) async fn decisions(options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let policies = Policies::new()?;
    for workload in [Workload::many(options)?, Workload::single()] {
        let state = filled(options, &workload).await?;
        let (mut wasm, mut native) = (Vec::new(), Vec::new());
        for _ in 0..DECISION_ROUNDS {
            wasm.push(per_second(PODS, decide_all(&policies, Kind::Wasm, &state)?));
            native.push(per_second(PODS, decide_all(&policies, Kind::Native, &state)?));
        }
        let figure = format!("decisions/s, {NODES} nodes, {PODS} pods, {}", workload.name);
        table.add(compared(figure, "", median(wasm), median(native)));
    }
    Ok(())
}

/// From the first POST until the last binding is on the disk.
pub(crate) async fn bindings(options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let policies = Policies::new()?;
    for workload in [Workload::many(options)?, Workload::single()] {
        let (mut wasm, mut native) = (Vec::new(), Vec::new());
        for _ in 0..BINDING_ROUNDS {
            wasm.push(per_second(PODS, bind_all(options, &policies, Kind::Wasm, &workload).await?));
            native.push(per_second(PODS, bind_all(options, &policies, Kind::Native, &workload).await?));
        }
        let figure = format!("persisted pods/s from the first POST, {}", workload.name);
        table.add(compared(figure, "10000/s", median(wasm), median(native)));
    }
    Ok(())
}

/// A row of the sandboxed policy beside the native one. The ratio is of times: above 1 the sandbox is slower.
fn compared(figure: String, goal: &'static str, wasm: f64, native: f64) -> Row {
    Row::new(figure, format!("{wasm:.0}/s"), goal).beside(format!("native {native:.0}/s"), native / wasm)
}

/// A state in which all pods of the workload wait.
pub(crate) async fn filled(options: &Options, workload: &Workload) -> anyhow::Result<State> {
    let plane = ControlPlane::start(&options.work).await?;
    plane.post(plane.creates(workload.pods())).await?;
    let state = State::clone(&plane.cluster.snapshot());
    plane.stop().await;
    Ok(state)
}

fn decide_all(policies: &Policies, kind: Kind, state: &State) -> anyhow::Result<Duration> {
    let now = SystemClock.now();
    let mut scheduler = Scheduler::new(1);
    scheduler.resync(state, now);
    install_in(&mut scheduler, policies.start(kind)?)?;
    let (begun, mut placed) = (Instant::now(), 0);
    while placed < PODS {
        let decisions = scheduler.decide(now, ROUND_PODS);
        if let Some(failure) = decisions.failures.first() {
            bail!("the policy failed: {}", failure.error);
        }
        if decisions.placements.is_empty() {
            bail!("only {placed} of {PODS} pods were placed");
        }
        placed += decisions.placements.len();
    }
    Ok(begun.elapsed())
}

async fn bind_all(
    options: &Options,
    policies: &Policies,
    kind: Kind,
    workload: &Workload,
) -> anyhow::Result<Duration> {
    let plane = ControlPlane::start(&options.work).await?;
    let (scheduler, failures) = plane.schedule().await?;
    install(&scheduler, policies.start(kind)?).await?;
    let creates = plane.creates(workload.pods());
    let bound = plane.watch_bound(PODS);
    let begun = Instant::now();
    plane.post(creates).await?;
    let last = bound.await??.last()?;
    ensure!(failures.try_next().is_none(), "the policy failed meanwhile");
    plane.stop().await;
    Ok(last - begun)
}
