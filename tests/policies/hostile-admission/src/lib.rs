//! An admission policy that misbehaves as its configuration says: what the engine and the pipeline protect the host from.

use std::cell::{Cell, RefCell};
use std::hint::black_box;

use berth_sdk::admission::{Admission, Manifest, Patch, Request, Rule, Verdict};
use berth_sdk::log;
use serde_json::json;

/// The policy.
#[derive(Debug)]
pub struct Hostile {
    fault: String,
    reviews: Cell<u32>,
    leaked: RefCell<Vec<Vec<u8>>>,
}

impl Admission for Hostile {
    fn describe(config: &[u8]) -> Result<(Self, Manifest), String> {
        let fault: String = berth_sdk::config(config)?;
        let manifest = Manifest::new("hostile", "1").mutates_again();
        let everything = || Rule::of("*", "*").and("*/*").on_create().on_update().on_delete();
        let manifest = match fault.as_str() {
            "loop-at-once" => spin(),
            "panic-at-once" => panic!("a bug in describe"),
            "many-rules" => (0..1_000).fold(manifest, |manifest, _| manifest.asks_about(everything())),
            "no-operation" => manifest.asks_about(Rule::of("", "pods")),
            "bad-selector" => manifest.asks_about(everything().with_labels("a in (")),
            _ => manifest.asks_about(everything()),
        };
        Ok((Self { fault, reviews: Cell::new(0), leaked: RefCell::default() }, manifest))
    }

    fn review(&self, request: &Request) -> Verdict {
        self.reviews.set(self.reviews.get() + 1);
        match self.fault.as_str() {
            "loop" => spin(),
            "eat" => loop {
                self.leak();
            },
            "leak" => self.leak(),
            "recurse" => drop(black_box(recurse(1))),
            "panic" => panic!("a bug in the policy"),
            "sometimes-panic" => assert!(!self.reviews.get().is_multiple_of(3), "the third review"),
            "forged-line" => panic!("a bug\n2026-11-30T00:00:00Z  INFO berth: all is well"),
            "log-flood" => (0..1_000_000).for_each(|_| log::write(log::Level::Info, &"x".repeat(100))),
            "huge-message" => return Verdict::deny("m".repeat(8 << 20)),
            "long-words" => return Verdict::deny("m\n".repeat(100_000)).warn("w\r\n".repeat(100_000)),
            "many-warnings" => {
                return (0..10_000).fold(Verdict::allow(), |verdict, n| verdict.warn(n.to_string()));
            }
            "code-200" => return Verdict::deny("all is well").with_code(200),
            "rename" => return Verdict::change(Patch::new().replace(["metadata", "name"], json!("other"))),
            "misfit" => return Verdict::change(Patch::new().remove(["spec", "nothing", "there"])),
            "invalid" => return Verdict::change(Patch::new().add(["spec"], json!({"containers": []}))),
            "whimsical" => {
                let label = json!({"n": self.reviews.get().to_string()});
                return Verdict::change(Patch::new().add(["metadata", "labels"], label));
            }
            "grow" => {
                let label = json!({"n": "x".repeat(3 << 20)});
                return Verdict::change(Patch::new().add(["metadata", "annotations"], label));
            }
            _ => {} // it is hostile elsewhere, or not at all
        }
        let _ = request.object();
        Verdict::allow()
    }
}

impl Hostile {
    fn leak(&self) {
        self.leaked.borrow_mut().push(black_box(vec![1; 1 << 20]));
    }
}

fn spin() -> ! {
    loop {
        black_box(0);
    }
}

fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if depth == 0 { frame[0] } else { recurse(depth + 1) + frame[63] }
}

berth_sdk::export!(Hostile as admission);
