//! One policy at work: fed when it is behind, asked only about what changed, its ratings kept per class.

use std::collections::HashMap;

use crate::class::Class;
use crate::fits::fits;
use crate::mirror::{Known, Mirror};
use crate::nodes::Nodes;
use crate::policy::{Ctx, Feed, Policy, PolicyError, REFUSED, ScoreQuestion, Scores};

/// Classes whose ratings are kept at most: 5,000 nodes cost 20 KB each.
const KEPT_CLASSES_MAX: usize = 1_024;

/// A policy, its mirror, and the ratings it gave.
pub(crate) struct Rater {
    policy: Box<dyn Policy>,
    pub(crate) mirror: Mirror,
    kept: HashMap<u32, Ratings>,
    feed: Feed,
    changed: Vec<u32>,
    candidates: Vec<u32>,
    columns: Vec<i32>,
    answer: Vec<i32>,
}

/// A class's rating of every slot; [`REFUSED`] where it does not fit.
#[derive(Default)]
struct Ratings {
    scores: Vec<i32>,
    cursor: Option<u64>,
}

/// What a rating comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The best slot.
    Slot(u32),
    /// Nodes fit, but the policy refused them all; how many.
    Refused(usize),
    /// No node fits.
    Nowhere,
}

impl Rater {
    pub(crate) fn new(policy: Box<dyn Policy>, mirror: Mirror) -> Self {
        Self {
            policy,
            mirror,
            kept: HashMap::new(),
            feed: Feed::default(),
            changed: Vec::new(),
            candidates: Vec::new(),
            columns: Vec::new(),
            answer: Vec::new(),
        }
    }

    pub(crate) fn into_policy(self) -> Box<dyn Policy> {
        self.policy
    }

    pub(crate) fn policy(&mut self) -> &mut dyn Policy {
        &mut *self.policy
    }

    pub(crate) fn class_forgotten(&mut self, class: u32) {
        self.kept.remove(&class);
        self.mirror.class_forgotten(class);
    }

    /// Tells the policy what it must know before it is asked about `classes`.
    pub(crate) fn catch_up(&mut self, known: Known<'_>, classes: &[u32]) -> Result<(), PolicyError> {
        if !self.mirror.is_behind(known, classes) {
            return Ok(());
        }
        self.mirror.catch_up(known, classes, &mut self.feed);
        self.policy.feed(&self.feed)
    }

    /// The best node for a pod of the class.
    pub(crate) fn choose(
        &mut self,
        known: Known<'_>,
        id: u32,
        now_ms: u64,
        seed: u64,
    ) -> Result<Choice, PolicyError> {
        if self.kept.len() > KEPT_CLASSES_MAX && !self.kept.contains_key(&id) {
            self.kept.clear();
        }
        let class = known.classes.get(id).clone();
        let mut ratings = self.kept.remove(&id).unwrap_or_default();
        let keep = self.mirror.manifest().scores == Scores::NodeLocal;
        self.note_changes(known.nodes, &mut ratings, keep);
        self.split_candidates(&class, known.nodes, &mut ratings);
        if !self.candidates.is_empty() {
            self.catch_up(known, &[id])?;
            self.mirror.class_columns(&class, known.nodes, &self.candidates, &mut self.columns);
            let ctx = Ctx { seq: self.mirror.seq(), now_ms, seed };
            let question =
                ScoreQuestion { ctx, class: id, candidates: &self.candidates, columns: &self.columns };
            self.policy.score(&question, &mut self.answer)?;
            for (slot, score) in self.candidates.iter().zip(&self.answer) {
                ratings.scores[*slot as usize] = *score;
            }
        }
        ratings.cursor = Some(known.nodes.now());
        let choice = best(&ratings.scores, seed).map_or_else(|| refusals(&class, known.nodes), Choice::Slot);
        if keep {
            self.kept.insert(id, ratings);
        }
        Ok(choice)
    }

    /// The slots whose rating is out of date, ascending.
    fn note_changes(&mut self, nodes: &Nodes, ratings: &mut Ratings, keep: bool) {
        self.changed.clear();
        let since = ratings.cursor.filter(|_| keep).and_then(|cursor| nodes.touched_since(cursor));
        match since {
            Some(touched) => {
                self.changed.extend(touched.map(|(slot, _)| slot));
                self.changed.sort_unstable();
                self.changed.dedup();
            }
            None => self.changed.extend(0..nodes.slots()),
        }
        ratings.scores.resize(nodes.slots() as usize, REFUSED);
    }

    fn split_candidates(&mut self, class: &Class, nodes: &Nodes, ratings: &mut Ratings) {
        self.candidates.clear();
        for slot in &self.changed {
            if nodes.node(*slot).is_some_and(|node| fits(class, node)) {
                self.candidates.push(*slot);
            } else {
                ratings.scores[*slot as usize] = REFUSED;
            }
        }
    }
}

/// The slot with the highest score; among equals the first at or after a place that the seed says.
fn best(scores: &[i32], seed: u64) -> Option<u32> {
    // REFUSED is the least there is. Unlike `Iterator::max`, this becomes vector instructions.
    let top = scores.iter().fold(REFUSED, |top, score| top.max(*score));
    if top == REFUSED {
        return None;
    }
    let start = (seed % scores.len() as u64) as usize;
    let (before, after) = scores.split_at(start);
    let found = first(after, top).map(|at| at + start);
    found.or_else(|| first(before, top)).map(|slot| slot as u32)
}

/// Where `wanted` stands first: whole blocks are compared without a branch for each score.
fn first(scores: &[i32], wanted: i32) -> Option<usize> {
    const BLOCK: usize = 64;
    let holds = |block: &[i32]| block.iter().fold(false, |found, score| found | (*score == wanted));
    let block = scores.chunks(BLOCK).position(holds)? * BLOCK;
    scores[block..].iter().position(|score| *score == wanted).map(|at| block + at)
}

fn refusals(class: &Class, nodes: &Nodes) -> Choice {
    match nodes.all().filter(|(_, node)| fits(class, node)).count() {
        0 => Choice::Nowhere,
        fitting => Choice::Refused(fitting),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_slot_is_the_first_of_the_highest_from_the_seed_on() {
        assert_eq!(best(&[], 7), None);
        assert_eq!(best(&[REFUSED; 200], 7), None);
        let mut scores = vec![REFUSED; 200];
        scores[3] = i32::MIN + 1;
        assert_eq!(best(&scores, 100), Some(3));
        for slot in [0, 63, 64, 130, 199] {
            scores[slot] = 5;
        }
        for (start, slot) in
            [(0, 0), (1, 63), (63, 63), (64, 64), (65, 130), (131, 199), (199, 199), (200, 0)]
        {
            assert_eq!(best(&scores, start), Some(slot), "from {start}");
        }
    }
}
