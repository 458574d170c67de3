//! The contract between the host and autoscaling policies, whatever runs them: `scaling` of `wit/policy.wit`.

use std::time::Duration;

use berth_json::{Value, json};

/// What a policy is and wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// For people.
    pub name: String,
    /// For people.
    pub version: String,
    /// How much history it wants; zero for none.
    pub window: Duration,
    /// How far apart samples are.
    pub step: Duration,
}

impl Manifest {
    /// As a binding's status shows it.
    pub fn to_value(&self) -> Value {
        let mut shown = json!({"name": self.name.as_str(), "version": self.version.as_str()});
        if !self.window.is_zero() {
            shown["windowSeconds"] = self.window.as_secs().into();
            shown["stepSeconds"] = self.step.as_secs().into();
        }
        shown
    }
}

/// The state of a pod, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodState(pub u32);

impl PodState {
    /// Ready.
    pub const READY: Self = Self(1);
    /// Not started, or not placed yet.
    pub const PENDING: Self = Self(2);
    /// Failed or being deleted: counts as if it were not there.
    pub const IGNORED: Self = Self(4);
}

/// One pod of the workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Whether it counts, and how.
    pub state: PodState,
    /// Milliseconds since the Unix epoch; 0 when it has not started.
    pub start_ms: u64,
    /// When it last became ready or unready; 0: never.
    pub ready_changed_ms: u64,
}

/// Where a metric comes from: the types of `autoscaling/v2` metrics, by their codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `Resource`.
    Resource = 1,
    /// `ContainerResource`.
    ContainerResource = 2,
    /// `Pods`.
    Pods = 3,
    /// `Object`.
    Object = 4,
    /// `External`.
    External = 5,
}

/// What a target counts, by its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// `Utilization`: percent of what pods request.
    Utilization = 1,
    /// `AverageValue`: per pod.
    AverageValue = 2,
    /// `Value`: altogether.
    Value = 3,
}

/// One metric. Quantities are in thousandths of its unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Where it comes from.
    pub source: Source,
    /// Its name.
    pub name: String,
    /// What the target counts.
    pub target_kind: TargetKind,
    /// The target; of a utilisation in percent.
    pub target: i64,
    /// Why there is no value now; empty when there is one.
    pub trouble: String,
    /// When it was measured, in milliseconds since the Unix epoch.
    pub measured_ms: u64,
    /// Over how long.
    pub window_ms: u64,
    /// A value per pod; `None` where none was measured.
    pub pod_values: Vec<Option<i64>>,
    /// What each pod requests; `None` where it requests none.
    pub pod_requests: Vec<Option<i64>>,
    /// The value of `Object` and `External`.
    pub value: Option<i64>,
    /// The value, or the sum over all pods, in the metric's unit; NaN where none was measured.
    pub history: Vec<f64>,
}

/// What a policy is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// The only source of randomness.
    pub seed: u64,
    /// The autoscaler's namespace.
    pub namespace: String,
    /// The autoscaler's name.
    pub name: String,
    /// What it scales, as `Kind/name`.
    pub target: String,
    /// How many replicas the workload is to have now.
    pub current: u32,
    /// What was last wanted of it, after bounds and rates.
    pub desired: u32,
    /// The lower bound.
    pub min_replicas: u32,
    /// The upper bound.
    pub max_replicas: u32,
    /// How far above 1 the ratio of value and target may be before replicas change.
    pub tolerance_up: f64,
    /// How far below 1.
    pub tolerance_down: f64,
    /// For how long after its start a pod's `cpu` is not believed while it is not ready.
    pub initialization_ms: u64,
    /// For how long a pod that was never ready counts as not ready.
    pub readiness_delay_ms: u64,
    /// In the order of their names.
    pub pods: Vec<Pod>,
    /// In the order of the autoscaler's `spec.metrics`.
    pub metrics: Vec<Metric>,
    /// When the last samples of the history were taken.
    pub history_end_ms: u64,
    /// How many replicas were running at each step, oldest first.
    pub history_replicas: Vec<u32>,
}

/// What a policy answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recommendation {
    /// Before bounds and rates; `None`: nothing can be said, and nothing changes.
    pub replicas: Option<u32>,
    /// Which metric decided, by its place; `None`: none of them.
    pub metric: Option<usize>,
    /// One sentence for people.
    pub reason: String,
}

/// Why a policy gave no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It failed, and so would anybody who asked it.
    #[error("{0}")]
    Failed(String),
    /// Its answer means nothing.
    #[error("the policy gave an unusable answer: {0}")]
    BadAnswer(String),
}

/// An autoscaling policy. Any instance may be asked, from several threads at a time.
pub trait Recommender: Send + Sync {
    /// What it is and wants.
    fn manifest(&self) -> &Manifest;

    /// Answers one question. It may take its time: call it where that holds up nobody.
    ///
    /// # Errors
    /// When it fails, or answers nonsense.
    fn recommend(&self, question: &Question) -> Result<Recommendation, PolicyError>;
}
