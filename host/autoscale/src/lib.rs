//! Horizontal autoscaling as functions: what a policy is asked, what it recommends, and what bounds, windows and rates make
//! of that.
//!
//! A shell looks at an autoscaler, its workload and what was measured ([`Look`]); when [`asks`] says so it puts the
//! [`Question`] to a [`Recommender`]; [`judge`] makes a [`Verdict`] of the [`Answer`]; the shell writes the scale, and then
//! what [`Verdict::report`] says. What no object says is in a [`Memory`] for each autoscaler. Reasons, messages and rules are
//! those of Kubernetes' horizontal controller. Times are in milliseconds, quantities in thousandths of their unit.

mod history;
mod memory;
mod policy;
mod question;
mod rates;
mod reading;
mod shown;
mod spec;
mod verdict;

pub use history::{History, fair_share};
pub use memory::Memory;
pub use policy::{
    Manifest, Metric, Pod, PodState, PolicyError, Question, Recommendation, Recommender, Source, TargetKind,
};
pub use question::{Look, Scale};
pub use reading::{Described, SeenPod, Usages};
pub use spec::{Autoscaler, Behavior, MetricSpec, RateKind, RatePolicy, Reference, Rules, Select, TOLERANCE};
pub use verdict::{Answer, Note, Report, Verdict, asks, judge, without_scale};
