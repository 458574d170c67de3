//! The scheduler's side of the policy contract (`wit/policy.wit`, world `scheduler`).
//!
//! A [`Policy`] may be a Wasm component, the same policy compiled natively, or a fake in a simulation. It keeps its own picture
//! of the cluster: the scheduler describes every change once in a [`Feed`] and afterwards asks short questions. Its answers
//! are advice: [`check_scores`] and [`check_plan`] refuse what has the wrong shape, and whoever commits a placement checks
//! capacity and every hard constraint again.

mod feed;
mod manifest;

pub use feed::{
    Class, ColumnUpdate, Feed, Group, NO_GROUP, NO_SLOT, NO_SYMBOL, NodeRows, Pod, PodFlags, Symbols, Unit,
};
pub use manifest::{Columns, Manifest, ManifestError, Scores, Watches};

use std::collections::HashSet;

/// The score that means: not on this node, whatever the others' scores are.
pub const REFUSED: i32 = i32::MIN;

/// Actions a plan may hold per pod of its batch. More than one because making room for one pod may take several evictions.
pub const PLAN_ACTIONS_PER_POD_MAX: usize = 64;

/// A scheduling policy.
///
/// After an error that [is fatal](PolicyError::is_fatal) the policy has lost its state: its owner replaces it and feeds the new
/// one from the start. Calls are synchronous and bounded in time by the implementation.
pub trait Policy: Send {
    /// What the policy is and what it wants to be fed.
    fn manifest(&self) -> &Manifest;

    /// Brings the policy's picture up to `feed.seq`.
    fn feed(&mut self, feed: &Feed) -> Result<(), PolicyError>;

    /// Replaces the contents of `scores` by one score per candidate. Has passed [`check_scores`].
    fn score(&mut self, question: &ScoreQuestion<'_>, scores: &mut Vec<i32>) -> Result<(), PolicyError>;

    /// Replaces the contents of `actions` by what to do about the batch. Has passed [`check_plan`].
    fn plan(&mut self, batch: &PlanQuestion<'_>, actions: &mut Vec<Action>) -> Result<(), PolicyError>;
}

/// What a decision may depend on beyond the cluster's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ctx {
    /// `seq` of the last feed.
    pub seq: u64,
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// The only source of randomness.
    pub seed: u64,
}

/// Rate these nodes for a pod of this class.
#[derive(Clone, Copy, Debug)]
pub struct ScoreQuestion<'a> {
    /// Time, seed, and the feed this builds on.
    pub ctx: Ctx,
    /// A class defined by a feed.
    pub class: u32,
    /// Slots that pass every hard constraint; ascending runs are fastest.
    pub candidates: &'a [u32],
    /// The manifest's class columns one after another, each as long as `candidates`.
    pub columns: &'a [i32],
}

/// Place a batch of pods.
#[derive(Clone, Copy, Debug)]
pub struct PlanQuestion<'a> {
    /// Time, seed, and the feed this builds on.
    pub ctx: Ctx,
    /// In scheduling order, all without a node.
    pub pods: &'a [Pod],
    /// The distinct classes of `pods`.
    pub classes: &'a [u32],
    /// 64-bit words per bit set; slot `s` is bit `s % 64` of word `s / 64`.
    pub words: u32,
    /// Per class the nodes that pass every hard constraint now.
    pub feasible: &'a [u64],
    /// Per class the nodes that would pass if enough of their pods were evicted.
    pub eligible: &'a [u64],
    /// Per class, per class column of the manifest, one value per bit.
    pub columns: &'a [i32],
}

/// What a plan does about one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// What to do.
    pub verb: Verb,
    /// Whom to do it to.
    pub pod: u64,
    /// Where; meaningful for [`Verb::Place`] and [`Verb::Nominate`].
    pub slot: u32,
    /// Ids of the devices chosen; empty leaves the choice to the host.
    pub units: Vec<u32>,
    /// One plus an index into the manifest's reasons; 0: none.
    pub reason: u32,
    /// Actions with the same number other than 0 are committed all or none.
    pub transaction: u32,
}

/// The kinds of [`Action`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Bind the pod to the slot.
    Place,
    /// End a bound pod for the sake of what the same transaction places or nominates.
    Evict,
    /// Keep room on the slot that evictions will free.
    Nominate,
    /// Leave the pod waiting.
    Hold,
    /// Do not try again before the cluster changes.
    Reject,
}

impl Verb {
    /// The verb of a code of the contract.
    pub fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Place),
            2 => Some(Self::Evict),
            3 => Some(Self::Nominate),
            4 => Some(Self::Hold),
            5 => Some(Self::Reject),
            _ => None,
        }
    }
}

/// Why a policy gave no usable answer. Each text is one sentence about "the policy"; its owner adds which one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It crashed.
    #[error("the policy trapped: {0}")]
    Trap(String),
    /// It took longer than it may.
    #[error("the policy used more than its {limit_ms} ms for one call")]
    Deadline {
        /// What it was allowed.
        limit_ms: u64,
    },
    /// It wanted more memory than it may have.
    #[error("the policy asked for more than its {limit_bytes} bytes of memory")]
    Memory {
        /// What it was allowed.
        limit_bytes: u64,
    },
    /// It answered nonsense; its state is intact.
    #[error("the policy gave an unusable answer: {0}")]
    BadAnswer(String),
    /// It failed before and has not been replaced.
    #[error("the policy has stopped after an earlier failure")]
    Gone,
}

impl PolicyError {
    /// Whether the policy has lost its state and must be replaced and fed from the start.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Trap(_) | Self::Deadline { .. } | Self::Memory { .. } | Self::Gone => true,
            Self::BadAnswer(_) => false,
        }
    }
}

/// Refuses scores that do not match their question.
pub fn check_scores(question: &ScoreQuestion<'_>, scores: &[i32]) -> Result<(), PolicyError> {
    if scores.len() == question.candidates.len() {
        return Ok(());
    }
    Err(PolicyError::BadAnswer(format!(
        "{} scores for {} candidates",
        scores.len(),
        question.candidates.len()
    )))
}

/// Refuses plans that speak of unknown pods or slots, or do two things to one pod.
///
/// Whether a placement fits, an eviction is allowed and a group is complete is for the one who commits to say.
pub fn check_plan(question: &PlanQuestion<'_>, actions: &[Action]) -> Result<(), PolicyError> {
    let refuse = |what: String| Err(PolicyError::BadAnswer(what));
    if actions.len() > question.pods.len() * PLAN_ACTIONS_PER_POD_MAX {
        return refuse(format!("{} actions for {} pods", actions.len(), question.pods.len()));
    }
    let asked: HashSet<u64> = question.pods.iter().map(|pod| pod.id).collect();
    let mut seen = HashSet::with_capacity(actions.len());
    for action in actions {
        if !seen.insert(action.pod) {
            return refuse(format!("two actions for pod {}", action.pod));
        }
        let evicts = action.verb == Verb::Evict;
        if evicts == asked.contains(&action.pod) {
            let what = if evicts { "evicts" } else { "decides about" };
            return refuse(format!("it {what} pod {}, which was not its to choose", action.pod));
        }
        let needs_slot = matches!(action.verb, Verb::Place | Verb::Nominate);
        if needs_slot && u64::from(action.slot) >= u64::from(question.words) * 64 {
            return refuse(format!("slot {} does not exist", action.slot));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
