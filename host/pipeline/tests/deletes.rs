//! Deleting: preconditions, finalizers, grace, namespaces, collections.
#![allow(clippy::unwrap_used)] // a test may

mod common;

use berth_json::{Value, json};
use berth_pipeline::{Body, Verb};
use berth_state::Key;
use common::{World, at, config_map, pod};

#[test]
fn an_object_goes_and_a_status_comes() {
    let mut world = World::new();
    let made = world.ok(world.create("configmaps", "ns", config_map("m", "1")));
    let answer = world.ok(world.delete("configmaps", "m", json!({})));
    let details = json!({"name": "m", "kind": "configmaps", "uid": made["metadata"]["uid"]});
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
    assert_eq!(answer, status);
    assert_eq!(world.get("configmaps", "m"), None);
    let refused = world.refused(world.delete("configmaps", "m", json!({})));
    assert_eq!(refused, (404, "configmaps \"m\" not found".to_owned()));
}

#[test]
fn options_are_checked() {
    let mut world = World::new();
    world.ok(world.create("configmaps", "ns", config_map("m", "1")));
    let supported =
        r#"Unsupported value: "Sideways": supported values: "Foreground", "Background", "Orphan", "nil""#;
    let cases: &[(Value, u16, &str)] = &[
        (
            json!({"preconditions": {"uid": "x"}}),
            409,
            "Operation cannot be fulfilled on ConfigMap \"m\": the UID in the precondition (x)",
        ),
        (
            json!({"preconditions": {"resourceVersion": "1"}}),
            409,
            "the ResourceVersion in the precondition (1) does not match",
        ),
        (json!({"propagationPolicy": "Sideways"}), 422, supported),
        (json!({"propagationPolicy": "Orphan", "orphanDependents": true}), 422, "cannot be both set"),
        (
            json!({"dryRun": ["x"]}),
            422,
            "DeleteOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"x\"]",
        ),
        (json!({"kind": "ConfigMap", "apiVersion": "v1"}), 400, "ConfigMap"),
    ];
    for (options, code, message) in cases {
        let refused = world.refused(world.delete("configmaps", "m", options.clone()));
        assert!(refused.0 == *code && refused.1.contains(message), "{options}: {refused:?}");
    }
    world.ok(world.delete("configmaps", "m", json!({"dryRun": ["All"]})));
    assert!(world.get("configmaps", "m").is_some());
    let body = json!({"kind": "DeleteOptions", "apiVersion": "apps/v1", "propagationPolicy": "Background"});
    let bytes = body.to_string().into();
    let body = Body::Encoded { media_type: "application/json".to_owned(), bytes };
    world.ok(world.request(Verb::Delete, "configmaps", "ns", "m", body));
    assert_eq!(world.get("configmaps", "m"), None);
}

#[test]
fn finalizers_hold_an_object_until_the_last_is_gone() {
    let mut world = World::new();
    let held = json!({"metadata": {"name": "m", "finalizers": ["x.example/a", "x.example/b"]}});
    world.ok(world.create("configmaps", "ns", held));
    let marked = world.ok(world.delete("configmaps", "m", json!({})));
    assert_eq!(marked["metadata"]["deletionTimestamp"], "2026-11-21T10:00:00Z");
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    assert_eq!(world.ok(world.delete("configmaps", "m", json!({}))), marked, "again changes nothing");
    let refused = world.refused(world.create("configmaps", "ns", config_map("m", "1")));
    assert_eq!(refused.1, "object is being deleted: configmaps \"m\" already exists");

    let finalizers = |list: Value| json!({"metadata": {"finalizers": list}});
    let more = world.refused(world.merge(
        "configmaps",
        "m",
        finalizers(json!(["x.example/a", "x.example/b", "x.example/c"])),
    ));
    assert!(more.0 == 422 && more.1.contains("no new finalizers can be added"), "{more:?}");
    let less = world.ok(world.merge("configmaps", "m", finalizers(json!(["x.example/b"]))));
    let last = world.ok(world.merge("configmaps", "m", finalizers(Value::Null)));
    assert_eq!(last["metadata"]["resourceVersion"], less["metadata"]["resourceVersion"]);
    assert_eq!(world.get("configmaps", "m"), None);
}

#[test]
fn propagation_becomes_a_finalizer() {
    let mut world = World::new();
    for (policy, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        world.ok(world.create("configmaps", "ns", config_map(finalizer.split('D').next().unwrap(), "1")));
        let name = finalizer.split('D').next().unwrap();
        let marked = world.ok(world.delete("configmaps", name, json!({"propagationPolicy": policy})));
        assert_eq!(marked["metadata"]["finalizers"], json!([finalizer]));
    }
    let gone = world.ok(world.delete("configmaps", "orphan", json!({"propagationPolicy": "Background"})));
    assert_eq!(gone["status"], "Success", "the wish was changed, nothing holds it any more");
}

fn bound(world: &mut World, name: &str) {
    world.ok(world.create("pods", "ns", pod(name)));
    let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "n1"}});
    let request = world.request(Verb::Create, "pods", "ns", name, Body::Object(binding));
    world.ok(at("binding", request));
}

#[test]
fn a_bound_pod_gets_time_to_end() {
    let mut world = World::new();
    bound(&mut world, "p");
    let marked = world.ok(world.delete("pods", "p", json!({})));
    let metadata = &marked["metadata"];
    assert_eq!(metadata["deletionTimestamp"], "2026-11-21T10:00:30Z");
    assert_eq!((&metadata["deletionGracePeriodSeconds"], &metadata["generation"]), (&json!(30), &json!(2)));

    let longer = world.ok(world.delete("pods", "p", json!({"gracePeriodSeconds": 60})));
    assert_eq!(longer, marked);
    let shorter = world.ok(world.delete("pods", "p", json!({"gracePeriodSeconds": 2})));
    assert_eq!(shorter["metadata"]["deletionTimestamp"], "2026-11-21T10:00:02Z");
    assert_eq!(shorter["metadata"]["generation"], 2);
    world.identity = common::node("n1");
    let last = world.ok(world.delete("pods", "p", json!({"gracePeriodSeconds": 0})));
    assert_eq!((&last["kind"], &last["metadata"]["deletionGracePeriodSeconds"]), (&json!("Pod"), &json!(0)));
    assert_eq!(world.get("pods", "p"), None);
}

#[test]
fn pods_that_run_nowhere_go_at_once() {
    let mut world = World::new();
    world.ok(world.create("pods", "ns", pod("unbound")));
    bound(&mut world, "done");
    world.ok(at("status", world.merge("pods", "done", json!({"status": {"phase": "Succeeded"}}))));
    for name in ["unbound", "done"] {
        let gone = world.ok(world.delete("pods", name, json!({})));
        assert_eq!((&gone["kind"], world.get("pods", name)), (&json!("Pod"), None), "{name}");
    }
}

#[test]
fn a_finalizer_outlasts_a_pods_grace() {
    let mut world = World::new();
    bound(&mut world, "p");
    world.ok(world.merge("pods", "p", json!({"metadata": {"finalizers": ["x.example/a"]}})));
    world.ok(world.delete("pods", "p", json!({"gracePeriodSeconds": 5})));
    world.ok(world.merge("pods", "p", json!({"metadata": {"labels": {"still": "there"}}})));
    world.ok(world.delete("pods", "p", json!({"gracePeriodSeconds": 0})));
    assert!(world.get("pods", "p").is_some(), "the finalizer holds it");
    world.ok(world.merge("pods", "p", json!({"metadata": {"finalizers": null}})));
    assert_eq!(world.get("pods", "p"), None);
}

#[test]
fn a_pod_without_finalizers_still_waits_for_its_node() {
    let mut world = World::new();
    bound(&mut world, "p");
    world.ok(world.delete("pods", "p", json!({"gracePeriodSeconds": 5})));
    world.ok(world.merge("pods", "p", json!({"metadata": {"labels": {"a": "b"}}})));
    assert!(world.get("pods", "p").is_some());
}

#[test]
fn a_namespace_is_emptied_first() {
    let mut world = World::new();
    let request = |world: &World, verb, name: &str, body| world.request(verb, "namespaces", "", name, body);
    let delete = request(&world, Verb::Delete, "ns", Body::None);
    let marked = world.ok(delete);
    assert_eq!(marked["status"]["phase"], "Terminating");
    assert_eq!(marked["metadata"].get("deletionGracePeriodSeconds"), None);
    let refused = world.refused(world.create("configmaps", "ns", config_map("late", "1")));
    let message = "configmaps \"late\" is forbidden: unable to create new content in namespace ns because it is being terminated";
    assert_eq!(refused, (403, message.to_owned()));

    let mut finalized = marked.clone();
    finalized["spec"]["finalizers"] = json!([]);
    finalized["metadata"]["labels"]["ignored"] = json!("here");
    let finalize = at("finalize", request(&world, Verb::Update, "ns", Body::Object(finalized)));
    let last = world.ok(finalize);
    assert_eq!(last["metadata"]["labels"].get("ignored"), None);
    assert_eq!(world.get("namespaces", "ns"), None);
}

#[test]
fn some_namespaces_may_not_go() {
    let mut world = World::new();
    world.ok(world.create("namespaces", "", json!({"metadata": {"name": "default"}})));
    let request = world.request(Verb::Delete, "namespaces", "", "default", Body::None);
    let message = "namespaces \"default\" is forbidden: this namespace may not be deleted";
    assert_eq!(world.refused(request), (403, message.to_owned()));
}

#[test]
fn a_collection_goes_by_its_selectors() {
    let mut world = World::new();
    for (name, set) in [("a", "one"), ("b", "one"), ("c", "two"), ("d", "two")] {
        let object = json!({"metadata": {"name": name, "labels": {"set": set}}});
        world.ok(world.create("configmaps", "ns", object));
    }
    let mut collection = |labels: &str, fields: &str| {
        let mut request = world.request(Verb::DeleteCollection, "configmaps", "ns", "", Body::None);
        request.options.label_selector = labels.to_owned();
        request.options.field_selector = fields.to_owned();
        world.reply(request)
    };
    let names = |(code, list): (u16, Value)| {
        assert_eq!((code, &list["kind"]), (200, &json!("ConfigMapList")));
        let items = list["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(collection("set=one", "")), ["a", "b"]);
    assert_eq!(names(collection("", "metadata.name=c")), ["c"]);
    assert_eq!(collection("a=b=c", "").1["message"], "found '=', expected: ',' or 'end of string'");
    assert_eq!(collection("", "spec.x=1").0, 400);
    assert_eq!(names(collection("", "")), ["d"]);
    assert_eq!(names(collection("", "")), Vec::<String>::new());
}

#[test]
fn a_collection_goes_piece_by_piece() {
    let mut world = World::new();
    for name in ["a", "b", "c"] {
        world.ok(world.create("configmaps", "ns", config_map(name, "1")));
    }
    let mut names = vec![];
    world.options.limit = Some(2);
    for after in [None, Some(Key::new("configmaps", "ns", "b"))] {
        world.options.after = after;
        let list = world.ok(world.request(Verb::DeleteCollection, "configmaps", "ns", "", Body::None));
        names.push(list["items"].as_array().unwrap().len());
    }
    assert_eq!((names, world.state.list("configmaps", "ns").count()), (vec![2, 1], 0));
}

#[test]
fn an_eviction_is_a_delete() {
    let mut world = World::new();
    bound(&mut world, "p");
    let evict = |world: &World, eviction: Value| {
        at("eviction", world.request(Verb::Create, "pods", "ns", "p", Body::Object(eviction)))
    };
    let other = json!({"metadata": {"name": "other"}});
    let message = "name in URL does not match name in Eviction object";
    assert_eq!(world.refused(evict(&world, other)), (400, message.to_owned()));
    let stale = json!({"metadata": {"name": "p"}, "deleteOptions": {"preconditions": {"uid": "x"}}});
    assert_eq!(world.refused(evict(&world, stale)).0, 409);
    let dry = json!({"metadata": {"name": "p"}, "deleteOptions": {"dryRun": ["All"]}});
    assert_eq!(world.reply(evict(&world, dry)).0, 201);
    assert_eq!(world.get("pods", "p").unwrap()["metadata"].get("deletionTimestamp"), None);

    let (code, answer) = world
        .reply(evict(&world, json!({"metadata": {"name": "p"}, "deleteOptions": {"gracePeriodSeconds": 5}})));
    assert_eq!((code, &answer["status"]), (201, &json!("Success")));
    assert_eq!(world.get("pods", "p").unwrap()["metadata"]["deletionGracePeriodSeconds"], 5);
}
