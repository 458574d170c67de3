//! What a policy's author writes, and what it is given.

use crate::{Batch, Class, Cluster, Manifest, Plan, REFUSED};

/// A scheduling policy.
pub trait Scheduler: Sized {
    /// Makes the policy from its configuration, which is the JSON text of its binding's `config` and empty when there is none.
    ///
    /// # Errors
    /// One sentence for the person who wrote the configuration.
    fn describe(config: &[u8]) -> Result<(Self, Manifest), String>;

    /// How good a node is for a pod of a class: higher is better, [`REFUSED`] means not there. The node has passed every hard
    /// constraint.
    fn score_node(&self, pod: &Class, node: &Node<'_>) -> i32 {
        let _ = (pod, node);
        REFUSED
    }

    /// Appends one score per candidate. The default asks [`Scheduler::score_node`] about each; policies that want speed go
    /// over whole columns with [`crate::lanes::map`].
    fn score(&self, cluster: &Cluster, question: &Question<'_>, scores: &mut Vec<i32>) {
        let class = cluster.class(question.class);
        scores.extend(question.candidates.iter().enumerate().map(|(position, &slot)| {
            self.score_node(class, &Node { cluster, question, position, slot: slot as usize })
        }));
    }

    /// Decides for a batch of pods. A pod without an action is held.
    fn plan(&mut self, cluster: &Cluster, batch: &Batch<'_>, plan: &mut Plan) {
        let _ = (cluster, batch, plan);
    }

    /// The picture of the cluster has changed and is whole again: the place to refresh what the policy derives from it.
    fn updated(&mut self, cluster: &Cluster) {
        let _ = cluster;
    }
}

/// What a decision may depend on beyond the cluster's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ctx {
    /// The number of the feed this question builds on.
    pub seq: u64,
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// The only source of randomness: the same question with the same seed must get the same answer.
    pub seed: u64,
}

/// Which nodes to score for which class.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Question<'a> {
    /// Time and seed.
    pub ctx: Ctx,
    /// The class.
    pub class: u32,
    /// Slots; usually ascending.
    pub candidates: &'a [u32],
    /// The manifest's class columns one after another, each as long as `candidates`.
    pub columns: &'a [i32],
}

impl<'a> Question<'a> {
    /// A question without class columns.
    pub fn new(class: u32, candidates: &'a [u32]) -> Self {
        Self { ctx: Ctx::default(), class, candidates, columns: &[] }
    }

    /// Adds the class columns.
    pub fn with_columns(self, columns: &'a [i32]) -> Self {
        Self { columns, ..self }
    }

    /// Adds time and seed.
    pub fn with_ctx(self, ctx: Ctx) -> Self {
        Self { ctx, ..self }
    }

    /// One of the manifest's class columns: a value per candidate.
    pub fn column(&self, number: usize) -> &'a [i32] {
        let length = self.candidates.len();
        &self.columns[number * length..(number + 1) * length]
    }
}

/// One candidate.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    cluster: &'a Cluster,
    question: &'a Question<'a>,
    position: usize,
    slot: usize,
}

impl<'a> Node<'a> {
    /// Its slot.
    pub fn slot(&self) -> u32 {
        self.slot as u32
    }

    /// The cluster it is in.
    pub fn cluster(&self) -> &'a Cluster {
        self.cluster
    }

    /// How much of a dimension it can give in all.
    pub fn allocatable(&self, dimension: usize) -> i32 {
        self.cluster.allocatable(dimension)[self.slot]
    }

    /// How much of a dimension the pods placed on it have requested.
    pub fn requested(&self, dimension: usize) -> i32 {
        self.cluster.requested(dimension)[self.slot]
    }

    /// How much of a dimension nobody has requested.
    pub fn free(&self, dimension: usize) -> i32 {
        self.allocatable(dimension).saturating_sub(self.requested(dimension))
    }

    /// Symbol of one of the manifest's node labels and annotations.
    pub fn label(&self, key: usize) -> u32 {
        self.cluster.labels(key)[self.slot]
    }

    /// Value of one of the manifest's node columns.
    pub fn column(&self, number: usize) -> i32 {
        self.cluster.node_column(number)[self.slot]
    }

    /// Value of one of the manifest's class columns.
    pub fn class_column(&self, number: usize) -> i32 {
        self.question.column(number)[self.position]
    }
}
