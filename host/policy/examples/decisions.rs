//! How long the same policy takes natively and in the sandbox: `cargo run --release -p berth-policy --example decisions`.
//!
//! Three things are measured, round by round in turn so that both see the same machine: scoring every node for a class, one
//! placement (feed one node, ask about it again), and the feed of the whole cluster.
#![allow(clippy::unwrap_used)] // A measurement ends where something is wrong.

use berth_guest_build::{component, shared_target_dir};
use berth_native::Native;
use berth_plugin_spread::Spread;
use berth_policy::{Engine, Limits};
use berth_scheduler::policy::{Class, Columns, Ctx, Feed, Policy, ScoreQuestion};
use std::path::Path;
use std::time::{Duration, Instant};

const NODES: u32 = 5000;
const ROUNDS: usize = 30;

/// One kind of work, and how often a round repeats it.
struct Work {
    name: &'static str,
    repeats: u32,
    run: fn(&mut dyn Policy, &Input, u32),
}

struct Input {
    everything: Feed,
    slots: Vec<u32>,
}

const WORKS: [Work; 3] = [
    Work { name: "score all nodes", repeats: 500, run: |policy, input, _| score(policy, &input.slots) },
    Work { name: "one placement", repeats: 20_000, run: place },
    Work {
        name: "feed all nodes",
        repeats: 10,
        run: |policy, input, _| policy.feed(&input.everything).unwrap(),
    },
];

fn main() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/spread");
    let target = shared_target_dir(&std::env::current_exe().unwrap());
    let engine = Engine::new(None).unwrap();
    let loaded = engine.load(&component(&package, &target).unwrap(), Limits::default()).unwrap();
    let mut wasm = loaded.scheduler("spread", b"", Columns::default()).unwrap();
    let mut native = Native::<Spread>::start(b"", Columns::default()).unwrap();
    let input = Input { everything: everything(), slots: (0..NODES).collect() };
    wasm.feed(&input.everything).unwrap();
    native.feed(&input.everything).unwrap();

    println!("{NODES} nodes, medians of {ROUNDS} rounds");
    for work in &WORKS {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            times[0].push(round(work, &mut native, &input));
            times[1].push(round(work, &mut wasm, &input));
        }
        let [native, wasm] = times.map(median);
        let ratio = wasm.as_secs_f64() / native.as_secs_f64();
        let per_second = 1.0 / wasm.as_secs_f64();
        println!(
            "{:16} native {native:>10.1?}  wasm {wasm:>10.1?}  {ratio:5.2} x  {per_second:>9.0}/s",
            work.name
        );
    }
}

/// Time of one repetition.
fn round(work: &Work, policy: &mut dyn Policy, input: &Input) -> Duration {
    let begun = Instant::now();
    (0..work.repeats).for_each(|number| (work.run)(policy, input, number));
    begun.elapsed() / work.repeats
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn everything() -> Feed {
    let dimensions = vec!["cpu".to_owned(), "memory".to_owned()];
    let mut feed = Feed { seq: 1, reset: true, dimensions: Some(dimensions), ..Feed::default() };
    for slot in 0..NODES {
        let cpu = 16_000 * (1 + slot as i32 % 4);
        feed.upsert_node(slot, &[cpu, cpu * 4], &[slot as i32 * 7 % cpu, slot as i32 * 5 % cpu], &[]);
    }
    feed.define_class(Class { id: 1, requests: &[500, 512], attributes: &[] });
    feed
}

fn score(policy: &mut dyn Policy, candidates: &[u32]) {
    let mut scores = Vec::new();
    let question = ScoreQuestion { ctx: Ctx::default(), class: 1, candidates, columns: &[] };
    policy.score(&question, &mut scores).unwrap();
    std::hint::black_box(scores);
}

fn place(policy: &mut dyn Policy, _input: &Input, number: u32) {
    let slot = number.wrapping_mul(2_654_435_761) % NODES;
    let mut feed = Feed { seq: u64::from(number), ..Feed::default() };
    feed.update_requested(slot, &[number as i32 % 16_000, 512]);
    policy.feed(&feed).unwrap();
    score(policy, &[slot]);
}
