//! Horizontal autoscaling as functions: what a policy is asked, what it recommends, and what bounds, windows and rates make
//! of that.

mod policy;

pub use policy::{
    Manifest, Metric, Pod, PodState, PolicyError, Question, Recommendation, Recommender, Source, TargetKind,
};
