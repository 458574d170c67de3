//! What a node may write: about itself and its pods, and nothing that draws work or secrets to it.
#![allow(clippy::unwrap_used)] // a test may

mod common;

use berth_json::{Value, json};
use berth_pipeline::{Body, Request, Verb};
use common::{World, admin, at, node, pod};

/// The nodes n1 and n2, and on each a pod that has its account's token mounted.
fn world() -> World {
    let mut world = World::new();
    for name in ["n1", "n2"] {
        world.ok(world.create("nodes", "", json!({"metadata": {"name": name}})));
        let mut object = pod(name);
        object["spec"]["nodeName"] = name.into();
        let vault =
            json!({"serviceAccountToken": {"path": "t", "audience": "vault", "expirationSeconds": 700}});
        object["spec"]["volumes"] = json!([{"name": "v", "projected": {"sources": [vault]}}]);
        world.ok(world.create("pods", "ns", object));
    }
    world
}

fn on_node(world: &World, patch: Value) -> Request {
    let mut request = world.merge("nodes", "n1", patch);
    request.namespace = String::new();
    request
}

fn as_node(world: &mut World, request: impl FnOnce(&World) -> Request) -> Result<Value, (u16, String)> {
    world.identity = node("n1");
    let answer = world.apply(request(world)).map(|answer| answer.object().into_owned());
    world.identity = admin();
    answer.map_err(|status| (status.code, status.message))
}

#[test]
fn a_node_does_not_change_what_keeps_work_from_it() {
    let mut world = world();
    let setup = json!({
        "metadata": {"labels": {"node-restriction.kubernetes.io/pci": "no", "app": "x"}},
        "spec": {"taints": [{"key": "k", "effect": "NoExecute"}], "unschedulable": true},
    });
    world.ok(on_node(&world, setup));
    let labels = |labels: Value| json!({"metadata": {"labels": labels}});
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "m", "uid": "u"}]);
    for (patch, why) in [
        (json!({"spec": {"taints": []}}), "modify taints"),
        (json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}), "modify taints"),
        (json!({"spec": {"unschedulable": null}}), "modify unschedulable"),
        (json!({"metadata": {"ownerReferences": owner}}), "modify ownerReferences"),
        (
            labels(json!({"node-restriction.kubernetes.io/pci": "yes"})),
            "modify labels: node-restriction.kubernetes.io/pci",
        ),
        (
            labels(json!({"node-restriction.kubernetes.io/pci": null})),
            "modify labels: node-restriction.kubernetes.io/pci",
        ),
        (
            labels(json!({"node-role.kubernetes.io/x": "", "k8s.io/y": "", "app": "y"})),
            "modify labels: k8s.io/y, node-role.kubernetes.io/x",
        ),
    ] {
        let message = format!("nodes \"n1\" is forbidden: node \"n1\" is not allowed to {why}");
        let refused = as_node(&mut world, |world| on_node(world, patch.clone())).unwrap_err();
        assert_eq!(refused, (403, message.clone()), "{patch}");
        if patch.get("spec").is_none() {
            let refused =
                as_node(&mut world, |world| at("status", on_node(world, patch.clone()))).unwrap_err();
            assert_eq!(refused, (403, message), "by its status: {patch}");
        }
    }
    let fine = json!({"metadata": {"labels": {"app": "z", "kubernetes.io/hostname": "n1"}}, "spec": {"podCIDR": "10.0.0.0/24"}});
    as_node(&mut world, |world| on_node(world, fine)).unwrap();
    let status = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    as_node(&mut world, |world| at("status", on_node(world, status))).unwrap();
}

#[test]
fn a_node_that_joins_says_what_it_is_but_not_what_it_is_for() {
    let mut world = World::new();
    let named = |more: Value| {
        let mut object = json!({"metadata": {"name": "n1"}});
        object["metadata"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object
    };
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "m", "uid": "u"}]);
    for (metadata, why) in [
        (
            json!({"labels": {"node-restriction.kubernetes.io/a": ""}}),
            "set the following labels: node-restriction.kubernetes.io/a",
        ),
        (json!({"ownerReferences": owner}), "modify ownerReferences"),
    ] {
        let refused = as_node(&mut world, |world| world.create("nodes", "", named(metadata))).unwrap_err();
        assert_eq!(refused, (403, format!("nodes \"n1\" is forbidden: node \"n1\" is not allowed to {why}")));
    }
    let mut object = named(json!({"labels": {"kubernetes.io/os": "linux", "example.com/rack": "7"}}));
    object["spec"] = json!({"taints": [{"key": "new", "effect": "NoSchedule"}], "unschedulable": true});
    as_node(&mut world, |world| world.create("nodes", "", object)).unwrap();
}

#[test]
fn a_node_says_how_its_pods_are_and_not_what_they_are() {
    let mut world = world();
    let cases = [
        (json!({"metadata": {"labels": {"app": "other"}}}), "labels"),
        (json!({"metadata": {"finalizers": ["example.com/hold"]}}), "finalizers"),
        (json!({"status": {"resourceClaimStatuses": [{"name": "c"}]}}), "resource claim statuses"),
    ];
    for (patch, what) in cases {
        let refused =
            as_node(&mut world, |world| at("status", world.merge("pods", "n1", patch))).unwrap_err();
        let message =
            format!("pods \"n1\" is forbidden: node \"n1\" cannot update {what} through pod status");
        assert_eq!(refused, (403, message));
    }
    let running = json!({"metadata": {"annotations": {"a": "b"}}, "status": {"phase": "Running"}});
    let request = |name| move |world: &World| at("status", world.merge("pods", name, running.clone()));
    as_node(&mut world, request.clone()("n1")).unwrap();
    assert_eq!(as_node(&mut world, request("n2")).unwrap_err().0, 403);
}

#[test]
fn a_node_gets_tokens_for_its_pods_as_they_ask_for_them() {
    let mut world = world();
    let uid = |world: &World, name: &str| world.get("pods", name).unwrap()["metadata"]["uid"].clone();
    let (own, others) = (uid(&world, "n1"), uid(&world, "n2"));
    let bound =
        |name: &str, uid: &Value| json!({"kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid});
    let ask = |spec: Value| {
        move |world: &World| {
            let body = Body::Object(json!({"spec": spec}));
            at("token", world.request(Verb::Create, "serviceaccounts", "ns", "default", body))
        }
    };
    let not_bound = "node requested token not bound to a pod";
    for (spec, why) in [
        (json!({}), not_bound),
        (
            json!({"boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": "s", "uid": own}}),
            not_bound,
        ),
        (
            json!({"boundObjectRef": {"kind": "Node", "apiVersion": "v1", "name": "n1", "uid": own}}),
            not_bound,
        ),
        (
            json!({"boundObjectRef": bound("n1", &Value::Null)}),
            "node requested token with a pod binding without a uid",
        ),
        (json!({"boundObjectRef": bound("n1", &others)}), "does not match the UID in record"),
        (json!({"boundObjectRef": bound("n2", &others)}), "bound to a pod scheduled on a different node"),
        (
            json!({"boundObjectRef": bound("n1", &own), "audiences": ["other"]}),
            "audience \"other\" not found in pod spec volume",
        ),
        (
            json!({"boundObjectRef": bound("n1", &own), "audiences": ["vault", "b"]}),
            "node may only request 0 or 1 audiences",
        ),
    ] {
        let (code, message) = as_node(&mut world, ask(spec)).unwrap_err();
        assert!(
            code == 403 && message.starts_with("serviceaccounts \"default\" is forbidden: "),
            "{message}"
        );
        assert!(message.contains(why), "{message} instead of {why}");
    }
    let seconds = |answer: Value| answer["spec"]["expirationSeconds"].as_i64().unwrap();
    let wish = |audiences: Value, wanted: i64| {
        ask(json!({"boundObjectRef": bound("n1", &own), "audiences": audiences, "expirationSeconds": wanted}))
    };
    assert_eq!(seconds(as_node(&mut world, wish(json!(["vault"]), 700)).unwrap()), 700);
    assert_eq!(seconds(as_node(&mut world, wish(json!(["vault"]), 4_294_967_296)).unwrap()), 700);
    assert_eq!(seconds(as_node(&mut world, wish(json!([]), 86_400)).unwrap()), 3607);
    let missing = ask(json!({"boundObjectRef": bound("gone", &own)}));
    assert_eq!(as_node(&mut world, missing).unwrap_err(), (404, "pods \"gone\" not found".to_owned()));
}

#[test]
fn what_a_node_has_no_business_with() {
    let mut world = world();
    let mut mirror = pod("mirror");
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    mirror["spec"]["nodeName"] = json!("n1");
    let eviction = Body::Object(json!({"metadata": {"name": "n2"}}));
    let requests = [
        world.create("pods", "ns", mirror),
        world.merge("pods", "n1", json!({"metadata": {"labels": {"a": "b"}}})),
        at("eviction", world.request(Verb::Create, "pods", "ns", "n2", eviction)),
        world.request(Verb::DeleteCollection, "pods", "ns", "", Body::None),
        world.create("tokenreviews.authentication.k8s.io", "", json!({"spec": {"token": "x"}})),
    ];
    for mut request in requests {
        request.identity = node("n1");
        let (what, verb) = (request.resource.id.to_string(), request.verb);
        assert_eq!(world.refused(request).0, 403, "{verb:?} {what}");
    }
}
