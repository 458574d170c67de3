//! What a rolling update promises while nothing fails: never too few pods available, never too many wanted.
#![allow(clippy::unwrap_used)] // a test may

use berth_json::{Value, json};
use berth_sim::{World, ready};
use berth_state::State;

/// Pods that the ReplicaSets of `web` are told to have altogether.
fn wanted(state: &State) -> i64 {
    let sets = state.list("replicasets.apps", "default");
    let replicas = |bytes: &[u8]| -> i64 {
        let set: Value = serde_json::from_slice(bytes).unwrap();
        set["spec"]["replicas"].as_i64().unwrap()
    };
    sets.map(|set| replicas(set.bytes())).sum()
}

fn promise(seed: u64, replicas: i64, surge: i64, unavailable: i64) {
    let mut world = World::calm(seed, 4);
    let strategy =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
    world.deploy("web", replicas, &strategy).unwrap();
    let all = replicas as usize;
    world.wait_until("the pods are ready", 60_000, |state| ready(state, "web").count() == all);
    let check = |state: &State| {
        let available = ready(state, "web").count() as i64;
        assert!(
            available >= replicas - unavailable,
            "{available} of {replicas} are available, {unavailable} may not be"
        );
        let wanted = wanted(state);
        assert!(
            wanted <= replicas + surge,
            "{wanted} pods are wanted, for {replicas} and a surge of {surge}"
        );
    };
    // The third version comes while the second is on its way, and then all goes back to the first.
    for version in [1, 2, 0, 3] {
        world.roll_out("web", version).unwrap();
        world.run_for_checking(40 * (seed as i64 % 5 + 1), check);
    }
    world.run_for_checking(60_000, check);
    world.settle();
}

#[test]
fn a_rolling_update_keeps_pods_available_and_its_surge_small() {
    for (seed, (replicas, surge, unavailable)) in (20..).zip([
        (1, 1, 0),
        (2, 0, 1),
        (4, 1, 1),
        (6, 2, 0),
        (6, 0, 3),
        (8, 3, 2),
        (10, 3, 2),
        (5, 5, 0),
        (3, 0, 3),
    ]) {
        promise(seed, replicas, surge, unavailable);
        promise(seed + 100, replicas, surge, unavailable);
    }
}
