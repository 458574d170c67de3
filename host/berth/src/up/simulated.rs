//! `--simulate-nodes`: hollow nodes under real time.

use std::sync::Arc;
use std::time::Duration;

use berth_cluster::Cluster;
use berth_hollow::{HollowNodes, Shape};
use berth_loops::{Follower, MEASURE_PERIOD, News};
use berth_metrics::Usage;
use berth_state::Key;
use futures_util::StreamExt;
use futures_util::stream;

/// Writes of simulated nodes under way together: enough to fill group commits.
const TOGETHER_MAX: usize = 64;
/// Writes between two looks at the changes.
const STEP_MAX: usize = 512;

/// How long the nodes rest after a write that failed: the server is busy, or its disk is full.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Runs `count` nodes `simulated-00001` … until the cluster shuts down. What their pods use goes into `usage`.
pub(super) async fn run(cluster: Arc<Cluster>, count: u32, usage: Usage) {
    let (mut follower, state) = Follower::new(cluster.clone());
    let mut nodes = HollowNodes::new(cluster.catalogue());
    let now = cluster.now();
    for number in 1..=count {
        nodes.add(&format!("simulated-{number:05}"), Shape::default(), now, i64::from(number) * 7);
    }
    nodes.resync(&state);
    drop(state);
    let period_ms = i64::try_from(MEASURE_PERIOD.as_millis()).unwrap_or(i64::MAX);
    let mut measured_at = now;
    loop {
        let News { state, changes } = follower.catch_up();
        match changes {
            Some(changes) => changes.iter().for_each(|change| nodes.on_change(change)),
            None => nodes.resync(&state),
        }
        let now = cluster.now();
        if now.millis_since(measured_at) >= period_ms {
            measured_at = now;
            for load in nodes.usage(&state, now, period_ms) {
                usage.told(&load.name, load.usage, load.pods);
            }
        }
        let requests = nodes.step(&state, now, STEP_MAX);
        drop(state);
        if !requests.is_empty() {
            let writes = requests.into_iter().map(|request| {
                let key = Key::new(request.resource.id.clone(), &*request.namespace, &*request.name);
                let write = cluster.apply(request);
                async move { (key, write.await) }
            });
            let results: Vec<_> = stream::iter(writes).buffer_unordered(TOGETHER_MAX).collect().await;
            let failed = results.into_iter().filter_map(|(key, result)| Some((key, result.err()?)));
            let mut refused = false;
            for (key, error) in failed {
                tracing::debug!(object = %key, "a simulated node's write failed: {error}");
                nodes.retry(&key);
                refused = true;
            }
            if refused {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            continue;
        }
        let wait = nodes.next_due(now).map_or(1_000, |due| due.millis_since(now).clamp(1, 1_000));
        tokio::select! {
            alive = follower.changed() => if !alive { return },
            () = tokio::time::sleep(Duration::from_millis(wait as u64)) => {}
        }
    }
}
