//! A policy that misbehaves as its configuration says: what the engine's tests protect the host from.

use berth_sdk::{Batch, Cluster, Manifest, Plan, Question, Scheduler, Transaction, log};
use std::hint::black_box;

/// What it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Never answers.
    Loop,
    /// Takes memory until there is none.
    Eat,
    /// Calls itself until the stack is full.
    Recurse,
    /// Panics.
    Panic,
    /// Panics in every third answer.
    SometimesPanic,
    /// Answers with a score too few.
    ShortScores,
    /// Answers with more scores than the host accepts.
    HugeScores,
    /// Places pods on nodes that do not exist, and twice.
    BadPlan,
    /// Writes a million long lines.
    LogFlood,
    /// Panics when it is fed.
    FeedPanic,
    /// Never comes back from a feed.
    FeedLoop,
    /// Takes memory without end when it is fed.
    FeedEat,
    /// Takes longer for its first feed than a later one may.
    SlowFirstFeed,
    /// Never comes back from a plan.
    PlanLoop,
    /// Panics in a plan.
    PlanPanic,
    /// Does two things to one pod.
    PlanTwice,
    /// Decides about a pod that it was not asked about.
    PlanStranger,
    /// Evicts the pods it is to place.
    PlanEvict,
    /// Answers with a hundred actions for each pod.
    PlanFlood,
    /// Says something over several lines when it panics.
    ForgedLine,
}

/// The policy.
#[derive(Debug)]
pub struct Hostile {
    fault: Fault,
    answers: std::cell::Cell<u32>,
    feeds: u32,
}

impl Scheduler for Hostile {
    fn describe(config: &[u8]) -> Result<(Self, Manifest), String> {
        let fault = match config {
            b"\"loop\"" => Fault::Loop,
            b"\"eat\"" => Fault::Eat,
            b"\"recurse\"" => Fault::Recurse,
            b"\"panic\"" => Fault::Panic,
            b"\"sometimes-panic\"" => Fault::SometimesPanic,
            b"\"short-scores\"" => Fault::ShortScores,
            b"\"huge-scores\"" => Fault::HugeScores,
            b"\"bad-plan\"" => Fault::BadPlan,
            b"\"log-flood\"" => Fault::LogFlood,
            b"\"feed-panic\"" => Fault::FeedPanic,
            b"\"feed-loop\"" => Fault::FeedLoop,
            b"\"feed-eat\"" => Fault::FeedEat,
            b"\"slow-first-feed\"" => Fault::SlowFirstFeed,
            b"\"plan-loop\"" => Fault::PlanLoop,
            b"\"plan-panic\"" => Fault::PlanPanic,
            b"\"plan-twice\"" => Fault::PlanTwice,
            b"\"plan-stranger\"" => Fault::PlanStranger,
            b"\"plan-evict\"" => Fault::PlanEvict,
            b"\"plan-flood\"" => Fault::PlanFlood,
            b"\"forged-line\"" => Fault::ForgedLine,
            b"\"loop-at-once\"" => spin(),
            b"\"panic-at-once\"" => panic!("a bug in describe"),
            b"\"eat-at-once\"" => {
                eat();
                return Err("it had enough".to_owned());
            }
            b"\"long-error\"" => return Err(format!("first\nsecond\t{}", "x".repeat(3 << 20))),
            b"\"unknown-column\"" => {
                let manifest = Manifest::new("hostile", "1").scores_nodes();
                return Ok((Self::new(Fault::Loop), manifest.node_columns(["no-such", "nor-this"])));
            }
            b"\"long-manifest\"" => {
                let manifest = Manifest::new("hostile", "1").scores_nodes();
                return Ok((Self::new(Fault::Loop), manifest.pod_labels(vec!["key"; 10_000])));
            }
            _ => return Err("it knows no such fault".to_owned()),
        };
        let manifest = Manifest::new("hostile", "1").dimensions(["cpu", "memory"]);
        let manifest = manifest.scores_nodes();
        Ok((Self::new(fault), if fault.plans() { manifest.plans() } else { manifest }))
    }

    fn score(&self, _cluster: &Cluster, question: &Question<'_>, scores: &mut Vec<i32>) {
        self.answers.set(self.answers.get() + 1);
        scores.resize(question.candidates.len(), 0);
        match self.fault {
            Fault::Loop => spin(),
            Fault::Eat => eat(),
            Fault::Recurse => scores[0] = recurse(1) as i32,
            Fault::Panic => panic!("a bug in the policy"),
            Fault::SometimesPanic => assert!(!self.answers.get().is_multiple_of(3), "the third answer"),
            Fault::ShortScores => scores.truncate(question.candidates.len().saturating_sub(1)),
            Fault::HugeScores => scores.resize(2 << 20, 0),
            Fault::LogFlood => (0..1_000_000).for_each(|_| log::write(log::Level::Info, &"x".repeat(100))),
            Fault::ForgedLine => panic!("a bug\n2026-11-30T00:00:00Z  INFO berth: all is well"),
            _ => {} // fails elsewhere
        }
    }

    fn plan(&mut self, _cluster: &Cluster, batch: &Batch<'_>, plan: &mut Plan) {
        let slot = if self.fault == Fault::BadPlan { 1 << 30 } else { 0 };
        let place = |plan: &mut Plan, pod| plan.place(pod, slot, vec![], Transaction::NONE);
        match self.fault {
            Fault::PlanLoop => spin(),
            Fault::PlanPanic => panic!("a bug in the plan"),
            Fault::PlanStranger => place(plan, 1 << 40),
            _ => {}
        }
        for pod in batch.pods {
            match self.fault {
                Fault::BadPlan => place(plan, pod.id),
                Fault::PlanTwice => (0..2).for_each(|_| place(plan, pod.id)),
                Fault::PlanFlood => (0..100).for_each(|more| place(plan, pod.id << 8 | more)),
                Fault::PlanEvict => plan.evict(pod.id, 0, Transaction::NONE),
                _ => {}
            }
        }
    }

    fn updated(&mut self, _cluster: &Cluster) {
        self.feeds += 1;
        match self.fault {
            Fault::FeedPanic => panic!("a bug in the feed"),
            Fault::FeedLoop => spin(),
            Fault::FeedEat => eat(),
            Fault::SlowFirstFeed if self.feeds == 1 => (0..100_000_000u64).for_each(|n| _ = black_box(n)),
            _ => {}
        }
    }
}

impl Fault {
    /// Whether it is in the plans of the policy; one that plans is not asked for scores by a scheduler.
    fn plans(self) -> bool {
        matches!(
            self,
            Self::BadPlan
                | Self::PlanLoop
                | Self::PlanPanic
                | Self::PlanTwice
                | Self::PlanStranger
                | Self::PlanEvict
                | Self::PlanFlood
        )
    }
}

impl Hostile {
    fn new(fault: Fault) -> Self {
        Self { fault, answers: std::cell::Cell::new(0), feeds: 0 }
    }
}

fn spin() -> ! {
    loop {
        black_box(0);
    }
}

fn eat() {
    let mut eaten = Vec::new();
    loop {
        eaten.push(black_box(vec![1u8; 1 << 20]));
    }
}

fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if depth == 0 { frame[0] } else { recurse(depth + 1) + frame[63] }
}

berth_sdk::export!(Hostile);
