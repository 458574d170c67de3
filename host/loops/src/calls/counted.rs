//! Policies whose calls are counted.

use std::sync::Arc;

use berth_autoscale::{PolicyError as ScalingError, Question, Recommendation, Recommender};
use berth_scheduler::policy::{Action, Feed, Manifest, PlanQuestion, Policy, PolicyError, ScoreQuestion};

use super::Counter;

/// A policy with its counter. What reviewers say is judged where they are asked, and counted there.
pub(crate) struct Counted<P> {
    policy: P,
    counter: Counter,
}

impl<P> Counted<P> {
    pub(crate) fn new(policy: P, counter: Counter) -> Self {
        Self { policy, counter }
    }
}

/// Feeds are not questions: they are counted with the decisions that they are made for.
impl Policy for Counted<Box<dyn Policy>> {
    fn manifest(&self) -> &Manifest {
        self.policy.manifest()
    }

    fn feed(&mut self, feed: &Feed) -> Result<(), PolicyError> {
        self.policy.feed(feed)
    }

    fn score(&mut self, question: &ScoreQuestion<'_>, scores: &mut Vec<i32>) -> Result<(), PolicyError> {
        self.counter.call(|| self.policy.score(question, scores))
    }

    fn plan(&mut self, question: &PlanQuestion<'_>, actions: &mut Vec<Action>) -> Result<(), PolicyError> {
        self.counter.call(|| self.policy.plan(question, actions))
    }
}

impl Recommender for Counted<Arc<dyn Recommender>> {
    fn manifest(&self) -> &berth_autoscale::Manifest {
        self.policy.manifest()
    }

    fn recommend(&self, question: &Question) -> Result<Recommendation, ScalingError> {
        self.counter.call(|| self.policy.recommend(question))
    }
}
