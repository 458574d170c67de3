//! One running policy.

use crate::{Action, Batch, Cluster, Manifest, Plan, Question, Scheduler};

/// A policy, once described, and its picture of the cluster. The sandbox has one; native code may have as many as it likes.
#[derive(Debug)]
pub struct Instance<P> {
    policy: Option<P>,
    node_keys: usize,
    node_columns: usize,
    cluster: Cluster,
}

impl<P> Default for Instance<P> {
    fn default() -> Self {
        Self { policy: None, node_keys: 0, node_columns: 0, cluster: Cluster::default() }
    }
}

impl<P: Scheduler> Instance<P> {
    /// Makes the policy. Comes first.
    ///
    /// # Errors
    /// What the policy says about its configuration.
    pub fn describe(&mut self, config: &[u8]) -> Result<Manifest, String> {
        let (policy, manifest) = P::describe(config)?;
        self.policy = Some(policy);
        self.node_keys = manifest.node_keys();
        self.node_columns = manifest.node_columns.len();
        self.reset();
        Ok(manifest)
    }

    /// Forgets the cluster.
    pub fn reset(&mut self) {
        self.cluster.reset(self.node_keys, self.node_columns);
    }

    /// The picture of the cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The picture of the cluster, to be fed.
    pub fn cluster_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    /// Says that the picture is whole.
    pub fn end_batch(&mut self, seq: u64) {
        self.cluster.end_batch(seq);
        if let Some(policy) = &mut self.policy {
            policy.updated(&self.cluster);
        }
    }

    /// Replaces the contents of `scores` by one score per candidate.
    ///
    /// # Panics
    /// Before [`Instance::describe`].
    pub fn score(&self, question: &Question<'_>, scores: &mut Vec<i32>) {
        scores.clear();
        let policy = self.policy.as_ref().expect("the policy has been described");
        policy.score(&self.cluster, question, scores);
    }

    /// Decides for a batch.
    ///
    /// # Panics
    /// Before [`Instance::describe`].
    pub fn plan(&mut self, batch: &Batch<'_>) -> Vec<Action> {
        let mut plan = Plan::default();
        let policy = self.policy.as_mut().expect("the policy has been described");
        policy.plan(&self.cluster, batch, &mut plan);
        plan.into_actions()
    }
}
