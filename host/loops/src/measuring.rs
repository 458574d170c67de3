//! Asking the nodes what they use.

use std::sync::Arc;
use std::time::Duration;

use berth_client::{NodeApi, NodeRegistry};
use berth_metrics::Usage;
use berth_tasks::Executor;
use futures_util::FutureExt;
use futures_util::future::{Either, join, join_all, select};

/// From one round of questions to the next: the period of metrics-server, in which the windows of autoscaling are thought.
pub const MEASURE_PERIOD: Duration = Duration::from_secs(15);

/// How long a node may take to answer: the next question must not wait for it.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Asks all nodes that are connected to this server, all at once and every [`MEASURE_PERIOD`], and keeps what they say. Every
/// server does, whoever leads.
pub async fn measure(executor: Executor, nodes: NodeRegistry, usage: Usage) {
    loop {
        let answers = nodes.all().into_iter().map(|(name, node)| ask(&executor, &usage, name, node));
        join(join_all(answers), executor.sleep(MEASURE_PERIOD)).await;
        usage.forget_silent(executor.now());
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use berth_client::{AttachRequest, ByteStream, ExecRequest, ExitStatus, LogRequest, NodeError, Streams};
    use berth_metrics::NodeSample;
    use futures_util::future::BoxFuture;

    use super::*;

    /// A node with one processor at work.
    struct Busy(AtomicI64);
    struct Broken;
    struct Silent;

    /// Nobody asks these nodes for anything else.
    macro_rules! node {
        ($name:ty, $self:ident => $usage:expr) => {
            impl NodeApi for $name {
                fn logs(&self, _: LogRequest) -> BoxFuture<'_, Result<ByteStream, NodeError>> {
                    unreachable!()
                }

                fn exec(&self, _: ExecRequest, _: Streams) -> BoxFuture<'_, Result<ExitStatus, NodeError>> {
                    unreachable!()
                }

                fn attach(
                    &self,
                    _: AttachRequest,
                    _: Streams,
                ) -> BoxFuture<'_, Result<ExitStatus, NodeError>> {
                    unreachable!()
                }

                fn usage(&$self) -> BoxFuture<'_, Result<NodeSample, NodeError>> {
                    Box::pin($usage)
                }
            }
        };
    }

    node!(Broken, self => async { Err(NodeError::Internal("no".to_owned())) });
    node!(Silent, self => std::future::pending());
    node!(Busy, self => async {
        let moment_micros = self.0.fetch_add(15_000_000, Ordering::Relaxed);
        let cpu_nanos = moment_micros.unsigned_abs() * 1000;
        Ok(NodeSample { moment_micros, cpu_nanos, ..NodeSample::default() })
    });

    #[tokio::test(start_paused = true)]
    async fn a_node_that_does_not_answer_holds_up_nobody() {
        let (nodes, usage, executor) = (NodeRegistry::default(), Usage::default(), Executor::default());
        nodes.insert("a-silent", Arc::new(Silent));
        nodes.insert("broken", Arc::new(Broken));
        nodes.insert("busy", Arc::new(Busy(AtomicI64::new(0))));
        let task = executor.spawn("measuring", measure(executor.clone(), nodes, usage.clone()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(usage.node("busy", executor.now()), None, "one sample is no rate");
        tokio::time::sleep(MEASURE_PERIOD).await;
        let busy = usage.node("busy", executor.now()).unwrap();
        assert_eq!((busy.cpu_nanos, busy.window_ms), (1_000_000_000, 15_000));
        for other in ["a-silent", "broken"] {
            assert_eq!(usage.node(other, executor.now()), None);
        }
        task.abort();
    }
}
