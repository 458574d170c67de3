//! Server-side apply on its way through the pipeline.
#![allow(clippy::unwrap_used)] // a test may

mod common;

use std::sync::Arc;

use berth_api::FieldValidation;
use berth_json::{Value, json};
use berth_pipeline::admission::{Verdict, at_once};
use berth_pipeline::{
    Admission, Attributes, Authorizer, Body, Decision, Identity, Request, Review, Rules, Verb,
};
use berth_state::State;
use common::{World, at};

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data})
}

/// A manager's apply.
fn apply(world: &World, manager: &str, resource: &str, config: &Value) -> Request {
    let name = config["metadata"]["name"].as_str().unwrap_or("m").to_owned();
    let body = Body::Apply(config.to_string().into());
    let mut request = world.request(Verb::Patch, resource, "ns", &name, body);
    request.options.field_manager = manager.to_owned();
    request
}

fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_not_there_is_made_and_what_changes_nothing_is_not_written() {
    let mut world = World::new();
    let config = map(json!({"a": "1"}));
    let answer = world.apply(apply(&world, "one", "configmaps", &config)).unwrap();
    assert_eq!((answer.code, &answer.object()["metadata"]["namespace"]), (201, &json!("ns")));
    let made = answer.object().into_owned();
    world.now = berth_api::Timestamp::parse("2026-11-21T11:00:00Z").unwrap();
    let again = world.ok(apply(&world, "one", "configmaps", &config));
    assert_eq!(again, made);
    // Another who says the same changes only who owns it.
    let shared = world.ok(apply(&world, "two", "configmaps", &config));
    assert_ne!(version(&shared), version(&made));
    assert_eq!(shared["metadata"]["managedFields"][0].get("time"), None);
    let mut dry = apply(&world, "two", "configmaps", &map(json!({"a": "1", "b": "2"})));
    dry.options.dry_run = true;
    assert_eq!(world.ok(dry)["data"], json!({"a": "1", "b": "2"}));
    assert_eq!(world.get("configmaps", "m").unwrap(), shared);
}

/// Lets everybody do all but make things.
struct NothingNew;

impl Authorizer for NothingNew {
    fn authorize(&self, _: &State, asked: &Attributes<'_>) -> Decision {
        match asked.verb {
            Verb::Create => Decision::Deny(String::new()),
            _ => Decision::Allow,
        }
    }

    fn authorize_unserved(&self, _: &Identity) -> Decision {
        Decision::Allow
    }

    fn authorize_path(&self, _: &Identity, _: &str, _: &str) -> Decision {
        Decision::Allow
    }

    fn rules(&self, _: &Identity, _: &str) -> Rules {
        Rules::default()
    }
}

#[test]
fn who_may_only_patch_makes_nothing() {
    let mut world = World::new();
    world.ok(apply(&world, "one", "configmaps", &map(json!({"a": "1"}))));
    world.authorizer = Arc::new(NothingNew);
    world.ok(apply(&world, "one", "configmaps", &map(json!({"a": "2"}))));
    let mut fresh = map(json!({}));
    fresh["metadata"]["name"] = "fresh".into();
    let (code, message) = world.refused(apply(&world, "one", "configmaps", &fresh));
    assert!(code == 403 && message.contains("cannot create resource \"configmaps\""), "{message}");
}

#[test]
fn a_configuration_says_what_it_is_and_nothing_of_the_server() {
    let mut world = World::new();
    world.ok(world.create("configmaps", "ns", map(json!({"a": "1"}))));
    let mut refused = |config: Value| world.refused(apply(&world, "one", "configmaps", &config));
    let mut other = map(json!({}));
    other["kind"] = "Secret".into();
    assert_eq!(refused(other), (400, "invalid object type: /v1, Kind=Secret".to_owned()));
    assert_eq!(refused(json!({"kind": "ConfigMap"})).1, "invalid object type: /, Kind=ConfigMap");
    let mut stale = map(json!({}));
    stale["metadata"]["resourceVersion"] = "1".into();
    assert_eq!(refused(stale).0, 409);
    let mut elsewhere = map(json!({}));
    elsewhere["metadata"]["namespace"] = "default".into();
    assert_eq!(refused(elsewhere).0, 400);
    let mut uid = map(json!({}));
    uid["metadata"] = json!({"name": "fresh", "uid": "u"});
    assert!(refused(uid).1.ends_with("specified uid u, and no existing object was found"));
    let at_status = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "absent"}});
    let request = at("status", apply(&world, "one", "pods", &at_status));
    assert_eq!(world.refused(request).0, 404);
}

#[test]
fn keys_that_stand_twice_are_told_of_or_refused() {
    let mut world = World::new();
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {}\ndata: {a: b}\n";
    let request = |world: &World, validation: FieldValidation| {
        let mut request = apply(world, "one", "configmaps", &json!({}));
        request.body = Body::Apply(text.into());
        request.options.field_validation = validation;
        request
    };
    let answer = world.apply(request(&world, FieldValidation::Warn)).unwrap();
    assert_eq!(answer.warnings, ["line 5: key \"data\" already set in map"]);
    assert_eq!(answer.object()["data"], json!({"a": "b"}));
    let (code, message) = world.refused(request(&world, FieldValidation::Strict));
    assert!(code == 400 && message.ends_with("line 5: key \"data\" already set in map"), "{message}");
    assert_eq!(world.apply(request(&world, FieldValidation::Ignore)).unwrap().warnings, [""; 0]);
}

#[test]
fn the_last_finalizer_that_its_applier_gives_up_ends_the_object() {
    let mut world = World::new();
    let mut config = map(json!({}));
    config["metadata"]["finalizers"] = json!(["x.example/a"]);
    world.ok(apply(&world, "one", "configmaps", &config));
    world.ok(world.delete("configmaps", "m", json!({})));
    assert!(world.get("configmaps", "m").unwrap()["metadata"].get("deletionTimestamp").is_some());
    world.ok(apply(&world, "one", "configmaps", &map(json!({}))));
    assert_eq!(world.get("configmaps", "m"), None);
}

fn deployment(spec: Value) -> Value {
    let mut config = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w"}});
    config["spec"] = json!({
        "selector": {"matchLabels": {"app": "a"}},
        "template": {
            "metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "app:1"}]},
        },
    });
    for (key, value) in spec.as_object().unwrap() {
        config["spec"][key.as_str()] = value.clone();
    }
    config
}

fn owned(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let own = entries.iter().find(|entry| entry["manager"] == manager);
    own.map_or(Value::Null, |entry| entry["fieldsV1"].clone())
}

#[test]
fn a_scale_that_is_applied_takes_the_replicas() {
    let mut world = World::new();
    world.ok(apply(&world, "one", "deployments.apps", &deployment(json!({"replicas": 1}))));
    let scale = |replicas: i64| {
        json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "w"},
            "spec": {"replicas": replicas},
        })
    };
    let mut request = at("scale", apply(&world, "two", "deployments.apps", &scale(3)));
    let refused = world.refused(request.clone());
    assert_eq!(
        refused,
        (409, "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas".to_owned())
    );
    request.options.force = true;
    assert_eq!(world.ok(request)["spec"], json!({"replicas": 3}));
    let stored = world.get("deployments.apps", "w").unwrap();
    assert_eq!(stored["spec"]["replicas"], 3);
    assert_eq!(owned(&stored, "two"), json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(owned(&stored, "one")["f:spec"].get("f:replicas"), None);
    world.ok(apply(&world, "one", "deployments.apps", &deployment(json!({}))));
    assert_eq!(world.get("deployments.apps", "w").unwrap()["spec"]["replicas"], 3);
}

#[test]
fn each_endpoint_owns_what_it_writes() {
    let mut world = World::new();
    let mut config = deployment(json!({"replicas": 1}));
    config["status"] = json!({"replicas": 9});
    let made = world.ok(apply(&world, "one", "deployments.apps", &config));
    assert_eq!((&made["status"], owned(&made, "one").get("f:status")), (&json!({}), None));
    let mut config = deployment(json!({"replicas": 7}));
    config["metadata"]["labels"] = json!({"l": "v"});
    config["status"] = json!({"replicas": 2});
    let written = world.ok(at("status", apply(&world, "two", "deployments.apps", &config)));
    assert_eq!((&written["spec"]["replicas"], &written["status"]["replicas"]), (&json!(1), &json!(2)));
    assert_eq!(owned(&written, "two"), json!({"f:status": {"f:replicas": {}}}));
}

/// Gives every ConfigMap a label.
struct Labels;

impl Admission for Labels {
    fn name(&self) -> &str {
        "labels"
    }

    fn mutate<'a>(&'a self, _: &'a Review<'_>, object: &'a mut Value) -> Verdict<'a> {
        object["metadata"]["labels"] = json!({"team": "core"});
        at_once(Ok(vec![]))
    }
}

#[test]
fn what_admission_adds_is_nobodys_and_stays() {
    let mut world = World::new();
    world.admission = vec![Arc::new(Labels)];
    let config = map(json!({"a": "1"}));
    let made = world.ok(apply(&world, "one", "configmaps", &config));
    assert_eq!(made["metadata"]["labels"], json!({"team": "core"}));
    assert_eq!(owned(&made, "one"), json!({"f:data": {"f:a": {}}}));
    assert_eq!(world.ok(apply(&world, "one", "configmaps", &config)), made);
}

#[test]
fn managers_that_a_client_names_are_written_though_nothing_else_changes() {
    let mut world = World::new();
    let made = world.ok(world.create("configmaps", "ns", map(json!({"a": "1"}))));
    let mut named = made.clone();
    named["metadata"]["managedFields"][0]["operation"] = "Apply".into();
    named["metadata"]["managedFields"][0]["manager"] = "kubectl".into();
    let written = world.ok(world.update("configmaps", "m", named.clone()));
    assert_ne!(version(&written), version(&made));
    assert_eq!(owned(&written, "kubectl"), json!({"f:data": {".": {}, "f:a": {}}}));
    // Times alone are no change.
    let mut timed = written.clone();
    timed["metadata"]["managedFields"][0]["time"] = "2020-01-01T00:00:00Z".into();
    assert_eq!(version(&world.ok(world.update("configmaps", "m", timed))), version(&written));
}
