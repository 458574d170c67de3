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
}

/// The policy.
#[derive(Debug)]
pub struct Hostile {
    fault: Fault,
    answers: std::cell::Cell<u32>,
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
            b"\"loop-at-once\"" => spin(),
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
        // A policy that plans is not asked for scores by a scheduler.
        Ok((Self::new(fault), if fault == Fault::BadPlan { manifest.plans() } else { manifest }))
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
            Fault::BadPlan => {}
        }
    }

    fn plan(&mut self, _cluster: &Cluster, batch: &Batch<'_>, plan: &mut Plan) {
        if self.fault == Fault::BadPlan {
            batch.pods.iter().for_each(|pod| plan.place(pod.id, 1 << 30, vec![7], Transaction::NONE));
        }
    }
}

impl Hostile {
    fn new(fault: Fault) -> Self {
        Self { fault, answers: std::cell::Cell::new(0) }
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
