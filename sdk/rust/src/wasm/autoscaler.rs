//! The component's face of an autoscaling policy.

use crate::autoscaler::{Autoscaler, Manifest, Metric, Pod, Question, Recommendation, Source, TargetKind};
use bindings::exports::berth::policy::scaling;

/// Made from `wit/policy.wit`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "autoscaler",
        pub_export_macro: true,
        export_macro_name: "export_autoscaler",
    });
}
pub use bindings::export_autoscaler;

/// A policy that has a place in this component: implemented by [`crate::export`].
pub trait Exported: Autoscaler + 'static {
    /// Calls with the place of the component's only instance.
    fn with_place<T>(call: impl FnOnce(&mut Option<Self>) -> T) -> T;
}

/// Implements the generated traits for any policy.
#[derive(Debug)]
pub struct Component<P>(core::marker::PhantomData<P>);

impl<P: Exported> scaling::Guest for Component<P> {
    fn describe(config: Vec<u8>) -> Result<scaling::Manifest, String> {
        super::report_panics();
        let (policy, manifest) = P::describe(&config)?;
        P::with_place(|place| *place = Some(policy));
        let Manifest { name, version, window_s, step_s } = manifest;
        Ok(scaling::Manifest { name, version, window_s, step_s })
    }

    fn recommend(c: scaling::Ctx, q: scaling::Question) -> scaling::Recommendation {
        let question = question(c, q);
        let recommended = P::with_place(|place| {
            place.as_ref().expect("the policy has been described").recommend(&question)
        });
        let Recommendation { replicas, metric, reason } = recommended;
        scaling::Recommendation {
            able: u32::from(replicas.is_some()),
            replicas: replicas.unwrap_or_default(),
            metric: metric.map_or(0, |place| place as u32 + 1),
            reason,
        }
    }
}

fn question(c: scaling::Ctx, q: scaling::Question) -> Question {
    Question {
        now_ms: c.now_ms,
        seed: c.seed,
        namespace: q.namespace,
        name: q.name,
        target: q.target,
        current: q.current,
        desired: q.desired,
        min_replicas: q.min_replicas,
        max_replicas: q.max_replicas,
        tolerance_up: q.tolerance_up,
        tolerance_down: q.tolerance_down,
        initialization_ms: q.initialization_ms,
        readiness_delay_ms: q.readiness_delay_ms,
        pods: q.pods.into_iter().map(Into::into).collect(),
        metrics: q.metrics.into_iter().filter_map(metric).collect(),
        history_end_ms: q.history_end_ms,
        history_replicas: q.history_replicas,
    }
}

impl From<scaling::Pod> for Pod {
    fn from(pod: scaling::Pod) -> Self {
        Self {
            is_ready: pod.state & 1 != 0,
            is_pending: pod.state & 2 != 0,
            is_ignored: pod.state & 4 != 0,
            start_ms: pod.start_ms,
            ready_changed_ms: pod.ready_changed_ms,
        }
    }
}

/// `None` for a metric of a kind that this SDK does not know: as if it were not there.
fn metric(metric: scaling::Metric) -> Option<Metric> {
    let known = |value: i64| (value >= 0).then_some(value);
    Some(Metric {
        source: match metric.source {
            1 => Source::Resource,
            2 => Source::ContainerResource,
            3 => Source::Pods,
            4 => Source::Object,
            5 => Source::External,
            _ => return None,
        },
        name: metric.name,
        target_kind: match metric.target_kind {
            1 => TargetKind::Utilization,
            2 => TargetKind::AverageValue,
            3 => TargetKind::Value,
            _ => return None,
        },
        target: metric.target,
        trouble: metric.trouble,
        measured_ms: metric.measured_ms,
        window_ms: metric.window_ms,
        pod_values: metric.pod_values.into_iter().map(known).collect(),
        pod_requests: metric.pod_requests.into_iter().map(known).collect(),
        value: known(metric.value),
        history: metric.history,
    })
}
