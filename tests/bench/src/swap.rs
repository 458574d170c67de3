//! What a swap of the policy costs the scheduler while pods are waiting.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, ensure};
use berth_scheduler::policy::Policy;
use berth_scheduler::{Mirror, Scheduler};
use berth_state::State;
use berth_tasks::{Clock, SystemClock};

use crate::Options;
use crate::control_plane::ControlPlane;
use crate::load::{PODS, Workload};
use crate::policies::{Kind, Policies, install, install_in};
use crate::scheduling::filled;
use crate::stats::{Samples, ms, us};
use crate::table::{Row, Table};

/// Pods placed between the beginnings of two swaps.
const PODS_PER_SWAP: usize = 2_000;
/// Between two swaps while pods are bound.
const SWAP_INTERVAL: Duration = Duration::from_millis(100);

/// The gap between decisions, and between bindings on the disk.
pub(crate) async fn gaps(options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let policies = Policies::new()?;
    let workload = Workload::many(options)?;
    between_decisions(&policies, &filled(options, &workload).await?, table)?;
    between_bindings(options, &policies, &workload, table).await
}

/// A swap under way: the policy is being fed on another thread.
struct Preparing {
    policy: mpsc::Receiver<Result<Box<dyn Policy>, String>>,
    mirror: Mirror,
}

/// One pod decided at a time, so that the gap is seen to the microsecond; the new policy is fed beside the deciding.
fn between_decisions(policies: &Policies, state: &State, table: &mut Table) -> anyhow::Result<()> {
    let now = SystemClock.now();
    let mut scheduler = Scheduler::new(1);
    scheduler.resync(state, now);
    install_in(&mut scheduler, policies.start(Kind::Wasm)?)?;
    let (mut swapping, mut usual) = (Samples::default(), Samples::default());
    let (mut under_way, mut last) = (None, Instant::now());
    for placed in 0..PODS {
        let mut touched = false;
        if placed % PODS_PER_SWAP == PODS_PER_SWAP / 2 && under_way.is_none() {
            // Made on another thread in berth.
            let policy = policies.start(Kind::Wasm)?;
            last = Instant::now();
            under_way = Some(prepare(&mut scheduler, policy));
            touched = true;
        }
        if let Some(fed) = under_way.as_ref().and_then(|swap| swap.policy.try_recv().ok()) {
            let Some(Preparing { mirror, .. }) = under_way.take() else { continue };
            let replaced =
                scheduler.install("default-scheduler", 1, fed.map_err(|why| anyhow!(why))?, mirror);
            std::thread::spawn(move || drop(replaced)); // as in berth
            touched = true;
        }
        if scheduler.decide(now, 1).placements.is_empty() {
            bail!("only {placed} pods were placed");
        }
        let gap = last.elapsed();
        last = Instant::now();
        if touched { swapping.extend([gap]) } else { usual.extend([gap]) }
    }
    let measured = format!("max {} in {} steps", us(swapping.max()), swapping.len());
    let without =
        format!("without p50 {}, p99 {}, max {}", us(usual.p50()), us(usual.percentile(99)), us(usual.max()));
    let ratio = swapping.max().as_secs_f64() / usual.max().as_secs_f64();
    table.add(Row::new("gap between decisions in a swap", measured, "1 ms").beside(without, ratio));
    Ok(())
}

fn prepare(scheduler: &mut Scheduler, mut policy: Box<dyn Policy>) -> Preparing {
    let (mirror, feed) = scheduler.prepare(policy.manifest());
    let (done, fed) = mpsc::channel();
    std::thread::spawn(move || {
        let outcome = policy.feed(&feed).map(|()| policy).map_err(|error| error.to_string());
        // Whoever asked may be gone, having failed.
        let _ = done.send(outcome);
    });
    Preparing { policy: fed, mirror }
}

/// The whole way to the disk, with a swap every [`SWAP_INTERVAL`].
async fn between_bindings(
    options: &Options,
    policies: &Policies,
    workload: &Workload,
    table: &mut Table,
) -> anyhow::Result<()> {
    let plane = ControlPlane::start(&options.work).await?;
    let (scheduler, failures) = plane.schedule().await?;
    install(&scheduler, policies.start(Kind::Wasm)?).await?;
    let creates = plane.creates(workload.pods());
    let bound = plane.watch_bound(PODS);
    let swaps = async {
        let (mut pauses, mut moments) = (Samples::default(), Vec::new());
        while !bound.is_finished() {
            tokio::time::sleep(SWAP_INTERVAL).await;
            let policy = policies.start(Kind::Wasm)?;
            let begun = Instant::now();
            let pause = install(&scheduler, policy).await?;
            pauses.extend([Duration::from_micros(pause)]);
            moments.push((begun, Instant::now()));
        }
        anyhow::Ok((pauses, moments))
    };
    let (posted, swapped) = tokio::join!(plane.post(creates), swaps);
    posted?;
    let (pauses, moments) = swapped?;
    let seen = bound.await??.seen;
    ensure!(failures.try_next().is_none(), "a policy failed meanwhile");
    plane.stop().await;
    let (mut with, mut without) = (Samples::default(), Samples::default());
    for pair in seen.windows(2) {
        let (from, to) = (pair[0].0, pair[1].0);
        let swap = moments.iter().any(|(begun, ended)| *begun <= to && from <= *ended);
        if swap { with.extend([to - from]) } else { without.extend([to - from]) }
    }
    let figure = format!("exchange of the policy, {} swaps while binding", pauses.len());
    table.add(Row::new(figure, format!("max {}, p50 {}", us(pauses.max()), us(pauses.p50())), "1 ms"));
    let ratio = with.max().as_secs_f64() / without.max().as_secs_f64().max(1e-9);
    let row = Row::new(
        "gap between binding commits in a swap",
        format!("p50 {}, max {}", ms(with.p50()), ms(with.max())),
        "",
    );
    table.add(row.beside(format!("without p50 {}, max {}", ms(without.p50()), ms(without.max())), ratio));
    Ok(())
}
