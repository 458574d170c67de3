//! Faults by name: what must happen when a node, the server, the disk or a policy fails.
#![allow(clippy::unwrap_used)] // a test may

use berth_json::{Value, json};
use berth_sim::{Style, World, ready};
use berth_state::{Key, State};

fn rolling(surge: Value, unavailable: Value) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

fn image<'a>(state: &'a State, image: &'a str) -> usize {
    let needle = format!("\"image\":\"{image}\"");
    let has = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
    ready(state, "web").filter(|pod| has(pod.bytes())).count()
}

fn up(world: &mut World, replicas: usize) {
    world.wait_until("the pods are ready", 60_000, |state| ready(state, "web").count() == replicas);
}

#[test]
fn a_silent_node_s_pods_are_replaced_elsewhere() {
    let mut world = World::calm(1, 3);
    world.deploy("web", 6, &rolling(json!(1), json!(0))).unwrap();
    up(&mut world, 6);
    assert!(world.node(2).pods() > 0);
    world.node(2).falls_silent();
    world.run_for(20_000);
    assert!(world.node(2).pods() > 0, "a node may be silent for a while");
    world.run_for(60_000);
    assert_eq!(world.node(2).pods(), 0, "its lease ran out, and 20 s of toleration");
    let elsewhere = |state: &State| {
        ready(state, "web").filter(|pod| pod.field("spec.nodeName") != Some("node-2")).count() == 6
    };
    world.wait_until("six pods are ready elsewhere", 10_000, elsewhere);
    world.node(2).returns();
    world.settle();
}

#[test]
fn a_rollout_survives_a_crash_at_every_commit() {
    let writes = |after_commit: Option<(u64, bool)>| {
        let mut world = World::calm(5, 3);
        world.deploy("web", 4, &rolling(json!(1), json!(1))).unwrap();
        up(&mut world, 4);
        let begun = world.report().revision;
        world.roll_out("web", 1).unwrap();
        if let Some((commit, unheard)) = after_commit {
            world.wait_until("so many commits are durable", 60_000, |state| {
                state.revision().0 >= begun + commit
            });
            if unheard {
                world.server_dies_after_next_commit(300);
            } else {
                world.server_dies(300);
            }
        }
        world.wait_until("the new version runs", 60_000, |state| image(state, "web:v1") == 4);
        let end = world.report().revision;
        world.run_for(6_000); // a lease is renewed, if nothing else is written
        world.settle();
        assert_eq!(world.report().starts, if after_commit.is_some() { 2 } else { 1 });
        end - begun
    };
    let count = writes(None);
    assert!(count > 20, "a rollout takes {count} writes");
    for commit in 1..count - 1 {
        writes(Some((commit, commit % 2 == 0)));
    }
}

#[test]
fn a_watch_sees_everything_once() {
    let mut world = World::calm(3, 2);
    world.deploy("web", 3, &rolling(json!(1), json!(0))).unwrap();
    up(&mut world, 3);
    world.run_for(10_000);
    let before = world.report();
    assert_eq!(before.watched.1, 4, "four watches, each listed once");
    world.roll_out("web", 1).unwrap();
    world.run_for(30_000);
    world.server_dies(1_000);
    world.run_for(30_000);
    world.scale("web", 1).unwrap();
    world.settle();
    let after = world.report();
    // The checks themselves are made at every delivery; here, that there was something to check.
    assert!(after.watched.0 > before.watched.0 + 50, "{before:?} {after:?}");
    assert!((4..=8).contains(&after.watched.1), "after a restart a watch that was behind lists anew, once");
}

#[test]
fn a_policy_that_keeps_failing_loses_no_decision() {
    for style in [Style::Spread, Style::Pack, Style::Plan] {
        let mut world = World::calm(4, 3);
        world.policy_becomes(style, 400);
        world.run_for(30_000);
        world.deploy("web", 20, &rolling(json!(1), json!(0))).unwrap();
        world.wait_until("every pod has a place all the same", 330_000, |state| {
            ready(state, "web").count() == 20
        });
        world.roll_out("web", 3).unwrap();
        world.settle();
        let says = |stored: &std::sync::Arc<berth_state::Stored>| {
            String::from_utf8_lossy(stored.bytes()).contains("StartFailed")
                || String::from_utf8_lossy(stored.bytes()).contains("PolicyFailed")
        };
        assert!(world.state().list("events", "default").any(says), "{style:?} has failed");
    }
}

#[test]
fn policies_are_swapped_while_pods_are_being_placed() {
    let mut world = World::calm(6, 4);
    world.deploy("web", 30, &rolling(json!(1), json!(0))).unwrap();
    for style in [Style::Pack, Style::Spread, Style::Plan, Style::Pack] {
        world.policy_becomes(style, 0);
        world.run_for(400);
        let size = world.state().list("pods", "default").count() as i64;
        world.scale("web", (size + 3) % 32).unwrap();
    }
    world.scale("web", 32).unwrap();
    up(&mut world, 32);
    world.settle();
    let failed = |stored: &std::sync::Arc<berth_state::Stored>| {
        String::from_utf8_lossy(stored.bytes()).contains("PolicyFailed")
    };
    assert!(!world.state().list("events", "default").any(failed));
}

#[test]
fn a_full_disk_answers_503_and_is_got_over() {
    let mut world = World::calm(7, 2);
    world.deploy("web", 2, &rolling(json!(1), json!(0))).unwrap();
    up(&mut world, 2);
    world.disk_fills_up();
    let refused = world.deploy("api", 1, &rolling(json!(1), json!(0))).unwrap_err();
    assert_eq!(refused.code, 503);
    assert!(refused.message.starts_with("nothing was written: "), "{}", refused.message);
    assert!(world.state().get(&Key::new("deployments.apps", "default", "api")).is_none());
    world.run_for(30_000);
    world.disk_has_room();
    world.deploy("api", 1, &rolling(json!(1), json!(0))).unwrap();
    world.roll_out("web", 1).unwrap();
    world.settle();
    assert_eq!((image(world.state(), "web:v1"), ready(world.state(), "api").count()), (2, 1));
}

/// Found by the simulation: a delete of the garbage collector that met a full disk was never tried again.
#[test]
fn garbage_is_collected_though_the_disk_was_full_meanwhile() {
    let mut world = World::calm(8, 2);
    world.deploy("web", 3, &rolling(json!(1), json!(0))).unwrap();
    up(&mut world, 3);
    let web = Key::new("deployments.apps", "default", "web");
    loop {
        world.disk_fills_up_after_next_commit();
        if world.delete(&web, "Background").is_ok() {
            break;
        }
        world.disk_has_room(); // another commit was first
    }
    world.run_for(10_000);
    assert!(world.state().list("replicasets.apps", "").count() > 0, "nothing could be deleted");
    world.disk_has_room();
    world.settle();
    assert_eq!(world.state().list("replicasets.apps", "").count(), 0);
    assert_eq!(world.state().list("pods", "").count(), 0);
}

#[test]
fn a_namespace_that_cannot_go_says_why() {
    let mut world = World::calm(11, 1);
    let writer = world.writer();
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/a", "example.com/b"]}});
    world.write(writer.create("namespaces", "", json!({"metadata": {"name": "ns"}}))).unwrap();
    world.write(writer.create("configmaps", "ns", held)).unwrap();
    let (namespace, map) = (Key::new("namespaces", "", "ns"), Key::new("configmaps", "ns", "held"));
    world.delete(&namespace, "Background").unwrap();
    let says = |state: &State, words: &str| {
        state.get(&namespace).is_some_and(|stored| String::from_utf8_lossy(stored.bytes()).contains(words))
    };
    world.wait_until("it says what is left", 10_000, |state| {
        says(state, "Some resources are remaining: configmaps. has 1 resource instances")
            && says(state, "remaining: example.com/a in 1 resource instances, example.com/b in 1 resource")
    });
    let only = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}});
    world.write(writer.merge(&map, "", &only(json!(["example.com/b"])))).unwrap();
    world.wait_until("it says what is left of that", 20_000, |state| {
        says(state, "remaining: example.com/b in 1 resource instances")
    });
    world.write(writer.merge(&map, "", &only(json!([])))).unwrap();
    world.wait_until("it is gone", 10_000, |state| state.get(&namespace).is_none());
    world.settle();
}

/// Found by the simulation: nobody woke the deployment when the last old pod was gone.
#[test]
fn a_deployment_that_recreates_goes_on_when_its_last_pod_is_gone() {
    let mut world = World::calm(9, 2);
    world.deploy("web", 3, &json!({"type": "Recreate"})).unwrap();
    up(&mut world, 3);
    world.node(0).falls_silent();
    world.node(1).falls_silent();
    world.roll_out("web", 1).unwrap();
    world.run_for(5_000);
    assert_eq!(world.state().list("replicasets.apps", "default").count(), 1, "pods that end are still there");
    world.node(0).returns();
    world.node(1).returns();
    world.wait_until("the new version runs", 30_000, |state| image(state, "web:v1") == 3);
    world.settle();
}

/// Found by the simulation: the status of a binding that nothing serves yet was written again and again, as fast as it could be,
/// because `swaps: 0` is stored as nothing.
#[test]
fn a_plugin_that_does_not_load_keeps_nobody_busy() {
    let mut world = World::calm(31, 1);
    world.policy_becomes(Style::Broken, 0);
    world.run_for(10_000);
    let key = Key::new("pluginbindings.berth.dev", "", "default-scheduler");
    let binding = world.state().get(&key).unwrap();
    assert!(String::from_utf8_lossy(binding.bytes()).contains("it cannot be compiled"));
    let before = world.report().steps;
    world.run_for(60_000);
    assert!(world.report().steps - before < 2_000, "in a minute {} steps", world.report().steps - before);
}

/// A leader that stands still is replaced, and when it goes on nothing of what it still wants to write is written: the checks
/// of every commit see to the second half.
#[test]
fn a_leader_that_stands_still_is_replaced_and_can_lead_again() {
    let mut world = World::calm_servers(60, 3, 2);
    world.deploy("web", 6, &rolling(json!(1), json!(0))).unwrap();
    up(&mut world, 6);
    let (first, epoch) = world.leader("berth-scheduler").unwrap();
    let number = |holder: &str| usize::from(holder.starts_with("server-1"));
    let (one, other) = (number(&first), 1 - number(&first));
    world.roll_out("web", 1).unwrap();
    world.server_stands_still(one, 40_000);
    world.wait_until("the other server leads and places", 60_000, |state| image(state, "web:v1") == 6);
    let (second, next) = world.leader("berth-scheduler").unwrap();
    assert_eq!((number(&second), next), (other, epoch + 1));
    world.run_for(30_000);
    world.roll_out("web", 2).unwrap();
    world.server_stands_still(other, 40_000);
    world.wait_until("the first one leads again", 60_000, |state| image(state, "web:v2") == 6);
    let (third, _) = world.leader("berth-scheduler").unwrap();
    assert_eq!(third, first, "the same process");
    world.run_for(30_000);
    world.settle();
}

/// A server that starts again is another process: it waits for its own lease as the other one does.
#[test]
fn a_leader_that_dies_is_replaced_when_its_lease_is_over() {
    let mut world = World::calm_servers(61, 2, 2);
    world.deploy("web", 2, &rolling(json!(1), json!(0))).unwrap();
    up(&mut world, 2);
    let (first, epoch) = world.leader("berth-controllers").unwrap();
    world.dies(usize::from(first.starts_with("server-1")), 500);
    while world.scale("web", 4).is_err() {} // whoever asked the dead one asks again
    world.run_for(5_000);
    assert_eq!(world.leader("berth-controllers"), Some((first.clone(), epoch)), "the lease stands for 15 s");
    assert_eq!(ready(world.state(), "web").count(), 2);
    up(&mut world, 4);
    let (second, next) = world.leader("berth-controllers").unwrap();
    assert!(second != first && next == epoch + 1, "{second} leads in epoch {next}");
    world.settle();
}
