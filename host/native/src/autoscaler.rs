//! Autoscaling policies.

use std::time::Duration;

use berth_autoscale::{self as host, PolicyError, Recommender};
use berth_sdk::autoscaler::{Autoscaler, Metric, Pod, Question, Recommendation, Source, TargetKind};

/// An autoscaling policy compiled into this program.
#[derive(Debug)]
pub struct NativeRecommender<P> {
    policy: P,
    manifest: host::Manifest,
}

impl<P: Autoscaler> NativeRecommender<P> {
    /// Configures and describes a policy.
    ///
    /// # Errors
    /// When it refuses its configuration.
    pub fn start(config: &[u8]) -> Result<Self, String> {
        let (policy, manifest) = P::describe(config)?;
        let manifest = host::Manifest {
            name: manifest.name,
            version: manifest.version,
            window: Duration::from_secs(manifest.window_s.into()),
            step: Duration::from_secs(manifest.step_s.into()),
        };
        Ok(Self { policy, manifest })
    }
}

impl<P: Autoscaler + Send + Sync> Recommender for NativeRecommender<P> {
    fn manifest(&self) -> &host::Manifest {
        &self.manifest
    }

    fn recommend(&self, question: &host::Question) -> Result<host::Recommendation, PolicyError> {
        let Recommendation { replicas, metric, reason } = self.policy.recommend(&asked(question));
        match metric.filter(|metric| *metric >= question.metrics.len()) {
            Some(metric) => Err(PolicyError::BadAnswer(format!("there is no metric {}", metric + 1))),
            None => Ok(host::Recommendation { replicas, metric, reason }),
        }
    }
}

/// The question in the author's types.
fn asked(from: &host::Question) -> Question {
    let mut to = Question::new(from.current, from.min_replicas..=from.max_replicas);
    (to.now_ms, to.seed, to.desired) = (from.now_ms, from.seed, from.desired);
    to.namespace.clone_from(&from.namespace);
    to.name.clone_from(&from.name);
    to.target.clone_from(&from.target);
    (to.tolerance_up, to.tolerance_down) = (from.tolerance_up, from.tolerance_down);
    (to.initialization_ms, to.readiness_delay_ms) = (from.initialization_ms, from.readiness_delay_ms);
    to.pods = from.pods.iter().map(pod).collect();
    to.metrics = from.metrics.iter().map(metric).collect();
    to.history_end_ms = from.history_end_ms;
    to.history_replicas.clone_from(&from.history_replicas);
    to
}

fn pod(from: &host::Pod) -> Pod {
    let has = |bit: host::PodState| from.state.0 & bit.0 != 0;
    Pod {
        is_ready: has(host::PodState::READY),
        is_pending: has(host::PodState::PENDING),
        is_ignored: has(host::PodState::IGNORED),
        start_ms: from.start_ms,
        ready_changed_ms: from.ready_changed_ms,
    }
}

fn metric(from: &host::Metric) -> Metric {
    let source = match from.source {
        host::Source::Resource => Source::Resource,
        host::Source::ContainerResource => Source::ContainerResource,
        host::Source::Pods => Source::Pods,
        host::Source::Object => Source::Object,
        host::Source::External => Source::External,
    };
    let kind = match from.target_kind {
        host::TargetKind::Utilization => TargetKind::Utilization,
        host::TargetKind::AverageValue => TargetKind::AverageValue,
        host::TargetKind::Value => TargetKind::Value,
    };
    let mut to = Metric::new(source, &from.name, kind, from.target);
    to.trouble.clone_from(&from.trouble);
    (to.measured_ms, to.window_ms, to.value) = (from.measured_ms, from.window_ms, from.value);
    to.pod_values.clone_from(&from.pod_values);
    to.pod_requests.clone_from(&from.pod_requests);
    to.history.clone_from(&from.history);
    to
}
