//! What controllers do about taints, owners and namespaces, also when the server dies meanwhile.
#![allow(clippy::unwrap_used)] // a test may

use berth_json::{Value, json};
use berth_sim::World;
use berth_state::{Key, State, Stored};

fn pod(name: &str) -> Key {
    Key::new("pods", "default", name)
}

fn map(name: &str) -> Key {
    Key::new("configmaps", "default", name)
}

fn is_leaving(stored: &Stored) -> bool {
    stored.meta().deletion_timestamp.is_some()
}

/// A pod on the first node that tolerates the taint `k` for so many seconds.
fn run_tolerant(world: &mut World, name: &str, seconds: i64) {
    let toleration =
        json!({"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
    let object = json!({
        "metadata": {"name": name},
        "spec": {
            "nodeName": "node-0", "terminationGracePeriodSeconds": 0, "tolerations": [toleration],
            "containers": [{"name": "main", "image": "tool:v1"}],
        },
    });
    world.write(world.writer().create("pods", "default", object)).unwrap();
    world.run_for(3_000);
}

/// Sets the first node's taints as `kubectl taint` does: without a time.
fn taint(world: &mut World, taints: Value) {
    let patch = json!({"spec": {"taints": taints}});
    world.write(world.writer().merge(&Key::new("nodes", "", "node-0"), "", &patch)).unwrap();
}

fn no_execute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": value, "effect": "NoExecute"})
}

#[track_caller]
fn stays(world: &mut World, name: &str, for_ms: i64) {
    world.run_for_checking(for_ms, |state| {
        assert!(state.get(&pod(name)).is_some_and(|pod| !is_leaving(pod)), "{name} went too early");
    });
}

fn goes(world: &mut World, name: &str, within_ms: i64) {
    world.wait_until("the pod is gone", within_ms, |state| state.get(&pod(name)).is_none());
}

#[test]
fn a_pod_leaves_a_tainted_node_when_its_toleration_is_over() {
    let mut world = World::calm(21, 1);
    run_tolerant(&mut world, "short", 5);
    run_tolerant(&mut world, "long", 12);
    taint(&mut world, json!([no_execute("k", "v")]));
    stays(&mut world, "short", 4_900);
    goes(&mut world, "short", 1_500);
    taint(&mut world, json!([no_execute("k", "w"), {"key": "other", "effect": "NoSchedule"}]));
    stays(&mut world, "long", 4_000);
    goes(&mut world, "long", 3_000); // another value does not begin it anew
}

#[test]
fn a_taint_that_is_set_again_is_a_new_one() {
    let mut world = World::calm(22, 1);
    run_tolerant(&mut world, "p", 10);
    taint(&mut world, json!([no_execute("k", "v")]));
    stays(&mut world, "p", 7_000);
    taint(&mut world, json!([]));
    taint(&mut world, json!([no_execute("k", "v")]));
    stays(&mut world, "p", 9_900);
    goes(&mut world, "p", 1_500);
}

#[test]
fn a_pod_that_comes_to_a_tainted_node_has_its_whole_time_there() {
    let mut world = World::calm(23, 1);
    taint(&mut world, json!([no_execute("k", "v")]));
    run_tolerant(&mut world, "first", 40);
    run_tolerant(&mut world, "second", 15);
    stays(&mut world, "second", 11_900);
    goes(&mut world, "second", 3_000);
    stays(&mut world, "first", 15_000);
    goes(&mut world, "first", 10_000);
}

#[test]
fn a_restart_sends_no_pod_away_early_and_keeps_none_for_ever() {
    let mut world = World::calm(24, 1);
    run_tolerant(&mut world, "p", 20);
    let mut stamped = no_execute("k", "v");
    for (said, until) in [(false, 20_000), (true, 4_000)] {
        if said {
            run_tolerant(&mut world, "p", 20);
            stamped["timeAdded"] = world.now().rfc3339().into();
        }
        taint(&mut world, json!([stamped]));
        stays(&mut world, "p", 15_000);
        world.server_dies(1_000);
        world.run_for(1_100);
        // What the taint says itself is not forgotten.
        stays(&mut world, "p", until - 1_200);
        goes(&mut world, "p", 3_500);
        taint(&mut world, json!([]));
    }
}

fn create(world: &mut World, key: &Key, mut object: Value) {
    object["metadata"]["name"] = (&*key.name).into();
    world.write(world.writer().create(&key.resource, &key.namespace, object)).unwrap();
}

fn create_pods(world: &mut World, names: &[&str]) {
    let containers = json!([{"name": "main", "image": "tool:v1"}]);
    let spec = json!({"terminationGracePeriodSeconds": 0, "containers": containers});
    names.iter().for_each(|name| create(world, &pod(name), json!({"spec": spec})));
}

fn create_maps(world: &mut World, names: &[&str]) {
    names.iter().for_each(|name| create(world, &map(name), json!({})));
}

/// Makes `owners` the owners of `dependent`, each of which waits for it to go.
fn own(world: &mut World, dependent: &Key, owners: &[&Key]) {
    let reference = |owner: &&Key| {
        let writer = world.writer();
        let resource = writer.resource(&owner.resource);
        json!({
            "apiVersion": resource.api_version(), "kind": resource.kind, "name": &*owner.name,
            "uid": &*world.state().get(owner).unwrap().meta().uid, "blockOwnerDeletion": true,
        })
    };
    let references: Vec<Value> = owners.iter().map(reference).collect();
    let patch = json!({"metadata": {"ownerReferences": references}});
    world.write(world.writer().merge(dependent, "", &patch)).unwrap();
}

fn gone<'a>(keys: &'a [Key]) -> impl Fn(&State) -> bool + 'a {
    move |state| keys.iter().all(|key| state.get(key).is_none())
}

#[test]
fn owners_in_a_circle_go_in_the_foreground() {
    for length in 1..=4 {
        let mut world = World::calm(30 + length, 2);
        let names = &["p1", "p2", "p3", "p4"][..length as usize];
        create_pods(&mut world, names);
        let pods: Vec<Key> = names.iter().map(|name| pod(name)).collect();
        for (at, dependent) in pods.iter().enumerate() {
            own(&mut world, dependent, &[&pods[(at + pods.len() - 1) % pods.len()]]);
        }
        world.delete(&pods[0], "Foreground").unwrap();
        world.wait_until("the whole circle is gone", 20_000, gone(&pods));
        world.settle();
    }
}

#[test]
fn a_circle_that_is_deleted_everywhere_at_once_goes_too() {
    let mut world = World::calm(40, 1);
    let maps = ["a", "b", "c"].map(map);
    // Held, so that none goes before the last one is deleted.
    let held = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    maps.iter().for_each(|key| create(&mut world, key, held.clone()));
    own(&mut world, &maps[0], &[&maps[1], &maps[2]]);
    own(&mut world, &maps[1], &[&maps[2], &maps[1]]);
    own(&mut world, &maps[2], &[&maps[0]]);
    maps.iter().for_each(|key| drop(world.delete(key, "Foreground").unwrap()));
    world.run_for(5_000);
    for key in &maps {
        world.write(world.writer().merge(key, "", &json!({"metadata": {"finalizers": null}}))).unwrap();
    }
    world.wait_until("the whole circle is gone", 20_000, gone(&maps));
    world.settle();
}

#[test]
fn a_circle_of_several_kinds_goes_though_the_server_dies_meanwhile() {
    let template =
        json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": template});
    for died_after_ms in [0, 40, 80, 150, 300] {
        let mut world = World::calm(41, 1);
        let circle = [map("m"), Key::new("replicasets.apps", "default", "s"), pod("p")];
        create_maps(&mut world, &["m"]);
        create(&mut world, &circle[1], json!({"spec": spec}));
        create_pods(&mut world, &["p"]);
        for at in 0..3 {
            own(&mut world, &circle[at], &[&circle[(at + 1) % 3]]);
        }
        world.delete(&circle[1], "Foreground").unwrap();
        world.run_for(died_after_ms);
        world.server_dies(500);
        world.wait_until("the whole circle is gone", 30_000, gone(&circle));
        world.settle();
    }
}

#[test]
fn what_somebody_outside_a_circle_owns_too_stays() {
    let mut world = World::calm(42, 1);
    create_maps(&mut world, &["a", "b", "outside"]);
    let [a, b, outside] = ["a", "b", "outside"].map(map);
    own(&mut world, &a, &[&b]);
    own(&mut world, &b, &[&a, &outside]);
    world.delete(&a, "Foreground").unwrap();
    world.wait_until("its owner in the circle is gone", 20_000, gone(std::slice::from_ref(&a)));
    world.settle();
    let owners = |state: &State| -> Vec<String> {
        let owners = state.get(&b).unwrap().meta().owner_references.iter();
        owners.map(|owner| owner.uid.to_string()).collect()
    };
    let kept = world.state().get(&outside).unwrap().meta().uid.to_string();
    assert_eq!(owners(world.state()), [kept]);
    world.delete(&outside, "Background").unwrap();
    world.wait_until("it goes with its last owner", 20_000, gone(std::slice::from_ref(&b)));
    world.settle();
}

#[test]
fn circles_go_in_the_background_and_are_left_by_their_orphans() {
    let mut world = World::calm(43, 1);
    create_maps(&mut world, &["a", "b", "c"]);
    let maps = ["a", "b", "c"].map(map);
    let close = |world: &mut World| (0..3).for_each(|at| own(world, &maps[at], &[&maps[(at + 1) % 3]]));
    close(&mut world);
    world.delete(&maps[1], "Orphan").unwrap();
    world.wait_until("the one is gone", 20_000, gone(&maps[1..2]));
    world.settle();
    let left = [0, 2].map(|at| world.state().get(&maps[at]).unwrap().meta().owner_references.len());
    assert_eq!(left, [0, 1], "its dependent is free, the other has its owner");
    create_maps(&mut world, &["b"]);
    close(&mut world);
    world.delete(&maps[1], "Background").unwrap();
    world.wait_until("all are gone", 20_000, gone(&maps));
    world.settle();
}

#[test]
fn a_namespace_loses_its_pods_first_and_nothing_else_until_they_are_gone() {
    let mut world = World::calm(50, 1);
    let writer = world.writer();
    world.write(writer.create("namespaces", "", json!({"metadata": {"name": "ns"}}))).unwrap();
    world.run_for(2_000);
    let [namespace, held] = [Key::new("namespaces", "", "ns"), Key::new("pods", "ns", "held")];
    let containers = json!([{"name": "main", "image": "tool:v1"}]);
    let object =
        json!({"metadata": {"finalizers": ["example.com/hold"]}, "spec": {"containers": containers}});
    create(&mut world, &held, object);
    create(&mut world, &Key::new("configmaps", "ns", "m"), json!({}));
    world.delete(&namespace, "Background").unwrap();
    world.wait_until("it says that the pod is left, and nothing of the rest", 10_000, |state| {
        let text = String::from_utf8_lossy(state.get(&namespace).unwrap().bytes()).into_owned();
        text.contains("Some resources are remaining: pods. has 1 resource instances\"")
            && text.contains("remaining: example.com/hold in 1 resource instances")
    });
    world.run_for(20_000);
    assert!(is_leaving(world.state().get(&held).unwrap()));
    let others = |state: &State| {
        let is_other = |key: &Key| *key.namespace == *"ns" && *key != held && *key.resource != *"events";
        let all = state.iter().filter(|stored| is_other(&stored.key));
        all.map(|stored| is_leaving(stored)).collect::<Vec<_>>()
    };
    assert_eq!(others(world.state()), [false; 3], "the config maps and the account are as they were");
    world.write(writer.merge(&held, "", &json!({"metadata": {"finalizers": null}}))).unwrap();
    world.wait_until("it is gone", 10_000, |state| state.get(&namespace).is_none());
    world.settle();
}

#[test]
fn a_replica_set_makes_no_pods_in_a_namespace_that_goes() {
    let mut world = World::calm(51, 1);
    let writer = world.writer();
    world.write(writer.create("namespaces", "", json!({"metadata": {"name": "ns"}}))).unwrap();
    world.run_for(2_000);
    let template = json!({"metadata": {"labels": {"app": "x"}, "finalizers": ["example.com/hold"]},
                          "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"replicas": 1, "selector": {"matchLabels": {"app": "x"}}, "template": template});
    let set = Key::new("replicasets.apps", "ns", "s");
    create(&mut world, &set, json!({"spec": spec}));
    world.wait_until("its pod is there", 10_000, |state| state.list("pods", "ns").count() == 1);
    world.delete(&Key::new("namespaces", "", "ns"), "Background").unwrap();
    world.run_for(20_000);
    let stored = world.state().get(&set).expect("the pod holds up all else");
    assert!(!String::from_utf8_lossy(stored.bytes()).contains("ReplicaFailure"), "it did not even try");
    let held = world.state().list("pods", "ns").next().unwrap().key.clone();
    world.write(writer.merge(&held, "", &json!({"metadata": {"finalizers": null}}))).unwrap();
    world.wait_until("all is gone", 20_000, |state| {
        state.list("namespaces", "").all(|n| *n.key.name != *"ns")
    });
    world.settle();
}

#[test]
fn the_authority_s_certificate_is_put_right_however_it_was_changed() {
    let mut world = World::calm(52, 1);
    let key = map("kube-root-ca.crt");
    let writer = world.writer();
    let original = writer.value(world.state().get(&key).unwrap());
    let is_as_made = |map: &Value| {
        map["data"] == original["data"]
            && map.get("binaryData").is_none()
            && map["metadata"]["annotations"] == original["metadata"]["annotations"]
    };
    let as_made = |state: &State| state.get(&key).is_some_and(|map| is_as_made(&writer.value(map)));
    for edit in [
        json!({"data": {"ca.crt": "forged"}}),
        json!({"data": {"ca.crt": null, "other": "x"}}),
        json!({"data": {"more": "x"}}),
        json!({"data": null}),
        json!({"binaryData": {"b": "AAAA"}}),
        json!({"metadata": {"annotations": null}}),
        json!({"data": {"ca.crt": "forged"}, "immutable": true}),
    ] {
        assert!(!is_as_made(&world.write(writer.merge(&key, "", &edit)).unwrap()), "{edit}");
        world.wait_until(&format!("it is put right after {edit}"), 5_000, as_made);
    }
    world.delete(&key, "Background").unwrap();
    world.wait_until("it is made anew", 5_000, as_made);
    world.settle();
}
