//! Whole batches of pods, and the plan made for them.

use crate::{Ctx, Pod};

/// The pods to decide about, and where each class may go.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Batch<'a> {
    /// Time and seed.
    pub ctx: Ctx,
    /// In the order in which they would be scheduled one by one.
    pub pods: &'a [Pod],
    classes: &'a [u32],
    words: usize,
    feasible: &'a [u64],
    eligible: &'a [u64],
    columns: &'a [i32],
}

impl<'a> Batch<'a> {
    /// A batch from the lists of the contract: `feasible` and `eligible` hold one bit set of `words` words per class.
    pub fn new(
        ctx: Ctx,
        pods: &'a [Pod],
        classes: &'a [u32],
        words: usize,
        [feasible, eligible]: [&'a [u64]; 2],
        columns: &'a [i32],
    ) -> Self {
        assert_eq!(feasible.len(), classes.len() * words, "one set of feasible nodes per class");
        assert_eq!(eligible.len(), classes.len() * words, "one set of eligible nodes per class");
        Self { ctx, pods, classes, words, feasible, eligible, columns }
    }

    /// The distinct classes of the pods.
    pub fn classes(&self) -> &'a [u32] {
        self.classes
    }

    /// The nodes that pass every hard constraint for a class now.
    pub fn feasible(&self, class: u32) -> Slots<'a> {
        self.set(self.feasible, class)
    }

    /// The nodes that would pass every hard constraint for a class if enough of their pods were evicted.
    pub fn eligible(&self, class: u32) -> Slots<'a> {
        self.set(self.eligible, class)
    }

    /// One of the manifest's class columns: a value per slot.
    pub fn column(&self, class: u32, number: usize) -> &'a [i32] {
        let slots = self.words * 64;
        let Some(at) = self.position(class) else { return &[] };
        let per_class = self.columns.len() / self.classes.len();
        let start = at * per_class + number * slots;
        &self.columns[start..start + slots]
    }

    fn set(&self, sets: &'a [u64], class: u32) -> Slots<'a> {
        let words = self.position(class).map_or(&[][..], |at| &sets[at * self.words..(at + 1) * self.words]);
        Slots { words, at: 0, rest: words.first().copied().unwrap_or(0) }
    }

    fn position(&self, class: u32) -> Option<usize> {
        self.classes.iter().position(|&other| other == class)
    }
}

/// A set of nodes; iterates over their slots, ascending.
#[derive(Clone, Copy, Debug)]
pub struct Slots<'a> {
    words: &'a [u64],
    at: usize,
    rest: u64,
}

impl Slots<'_> {
    /// Whether a node is in the set.
    pub fn contains(&self, slot: u32) -> bool {
        self.words.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }
}

impl Iterator for Slots<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        while self.rest == 0 {
            self.at += 1;
            self.rest = *self.words.get(self.at)?;
        }
        let bit = self.rest.trailing_zeros();
        self.rest &= self.rest - 1;
        Some(self.at as u32 * 64 + bit)
    }
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
    /// All or none with the others of the same number; 0: on its own.
    pub transaction: u32,
}

/// The kinds of [`Action`], with their codes in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Bind the pod.
    Place = 1,
    /// End a bound pod for the sake of what the same transaction places or nominates.
    Evict = 2,
    /// Keep room that evictions will free.
    Nominate = 3,
    /// Leave the pod waiting.
    Hold = 4,
    /// Do not try again before the cluster changes.
    Reject = 5,
}

/// Actions that are committed all or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transaction(u32);

impl Transaction {
    /// For actions that stand on their own.
    pub const NONE: Self = Self(0);
}

/// The answer to a [`Batch`], at most one action per pod.
#[derive(Debug, Default)]
pub struct Plan {
    actions: Vec<Action>,
    transactions: u32,
}

impl Plan {
    /// Begins actions that are committed all or none.
    pub fn transaction(&mut self) -> Transaction {
        self.transactions += 1;
        Transaction(self.transactions)
    }

    /// Binds a pod to a node, on these devices when there are any.
    pub fn place(&mut self, pod: u64, slot: u32, units: Vec<u32>, transaction: Transaction) {
        self.push(Verb::Place, pod, slot, units, None, transaction);
    }

    /// Ends a bound pod to make room.
    pub fn evict(&mut self, pod: u64, reason: usize, transaction: Transaction) {
        self.push(Verb::Evict, pod, 0, Vec::new(), Some(reason), transaction);
    }

    /// Keeps room on a node for a pod.
    pub fn nominate(&mut self, pod: u64, slot: u32, transaction: Transaction) {
        self.push(Verb::Nominate, pod, slot, Vec::new(), None, transaction);
    }

    /// Leaves a pod waiting; `reason` is an index into the manifest's reasons.
    pub fn hold(&mut self, pod: u64, reason: usize) {
        self.push(Verb::Hold, pod, 0, Vec::new(), Some(reason), Transaction::NONE);
    }

    /// Gives a pod up until the cluster changes; `reason` is an index into the manifest's reasons.
    pub fn reject(&mut self, pod: u64, reason: usize) {
        self.push(Verb::Reject, pod, 0, Vec::new(), Some(reason), Transaction::NONE);
    }

    /// All actions, in the order in which they were taken.
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// Takes the actions out.
    pub fn into_actions(self) -> Vec<Action> {
        self.actions
    }

    fn push(
        &mut self,
        verb: Verb,
        pod: u64,
        slot: u32,
        units: Vec<u32>,
        reason: Option<usize>,
        transaction: Transaction,
    ) {
        let reason = reason.map_or(0, |index| index as u32 + 1);
        self.actions.push(Action { verb, pod, slot, units, reason, transaction: transaction.0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_finds_the_sets_of_a_class() {
        let feasible = [0b101, 1 << 63, 0, 0b10];
        let batch = Batch::new(Ctx::default(), &[], &[7, 9], 2, [&feasible, &feasible], &[]);
        assert_eq!(batch.feasible(7).collect::<Vec<_>>(), [0, 2, 127]);
        assert_eq!(batch.eligible(9).collect::<Vec<_>>(), [65]);
        assert_eq!(batch.feasible(8).count(), 0);
        assert!(batch.feasible(7).contains(127) && !batch.feasible(7).contains(126));
    }
}
