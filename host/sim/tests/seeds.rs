//! Whole runs from seeds: `BERTH_SIM_SEEDS` says how many (200), `BERTH_SIM_FIRST` with which to begin (1).
#![allow(clippy::unwrap_used)] // a test may

use berth_sim::World;

/// After so many failures the others are not run: one cause shows in many seeds.
const FAILURES_MAX: usize = 10;

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
        Err(_) => default,
    }
}

#[test]
fn every_seed_keeps_every_promise_and_comes_to_rest() {
    let (first, count) = (number("BERTH_SIM_FIRST", 1), number("BERTH_SIM_SEEDS", 200));
    let begun = std::time::Instant::now();
    let (mut steps, mut writes, mut virtual_ms, mut starts, mut decisions, mut leaders) = (0, 0, 0, 0, 0, 0);
    let mut failed = Vec::new();
    for seed in first..first + count {
        let Ok(report) = std::panic::catch_unwind(|| World::run_seed(seed)) else {
            failed.push(seed);
            assert!(failed.len() < FAILURES_MAX, "seeds {failed:?} failed");
            continue;
        };
        steps += report.steps;
        writes += report.revision;
        virtual_ms += report.virtual_ms;
        starts += report.starts;
        decisions += report.decisions;
        leaders += report.leaders;
    }
    let took = begun.elapsed().as_secs_f64();
    println!(
        "{count} seeds from {first}: {steps} steps, {writes} durable writes, {starts} starts, {leaders} leaders, \
         {decisions} feeds and decisions of policies, {} virtual hours in {took:.1} s",
        virtual_ms / 3_600_000
    );
    assert!(failed.is_empty(), "seeds {failed:?} failed");
    assert!(count > 0, "no seed was run");
    // Of a few seeds some may be spared; of many none of the faults is left out.
    if count >= 50 {
        assert!(starts > count * 3, "servers hardly crashed");
        assert!(leaders > count * 4, "leases hardly changed hands");
        assert!(decisions > count * 10, "policies decided hardly anything");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [3, 11] {
        assert_eq!(World::run_seed(seed), World::run_seed(seed));
    }
}
