//! Autoscalers among faults: the loop that runs them is a server's like all others.
#![allow(clippy::unwrap_used)] // a test may

use berth_json::json;
use berth_sim::{World, ready};
use berth_state::{Key, State};

fn says(state: &State, text: &str) -> bool {
    let key = Key::new("horizontalpodautoscalers.autoscaling", "default", "web");
    let stored = state.get(&key);
    stored.is_some_and(|stored| String::from_utf8_lossy(stored.bytes()).contains(&format!("\"{text}\"")))
}

fn run(seed: u64) -> (u64, u64) {
    let mut world = World::calm(seed, 3);
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    world.deploy("web", 2, &strategy).unwrap();
    world.wait_until("the pods are ready", 60_000, |state| ready(state, "web").count() == 2);
    world.autoscale("web", 4, 6).unwrap();
    world.server_dies_after_next_commit(300);
    let up = |state: &State| ready(state, "web").count() == 4;
    world.wait_until("there are as many pods as there must at least be", 60_000, up);
    world.wait_until("nobody recommends, and it is said", 60_000, |state| says(state, "NoPolicy"));
    world.scale("web", 9).unwrap();
    let bounded = |state: &State| ready(state, "web").count() == 6 && says(state, "SucceededRescale");
    world.wait_until("there are as many as there may at most be", 60_000, bounded);
    world.scale("web", 0).unwrap();
    world.wait_until("zero switches it off", 60_000, |state| says(state, "ScalingDisabled"));
    world.run_for(30_000);
    assert_eq!(ready(world.state(), "web").count(), 0);
    world.settle();
    let report = world.report();
    assert_eq!(report.starts, 2);
    (report.revision, report.starts)
}

#[test]
fn an_autoscaler_is_held_to_its_bounds_also_when_the_server_dies() {
    assert_eq!(run(11), run(11), "the same seed gives the same run");
}
