//! A scheduling policy that traps, dawdles and talks nonsense now and then, and checks what it is told.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::hash::Hasher as _;
use std::sync::{Arc, Mutex, PoisonError};

use berth_scheduler::LeastAllocated;
use berth_scheduler::policy::{
    Action, Feed, Manifest, PlanQuestion, Policy, PolicyError, ScoreQuestion, Scores, Verb, check_scores,
};

use crate::randomness::{Fnv, Random};

/// How a policy decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// The emptiest node.
    Spread,
    /// The fullest node.
    Pack,
    /// Whole batches; some of its placements fit nowhere.
    Plan,
    /// Not at all: it does not load.
    Broken,
    /// Not at all: it does not start.
    Picky,
}

impl Style {
    pub(crate) const ALL: [Self; 5] = [Self::Spread, Self::Pack, Self::Plan, Self::Broken, Self::Picky];
}

/// A hash over all that policies are told, asked and answer.
#[derive(Clone, Default)]
pub(crate) struct Tap(Arc<Mutex<Hashed>>);

#[derive(Default)]
struct Hashed {
    hash: Fnv,
    noted: u64,
}

impl fmt::Write for Hashed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.hash.write(text.as_bytes());
        Ok(())
    }
}

impl Tap {
    fn note(&self, what: fmt::Arguments<'_>) {
        let mut hashed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hashed.noted += 1;
        hashed.write_fmt(what).expect("hashing never fails");
    }

    /// The hash, and how much went into it.
    pub(crate) fn hash(&self) -> (u64, u64) {
        let hashed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (hashed.hash.finish(), hashed.noted)
    }
}

pub(crate) struct SimulatedPolicy {
    manifest: Manifest,
    style: Style,
    arithmetic: LeastAllocated,
    random: Random,
    failing_permille: u32,
    nodes: BTreeSet<u32>,
    classes: BTreeSet<u32>,
    seq: u64,
    is_dead: bool,
    tap: Tap,
}

impl SimulatedPolicy {
    /// A policy of which so many calls in a thousand fail.
    pub(crate) fn new(style: Style, failing_permille: u32, random: Random, tap: Tap) -> Self {
        let plans = style == Style::Plan;
        let arithmetic = LeastAllocated::default();
        let manifest = Manifest {
            name: format!("{style:?}"),
            version: "1".to_owned(),
            scores: if plans { Scores::No } else { Scores::NodeLocal },
            plans,
            dimensions: arithmetic.manifest().dimensions.clone(),
            ..Manifest::default()
        };
        Self {
            manifest,
            style,
            arithmetic,
            random,
            failing_permille,
            nodes: BTreeSet::new(),
            classes: BTreeSet::new(),
            seq: 0,
            is_dead: false,
            tap,
        }
    }

    fn fail_now_and_then(&mut self) -> Result<(), PolicyError> {
        assert!(!self.is_dead, "a policy that has failed is not asked again");
        if !self.random.chance(self.failing_permille) {
            return Ok(());
        }
        let error = match self.random.index(4) {
            0 => PolicyError::Trap("wasm `unreachable` instruction executed".to_owned()),
            1 => PolicyError::Deadline { limit_ms: 100 },
            2 => PolicyError::Memory { limit_bytes: 1 << 20 },
            _ => PolicyError::BadAnswer("nonsense".to_owned()),
        };
        self.is_dead = error.is_fatal();
        Err(error)
    }

    fn place(&mut self, batch: &PlanQuestion<'_>, class: u32) -> (Verb, u32) {
        let at =
            batch.classes.iter().position(|known| *known == class).expect("a pod's class is in the batch");
        let words = batch.words as usize;
        let feasible = &batch.feasible[at * words..(at + 1) * words];
        let slots: Vec<u32> = (0..batch.words * 64)
            .filter(|slot| feasible[*slot as usize / 64] >> (slot % 64) & 1 == 1)
            .collect();
        if self.random.chance(self.failing_permille) && batch.words > 0 {
            return (Verb::Place, self.random.index(words * 64) as u32);
        }
        if slots.is_empty() { (Verb::Hold, 0) } else { (Verb::Place, *self.random.pick(&slots)) }
    }
}

impl Policy for SimulatedPolicy {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn feed(&mut self, feed: &Feed) -> Result<(), PolicyError> {
        assert!(feed.seq > self.seq, "feeds are numbered upwards: {} after {}", feed.seq, self.seq);
        self.tap.note(format_args!("{feed:?}"));
        feed.assert_shape(&self.manifest, self.manifest.dimensions.len());
        if feed.reset {
            self.nodes.clear();
            self.classes.clear();
        }
        self.seq = feed.seq;
        for slot in &feed.removed_nodes {
            assert!(self.nodes.remove(slot), "node {slot} is removed but was never fed");
        }
        self.nodes.extend(&feed.nodes.slots);
        let known = |slot: &u32| self.nodes.contains(slot);
        assert!(feed.requested_slots.iter().all(known), "an unknown node's requests are fed");
        for class in &feed.class_ids {
            assert!(self.classes.insert(*class), "class {class} is defined twice");
        }
        for class in &feed.forgotten_classes {
            assert!(self.classes.remove(class), "class {class} is forgotten but was never fed");
        }
        self.fail_now_and_then()?;
        self.arithmetic.feed(feed)
    }

    fn score(&mut self, question: &ScoreQuestion<'_>, scores: &mut Vec<i32>) -> Result<(), PolicyError> {
        assert_eq!(question.ctx.seq, self.seq, "a question refers to the last feed");
        assert!(self.classes.contains(&question.class), "class {} was never fed", question.class);
        assert!(
            question.candidates.iter().all(|slot| self.nodes.contains(slot)),
            "a candidate was never fed"
        );
        self.fail_now_and_then()?;
        self.arithmetic.score(question, scores)?;
        if self.style == Style::Pack {
            scores.iter_mut().for_each(|score| *score = -*score);
        }
        self.tap.note(format_args!("{} {} {scores:?}", question.ctx.seq, question.class));
        check_scores(question, scores)
    }

    fn plan(&mut self, batch: &PlanQuestion<'_>, actions: &mut Vec<Action>) -> Result<(), PolicyError> {
        assert_eq!(batch.ctx.seq, self.seq, "a question refers to the last feed");
        assert!(batch.classes.iter().all(|class| self.classes.contains(class)), "a class was never fed");
        self.fail_now_and_then()?;
        actions.clear();
        // Some batches stand or fall together, as gangs do.
        let transaction = u32::from(self.random.chance(200));
        for pod in batch.pods {
            let (verb, slot) = self.place(batch, pod.class);
            actions.push(Action { verb, pod: pod.id, slot, units: vec![], reason: 0, transaction });
        }
        self.tap.note(format_args!("{} {actions:?}", batch.ctx.seq));
        Ok(())
    }
}
