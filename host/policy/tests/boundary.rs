//! Everything that is fed and asked arrives in the sandbox as it was sent: random histories, told to one policy natively and in
//! the sandbox, whose answers tell all it knows.
#![allow(clippy::unwrap_used)] // Helpers of tests fail as tests do.

mod common;

use berth_native::Native;
use berth_scheduler::policy::{
    Class, ColumnUpdate, Columns, Ctx, Feed, Group, PlanQuestion, Pod, PodFlags, Policy, ScoreQuestion, Unit,
};
use berth_test_witness::Witness;
use common::load;
use std::collections::BTreeSet;

const OFFERED: Columns<'_> = Columns { node: &["n0", "n1"], class: &["c0", "c1"] };
const SEEDS: u64 = 20;
const FEEDS: u64 = 10;
const SLOTS: u32 = 64;

/// Numbers from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u32) -> u32 {
        (self.roll() % u64::from(end)) as u32
    }

    fn list<const N: usize>(&mut self) -> [i32; N] {
        std::array::from_fn(|_| self.roll() as i32)
    }
}

/// A history that keeps to the rules of feeds.
struct History {
    dice: Dice,
    nodes: BTreeSet<u32>,
    symbols: u32,
    classes: u32,
    pods: u64,
}

impl History {
    fn feed(&mut self, seq: u64) -> Feed {
        let mut feed = Feed { seq, ..Feed::default() };
        if seq == 1 || self.dice.below(8) == 0 {
            *self = Self {
                dice: Dice(self.dice.roll()),
                nodes: BTreeSet::new(),
                symbols: 1,
                classes: 0,
                pods: 0,
            };
            feed.reset = true;
            feed.dimensions = Some(["cpu", "memory"].map(str::to_owned).to_vec());
        }
        self.symbols_and_nodes(&mut feed);
        self.classes_and_pods(&mut feed);
        feed
    }

    fn symbols_and_nodes(&mut self, feed: &mut Feed) {
        let dice = &mut self.dice;
        feed.symbols.first = self.symbols;
        feed.symbols.texts = (0..dice.below(4)).map(|_| format!("ü{}", dice.roll())).collect();
        self.symbols += feed.symbols.texts.len() as u32;
        if self.nodes.len() > 20 {
            feed.removed_nodes = self.nodes.iter().copied().filter(|slot| slot % 3 == 0).collect();
            self.nodes.retain(|slot| slot % 3 != 0);
        }
        let upserted: BTreeSet<u32> = (0..1 + dice.below(12)).map(|_| dice.below(SLOTS)).collect();
        for &slot in &upserted {
            let labels = [(); 3].map(|()| dice.below(self.symbols));
            feed.upsert_node(slot, &dice.list::<2>(), &dice.list::<2>(), &labels);
        }
        for &slot in self.nodes.difference(&upserted).take(3) {
            feed.update_requested(slot, &dice.list::<2>());
        }
        self.nodes.extend(upserted);
        let slots: Vec<u32> = self.nodes.iter().copied().take(5).collect();
        let values = slots.iter().map(|_| dice.roll() as i32).collect();
        feed.columns.push(ColumnUpdate { column: dice.below(2), slots, values });
        let nodes: Vec<u32> = self.nodes.iter().copied().collect();
        feed.units = (0..dice.below(6))
            .map(|number| unit(number, nodes[dice.below(nodes.len() as u32) as usize], dice))
            .collect();
    }

    fn classes_and_pods(&mut self, feed: &mut Feed) {
        let dice = &mut self.dice;
        for _ in 0..1 + dice.below(3) {
            self.classes += 1;
            let attributes = [(); 3].map(|()| dice.below(self.symbols));
            feed.define_class(Class {
                id: self.classes,
                requests: &dice.list::<2>(),
                attributes: &attributes,
            });
        }
        if self.classes > 12 {
            feed.forgotten_classes = vec![self.classes - 10];
        }
        feed.groups = (0..dice.below(3))
            .map(|id| Group { id: id + 1, min_members: dice.below(3), placed: dice.below(9) })
            .collect();
        if self.pods > 10 {
            feed.removed_pods = vec![self.pods - 9, self.pods - 5];
        }
        let nodes: Vec<u32> = self.nodes.iter().copied().collect();
        for _ in 0..dice.below(4) {
            self.pods += 1;
            let slot = nodes[dice.below(nodes.len() as u32) as usize];
            feed.pods.push(pod(self.pods, self.classes, slot, dice));
        }
    }
}

fn unit(number: u32, slot: u32, dice: &mut Dice) -> Unit {
    // The number in the high part keeps a unit on its node for ever.
    Unit {
        id: slot * 16 + number,
        slot,
        dimension: dice.below(2),
        index: number,
        model: dice.below(9),
        capacity: dice.below(3) as i32 * 500,
        free: dice.roll() as i32,
    }
}

fn pod(id: u64, class: u32, slot: u32, dice: &mut Dice) -> Pod {
    Pod {
        id,
        since_ms: dice.roll(),
        class,
        group: dice.below(3),
        priority: dice.roll() as i32,
        slot,
        flags: PodFlags(dice.below(2)),
    }
}

/// Asks both the same; the plan has one action of each kind.
fn agree<'a>(wasm: &'a mut dyn Policy, native: &'a mut dyn Policy, history: &mut History, seq: u64) {
    let dice = &mut history.dice;
    let ctx = Ctx { seq, now_ms: dice.roll(), seed: dice.roll() };
    let candidates: Vec<u32> = history.nodes.iter().copied().collect();
    let columns: Vec<i32> = (0..2 * candidates.len()).map(|_| dice.roll() as i32).collect();
    let question = ScoreQuestion { ctx, class: history.classes, candidates: &candidates, columns: &columns };
    let answers = [&mut *wasm, &mut *native].map(|policy| {
        let mut scores = Vec::new();
        policy.score(&question, &mut scores).unwrap();
        scores
    });
    assert_eq!(answers[0], answers[1]);

    let pods: Vec<Pod> = (0..5).map(|id| pod(1 << 60 | id, history.classes, u32::MAX, dice)).collect();
    let columns: Vec<i32> = (0..2 * SLOTS).map(|_| dice.roll() as i32).collect();
    let question = PlanQuestion {
        ctx,
        pods: &pods,
        classes: &[history.classes],
        words: 1,
        feasible: &[dice.roll()],
        eligible: &[dice.roll()],
        columns: &columns,
    };
    let plans = [wasm, native].map(|policy| {
        let mut actions = Vec::new();
        policy.plan(&question, &mut actions).unwrap();
        actions
    });
    assert_eq!(plans[0], plans[1]);
    assert_eq!(plans[0].len(), pods.len());
}

#[test]
fn all_that_is_told_and_asked_arrives() {
    let component = load("tests/policies/witness");
    for seed in 0..SEEDS {
        let mut wasm = component.scheduler("witness", b"", OFFERED).unwrap();
        let mut native = Native::<Witness>::start(b"", OFFERED).unwrap();
        assert_eq!(wasm.manifest(), native.manifest());
        let mut history =
            History { dice: Dice(seed), nodes: BTreeSet::new(), symbols: 1, classes: 0, pods: 0 };
        for seq in 1..=FEEDS {
            let feed = history.feed(seq);
            wasm.feed(&feed).unwrap();
            native.feed(&feed).unwrap();
            agree(&mut wasm, &mut native, &mut history, seq);
        }
    }
}
