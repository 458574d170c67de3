//! An autoscaling policy that misbehaves as its configuration says: what the engine and the host's bounds protect from.

use std::cell::Cell;
use std::hint::black_box;

use berth_sdk::autoscaler::{Autoscaler, Manifest, Question, Recommendation};

/// The policy.
#[derive(Debug)]
pub struct Hostile {
    fault: String,
    answers: Cell<u32>,
}

impl Autoscaler for Hostile {
    fn describe(config: &[u8]) -> Result<(Self, Manifest), String> {
        let fault: String = berth_sdk::config(config)?;
        let manifest = Manifest::new("hostile", "1");
        let manifest = match fault.as_str() {
            "long-window" => manifest.with_history(u32::MAX, 15),
            "short-step" => manifest.with_history(60, 1),
            "many-samples" => manifest.with_history(604_800, 15),
            _ => manifest.with_history(60, 15),
        };
        Ok((Self { fault, answers: Cell::new(0) }, manifest))
    }

    fn recommend(&self, question: &Question) -> Recommendation {
        self.answers.set(self.answers.get() + 1);
        match self.fault.as_str() {
            "loop" => loop {
                black_box(0);
            },
            "panic" => panic!("a bug in the policy"),
            "four-billion" => Recommendation::to(u32::MAX),
            "no-such-metric" => Recommendation::to(1).by(7),
            "whimsical" => Recommendation::to(self.answers.get() % 2 * 100),
            "long-words" => Recommendation::unable("r\n".repeat(100_000)),
            _ => Recommendation::to(question.current + 1).because("one more"),
        }
    }
}

berth_sdk::export!(Hostile as autoscaler);
