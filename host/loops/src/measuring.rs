//! Asking the nodes what they use.

use std::sync::Arc;
use std::time::Duration;

use berth_client::{NodeApi, NodeRegistry};
use berth_metrics::Usage;
use berth_tasks::Executor;
use futures_util::FutureExt;
use futures_util::future::{Either, join_all, select};

/// From one round of questions to the next: the period of metrics-server, in which the windows of autoscaling are thought.
pub const MEASURE_PERIOD: Duration = Duration::from_secs(15);

/// How long a node may take to answer. A later answer would be of a moment that nobody can tell.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Asks all nodes that are connected to this server, all at once and every [`MEASURE_PERIOD`], and keeps what they say. Every
/// server does, whoever leads.
pub async fn measure(executor: Executor, nodes: NodeRegistry, usage: Usage) {
    loop {
        let answers = nodes.all().into_iter().map(|(name, node)| ask(&executor, &usage, name, node));
        join_all(answers).await;
        usage.forget_silent(executor.now());
        executor.sleep(MEASURE_PERIOD).await;
    }
}

async fn ask(executor: &Executor, usage: &Usage, name: String, node: Arc<dyn NodeApi>) {
    let too_late = executor.sleep(ANSWER_MAX).boxed();
    match select(node.usage(), too_late).await {
        Either::Left((Ok(sample), _)) => usage.sampled(&name, sample, executor.now()),
        // What was known of it stays until it is too old.
        Either::Left((Err(error), _)) => {
            tracing::warn!(node = name, "a node cannot say what it uses: {error}")
        }
        Either::Right(_) => {
            tracing::warn!(node = name, "a node did not say within {ANSWER_MAX:?} what it uses")
        }
    }
}
