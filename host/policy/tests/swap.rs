//! One policy follows another while it serves.
#![allow(clippy::unwrap_used)] // Helpers of tests fail as tests do.

mod common;

use berth_policy::{Active, Limits, Swap, WasmPolicy};
use berth_scheduler::policy::{Columns, Feed, Policy, PolicyError};
use common::{cluster, engine, guest, load, scores};
use std::time::{Duration, Instant};

const NODES: u32 = 5000;

fn fed(package: &str) -> WasmPolicy {
    let mut policy = load(package).scheduler(package, b"", Columns::default()).unwrap();
    let everything = cluster(NODES, policy.manifest());
    policy.feed(&everything).unwrap();
    policy
}

/// Polls until the successor serves or has failed; the policy that serves answers all the time.
fn swap(active: &mut Active<WasmPolicy>, catch_up: &Feed) -> Swap {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match active.poll(|_| catch_up.clone()) {
            Swap::None => {
                assert!(active.is_preparing());
                assert_eq!(scores(active.serving(), 1, &[0, 1]).unwrap().len(), 2);
            }
            done => return done,
        }
        assert!(Instant::now() < deadline, "the swap ends");
    }
}

#[test]
fn the_successor_serves_with_what_changed_meanwhile() {
    let mut active = Active::new(fed("plugins/spread"));
    assert!(matches!(active.poll(|_| unreachable!("nothing is prepared")), Swap::None));
    let before = scores(active.serving(), 1, &[0, 1]).unwrap();

    let successor = load("plugins/binpack").scheduler("binpack", b"", Columns::default()).unwrap();
    let everything = cluster(NODES, successor.manifest());
    active.prepare(successor, everything).unwrap();
    let mut changed = Feed { seq: 2, ..Feed::default() };
    changed.update_requested(1, &[32_000, 131_072]);
    assert!(matches!(swap(&mut active, &changed), Swap::Done));

    assert_eq!(active.serving().manifest().name, "binpack");
    assert!(!active.is_preparing());
    let after = scores(active.serving(), 1, &[0, 1]).unwrap();
    assert_ne!(after, before);
    assert_eq!(after[1], 20_000, "node 1 has been filled since");
}

#[test]
fn a_successor_that_cannot_be_fed_leaves_the_old_one_serving() {
    let mut active = Active::new(fed("plugins/spread"));
    // 1 MiB is not enough for the table of so many nodes.
    let small = engine().load(&guest("plugins/binpack"), Limits::new(2 << 20, 1000)).unwrap();
    let successor = small.scheduler("small", b"", Columns::default()).unwrap();
    let everything = cluster(200_000, successor.manifest());
    active.prepare(successor, everything).unwrap();
    let failed = swap(&mut active, &Feed::default());
    assert!(matches!(failed, Swap::Failed(PolicyError::Memory { limit_bytes: 2_097_152 })), "{failed:?}");
    assert_eq!(active.serving().manifest().name, "spread");
    assert!(scores(active.serving(), 1, &[0, 1]).is_ok());
}
