//! Write an autoscaling policy: recommend how many replicas a workload should have.
//!
//! ```
//! use berth_sdk::autoscaler::{Autoscaler, Manifest, Question, Recommendation};
//!
//! /// One replica for every hundred requests a second.
//! struct Hundreds;
//!
//! impl Autoscaler for Hundreds {
//!     fn describe(_config: &[u8]) -> Result<(Self, Manifest), String> {
//!         Ok((Hundreds, Manifest::new("hundreds", "1.0.0")))
//!     }
//!
//!     fn recommend(&self, question: &Question) -> Recommendation {
//!         let rate: i64 = question.metrics[0].pod_values.iter().flatten().sum();
//!         Recommendation::to((rate / 100_000 + 1) as u32).by(0).because("100 requests/s each")
//!     }
//! }
//!
//! berth_sdk::export!(Hundreds as autoscaler);
//! # use berth_sdk::autoscaler::{Metric, Source, TargetKind, ask};
//! let rate = Metric::new(Source::Pods, "http_requests", TargetKind::AverageValue, 100_000);
//! let question = Question::new(2, 1..=10).with_metric(rate.with_pod_values([150_000, 170_000]));
//! assert_eq!(ask::<Hundreds>("", &question).unwrap().replicas, Some(4));
//! ```

use std::ops::RangeInclusive;

/// An autoscaling policy. Several instances of it may be asked at a time: a recommendation follows from the configuration and
/// the question alone. The host holds it to bounds, stabilisation windows and rates.
pub trait Autoscaler: Sized {
    /// Makes the policy from its configuration, which is the JSON text of its binding's `config` and empty when there is none.
    ///
    /// # Errors
    /// One sentence for the person who wrote the configuration.
    fn describe(config: &[u8]) -> Result<(Self, Manifest), String>;

    /// Answers one question.
    fn recommend(&self, question: &Question) -> Recommendation;

    /// What configuration it takes: a structural OpenAPI v3 schema as JSON. The host checks a binding's `config` against it
    /// before `describe` sees it. `None`: only `describe` judges.
    fn schema() -> Option<&'static str> {
        None
    }
}

/// What a policy is and wants.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manifest {
    /// For people.
    pub name: String,
    /// For people.
    pub version: String,
    /// How much history it wants, in seconds; 0 for none.
    pub window_s: u32,
    /// How far apart samples are, in seconds.
    pub step_s: u32,
}

impl Manifest {
    /// A policy that wants no history.
    pub fn new(name: &str, version: &str) -> Self {
        Self { name: name.to_owned(), version: version.to_owned(), window_s: 0, step_s: 15 }
    }

    /// The policy wants a sample every `step_s` seconds of the last `window_s`.
    pub fn with_history(self, window_s: u32, step_s: u32) -> Self {
        Self { window_s, step_s, ..self }
    }
}

/// One pod of the workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// It is ready.
    pub is_ready: bool,
    /// It has not started, or has no node yet.
    pub is_pending: bool,
    /// It failed or is being deleted: it counts as if it were not there.
    pub is_ignored: bool,
    /// Milliseconds since the Unix epoch; 0 when it has not started.
    pub start_ms: u64,
    /// When it last became ready or unready; 0: never.
    pub ready_changed_ms: u64,
}

/// Where a metric comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// What the pods use of a resource.
    Resource = 1,
    /// What one container of each pod uses of it.
    ContainerResource = 2,
    /// What the pods say of themselves.
    Pods = 3,
    /// What is said of another object.
    Object = 4,
    /// What comes from outside the cluster.
    External = 5,
}

/// What a target counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// Percent of what the pods request.
    Utilization = 1,
    /// Per pod.
    AverageValue = 2,
    /// Altogether.
    Value = 3,
}

/// One metric. Quantities are in thousandths of its unit.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Metric {
    /// Where it comes from.
    pub source: Source,
    /// `cpu`, `http_requests`, …
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
    /// The value of an object's or an outside metric.
    pub value: Option<i64>,
    /// The value, or the sum over all pods, in the metric's unit, oldest first; NaN where none was measured.
    pub history: Vec<f64>,
}

/// What a policy is asked.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
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
    /// When the last samples of the history were taken, in milliseconds since the Unix epoch.
    pub history_end_ms: u64,
    /// How many replicas were running at each step, oldest first.
    pub history_replicas: Vec<u32>,
}

/// What a policy answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recommendation {
    /// Before bounds and rates; `None`: nothing can be said.
    pub replicas: Option<u32>,
    /// Which metric decided, by its place.
    pub metric: Option<usize>,
    /// One sentence for people.
    pub reason: String,
}

impl Metric {
    /// A metric of which nothing was measured.
    pub fn new(source: Source, name: &str, target_kind: TargetKind, target: i64) -> Self {
        Self {
            source,
            name: name.to_owned(),
            target_kind,
            target,
            trouble: String::new(),
            measured_ms: 0,
            window_ms: 0,
            pod_values: Vec::new(),
            pod_requests: Vec::new(),
            value: None,
            history: Vec::new(),
        }
    }

    /// A value per pod.
    pub fn with_pod_values(self, values: impl IntoIterator<Item = i64>) -> Self {
        Self { pod_values: values.into_iter().map(Some).collect(), ..self }
    }

    /// What each pod requests.
    pub fn with_pod_requests(self, requests: impl IntoIterator<Item = i64>) -> Self {
        Self { pod_requests: requests.into_iter().map(Some).collect(), ..self }
    }

    /// The value.
    pub fn with_value(self, value: i64) -> Self {
        Self { value: Some(value), ..self }
    }

    /// The past, oldest first.
    pub fn with_history(self, history: impl IntoIterator<Item = f64>) -> Self {
        Self { history: history.into_iter().collect(), ..self }
    }
}

impl Question {
    /// About a workload that has so many replicas, all of them ready for a long time, with Kubernetes' tolerance and delays.
    pub fn new(current: u32, bounds: RangeInclusive<u32>) -> Self {
        let pod = Pod { is_ready: true, start_ms: 1, ready_changed_ms: 2, ..Pod::default() };
        Self {
            now_ms: 86_400_000,
            seed: 0,
            namespace: "default".to_owned(),
            name: "web".to_owned(),
            target: "Deployment/web".to_owned(),
            current,
            desired: current,
            min_replicas: *bounds.start(),
            max_replicas: *bounds.end(),
            tolerance_up: 0.1,
            tolerance_down: 0.1,
            initialization_ms: 300_000,
            readiness_delay_ms: 30_000,
            pods: vec![pod; current as usize],
            metrics: Vec::new(),
            history_end_ms: 86_400_000,
            history_replicas: Vec::new(),
        }
    }

    /// Adds a metric.
    pub fn with_metric(mut self, metric: Metric) -> Self {
        self.metrics.push(metric);
        self
    }
}

impl Recommendation {
    /// So many replicas.
    pub fn to(replicas: u32) -> Self {
        Self { replicas: Some(replicas), ..Self::default() }
    }

    /// Nothing can be said, and nothing is to change.
    pub fn unable(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..Self::default() }
    }

    /// Because of that metric.
    pub fn by(self, metric: usize) -> Self {
        Self { metric: Some(metric), ..self }
    }

    /// One sentence for people.
    pub fn because(self, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..self }
    }
}

/// Configures a policy and asks it once: what a test needs. An empty configuration is none.
///
/// # Errors
/// What the policy says about its configuration.
pub fn ask<P: Autoscaler>(config: &str, question: &Question) -> Result<Recommendation, String> {
    let (policy, _) = P::describe(config.as_bytes())?;
    Ok(policy.recommend(question))
}
