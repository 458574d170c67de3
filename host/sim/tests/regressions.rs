//! Every seed that ever failed stays here, with what it found.
//!
//! A seed means another run once the workload or the faults change, so each cause also has a test of its own that says in
//! words what happens: those in `scenarios.rs`, `availability.rs` and the crates' own tests named here.
#![allow(clippy::unwrap_used)] // a test may

use berth_sim::World;

const FOUND: &[(u64, &str)] = &[
    (
        1,
        "an acknowledged deletion shows the object as it would have been marked: the account was wrong, not the server",
    ),
    (11, "a deployment that recreates was not woken by the end of its last old pod (scenarios.rs)"),
    (
        20,
        "the garbage collector took a lost delete for done: a pod kept an owner that was gone (scenarios.rs)",
    ),
    (30, "the same, of a replica set"),
    (33, "a change of replicas held up a deployment that recreates and had several sets with pods"),
    (62, "the same, scaled to 0"),
    (64, "the same, with a set that was adopted"),
    (48, "a refused plan put its pods off twice, and the queue met a pod it no longer had (queue.rs)"),
    (54, "the same"),
    (
        110,
        "a policy was brought up while the scheduler began anew: its place in the feed was the old one's (scheduling.rs)",
    ),
    (117, "the same"),
    (
        7,
        "a replica set said for ever that its pods could not be made, once there were none to be made (control/tests)",
    ),
    (22, "the same"),
];

#[test]
fn seeds_that_failed_once() {
    for (seed, found) in FOUND {
        println!("seed {seed}: {found}");
        World::run_seed(*seed);
    }
}
