//! What happens to pods on their way: admission, binding, tokens; and the seam for admission plugins.
#![allow(clippy::unwrap_used)] // a test may

mod common;

use std::sync::Arc;

use berth_api::{Reason, Status};
use berth_json::{Value, json};
use berth_pipeline::admission::{Verdict, at_once};
use berth_pipeline::{Admission, Binding, Body, Request, Review, Verb, plan_bindings};
use berth_state::{Action, Commit, Draft, Expect, Key, Ledger, Op};
use common::{World, at, pod};

fn binding(world: &World, name: &str, target: Value) -> Request {
    let body = Body::Object(json!({"metadata": {"name": name}, "target": target}));
    at("binding", world.request(Verb::Create, "pods", "ns", name, body))
}

#[test]
fn a_pod_runs_as_an_account_and_gets_its_token() {
    let mut world = World::new();
    let made = world.ok(world.create("pods", "ns", pod("p")));
    let spec = &made["spec"];
    assert_eq!(
        (&spec["serviceAccountName"], &spec["serviceAccount"]),
        (&json!("default"), &json!("default"))
    );
    let volume = &spec["volumes"][0];
    let name = volume["name"].as_str().unwrap();
    assert!(name.starts_with("kube-api-access-") && name.len() == 21, "{name}");
    assert_eq!(
        volume["projected"],
        json!({"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
            ]}},
        ]})
    );
    let mount =
        json!({"name": name, "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"});
    assert_eq!(spec["containers"][0]["volumeMounts"], json!([mount]));
    assert_eq!((&spec["priority"], &spec["preemptionPolicy"]), (&json!(0), &json!("PreemptLowerPriority")));
    let keys: Vec<_> =
        spec["tolerations"].as_array().unwrap().iter().map(|t| t["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]);
}

#[test]
fn a_pod_can_do_without() {
    let mut world = World::new();
    let mut object = pod("p");
    object["spec"]["automountServiceAccountToken"] = json!(false);
    object["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    let spec = world.ok(world.create("pods", "ns", object))["spec"].take();
    assert_eq!((spec.get("volumes"), spec["tolerations"].as_array().unwrap().len()), (None, 1));
}

#[test]
fn pods_that_admission_refuses() {
    let mut world = World::new();
    let with = |key: &str, value: Value| {
        let mut object = pod("p");
        object["spec"][key] = value;
        object
    };
    let cases = [
        (
            with("serviceAccountName", json!("other")),
            "error looking up service account ns/other: serviceaccount \"other\" not found",
        ),
        (with("priorityClassName", json!("vip")), "no PriorityClass with name vip was found"),
        (with("runtimeClassName", json!("gvisor")), "pod rejected: RuntimeClass \"gvisor\" not found"),
        (
            with("priority", json!(5)),
            "the integer value of priority (5) must not be provided in pod spec; priority admission controller computed \
             0 from the given PriorityClass name",
        ),
    ];
    for (object, why) in cases {
        let refused = world.refused(world.create("pods", "ns", object));
        assert_eq!(refused, (403, format!("pods \"p\" is forbidden: {why}")));
    }
}

#[test]
fn binding_over_the_api() {
    let mut world = World::new();
    world.ok(world.create("pods", "ns", pod("p")));
    let node = json!({"kind": "Node", "name": "n1"});
    let cases = [
        (binding(&world, "p", json!({"kind": "Node", "name": ""})), 500, "target.name: Required value"),
        (
            binding(&world, "p", json!({"kind": "Pod", "name": "x"})),
            500,
            "target.kind: Unsupported value: \"Pod\"",
        ),
        (binding(&world, "absent", node.clone()), 404, "pods \"absent\" not found"),
    ];
    for (request, code, message) in cases {
        let refused = world.refused(request);
        assert!(refused.0 == code && refused.1.starts_with(message), "{refused:?}");
    }
    let (code, status) = world.reply(binding(&world, "p", node.clone()));
    assert_eq!((code, &status["status"]), (201, &json!("Success")));
    let bound = world.get("pods", "p").unwrap();
    assert_eq!((&bound["spec"]["nodeName"], &bound["metadata"]["generation"]), (&json!("n1"), &json!(1)));
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    let message =
        "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n1\"";
    assert_eq!(world.refused(binding(&world, "p", node.clone())), (409, message.to_owned()));

    world.ok(world.create("pods", "ns", pod("q")));
    let by_name = json!({"metadata": {"name": "q"}, "target": node});
    assert_eq!(world.reply(world.create("bindings", "ns", by_name)).0, 201);
    assert_eq!(world.get("pods", "q").unwrap()["spec"]["nodeName"], "n1");
}

#[test]
fn binding_in_batches_writes_what_binding_over_the_api_writes() {
    let mut world = World::new();
    for name in ["api", "fast", "failed-before"] {
        world.ok(world.create("pods", "ns", pod(name)));
    }
    let unschedulable = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]);
    let patch = json!({"status": {"conditions": unschedulable}});
    world.ok(at("status", world.merge("pods", "failed-before", patch)));
    world.ok(binding(&world, "api", json!({"kind": "Node", "name": "n \"1\""})));

    let bind = |name: &str, uid: Option<&str>| {
        let stored = world.state.get(&Key::new("pods", "ns", name));
        let uid = uid.or(stored.map(|pod| &*pod.meta().uid)).unwrap_or_default().into();
        Binding { pod: Key::new("pods", "ns", name), uid, node: "n \"1\"".into() }
    };
    let wanted = [
        bind("fast", None),
        bind("fast", None),
        bind("failed-before", None),
        bind("failed-before", Some("another")),
        bind("api", None),
        bind("absent", None),
    ];
    let planned = plan_bindings(&world.state, world.now, &wanted);
    let codes: Vec<_> =
        planned.iter().map(|op| op.as_ref().map_or_else(|status| status.code, |_| 0)).collect();
    assert_eq!(codes, [0, 409, 0, 409, 409, 404]);

    let ops = planned.into_iter().flatten().collect();
    let commit = Commit { ops, ..Commit::default() };
    let changes = Ledger::default().stage(&world.state, commit).unwrap();
    changes.into_iter().for_each(|change| world.state.publish(change));
    let essence = |name: &str| {
        let mut object = world.get("pods", name).unwrap();
        object["spec"].as_object_mut().unwrap().remove("volumes");
        object["spec"]["containers"][0]["volumeMounts"].take();
        (object["spec"].take(), object["status"].take())
    };
    assert_eq!(essence("fast"), essence("api"));
    assert_eq!(essence("failed-before"), essence("api"));
    let on_node: Vec<_> =
        world.state.by_field("pods", "spec.nodeName", "n \"1\"").map(|pod| &*pod.key.name).collect();
    assert_eq!(on_node, ["api", "failed-before", "fast"]);
}

/// Gates a pod behind the API's back, which refuses gates as long as no scheduler honours them.
fn hold_back(world: &mut World, name: &str) {
    let mut object = world.get("pods", name).unwrap();
    object["spec"]["schedulingGates"] = json!([{"name": "wait"}]);
    let key = Key::new("pods", "ns", name);
    let expect = Expect::At(world.state.get(&key).unwrap().revision);
    let draft = Draft::encode(world.catalogue.named("pods").unwrap(), &object, None).unwrap();
    let ops = vec![Op { key, expect, action: Action::Put(draft) }];
    let changes = Ledger::default().stage(&world.state, Commit { ops, ..Commit::default() }).unwrap();
    changes.into_iter().for_each(|change| world.state.publish(change));
}

#[test]
fn a_gated_pod_is_not_bound() {
    let mut world = World::new();
    world.ok(world.create("pods", "ns", pod("p")));
    hold_back(&mut world, "p");
    let fast = Binding { pod: Key::new("pods", "ns", "p"), uid: "".into(), node: "n1".into() };
    let fast = plan_bindings(&world.state, world.now, &[fast]).remove(0).unwrap_err();
    let slow = world.refused(binding(&world, "p", json!({"kind": "Node", "name": "n1"})));
    assert_eq!((fast.code, fast.message), slow);
    assert!(slow.1.ends_with("pod p has non-empty .spec.schedulingGates"), "{slow:?}");
}

#[test]
fn tokens() {
    let mut world = World::new();
    world.ok(world.create("pods", "ns", pod("p")));
    let request = |world: &World, account: &str, spec: Value| {
        let body = Body::Object(json!({"spec": spec}));
        at("token", world.request(Verb::Create, "serviceaccounts", "ns", account, body))
    };
    let (code, token) = world.reply(request(&world, "default", json!({"audiences": ["a"]})));
    assert_eq!((code, &token["spec"]["expirationSeconds"]), (201, &json!(3600)));
    assert_eq!(token["status"]["expirationTimestamp"], "2026-11-21T11:00:00Z");
    assert!(token["status"]["token"].as_str().unwrap().contains("audiences: [\"a\"]"), "{token}");
    let bound = json!({"kind": "Pod", "apiVersion": "v1", "name": "p"});
    let token = world.ok(request(&world, "default", json!({"boundObjectRef": bound})));
    assert!(token["status"]["token"].as_str().unwrap().contains("pod: Some((\"p\""), "{token}");
    world.ok(world.create("nodes", "", json!({"metadata": {"name": "n"}})));
    let bound = json!({"kind": "Node", "apiVersion": "v1", "name": "n"});
    let token = world.ok(request(&world, "default", json!({"boundObjectRef": bound})));
    assert!(token["status"]["token"].as_str().unwrap().contains("node: Some((\"n\""), "{token}");
    let id = |token: &Value| token["status"]["token"].as_str().unwrap().split('"').nth(1).unwrap().to_owned();
    let ids = [0, 1].map(|_| id(&world.ok(request(&world, "default", json!({})))));
    assert!(ids[0] != ids[1] && ids[0].len() == 36, "each has an id of its own: {ids:?}");
    let century = request(&world, "default", json!({"expirationSeconds": 4_294_967_296_i64}));
    let answer = world.apply(century).unwrap();
    assert_eq!(answer.object()["status"]["expirationTimestamp"], "2027-11-21T10:00:00Z");
    let shortened = "requested expiration of 4294967296 seconds shortened to 31536000 seconds";
    assert_eq!(answer.warnings, [shortened]);

    let cases = [
        ("absent", json!({}), 404, "serviceaccounts \"absent\" not found"),
        ("default", json!({"expirationSeconds": 60}), 422, "may not specify a duration less than 10 minutes"),
        (
            "default",
            json!({"expirationSeconds": 8_589_934_592_i64}),
            422,
            "a duration larger than 2^32 seconds",
        ),
        (
            "default",
            json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "no"}}),
            404,
            "pods \"no\" not found",
        ),
        (
            "default",
            json!({"boundObjectRef": {"kind": "ConfigMap", "apiVersion": "v1", "name": "no"}}),
            400,
            "cannot bind token to object of type /v1, Kind=ConfigMap",
        ),
    ];
    for (account, spec, code, message) in cases {
        let refused = world.refused(request(&world, account, spec));
        assert!(refused.0 == code && refused.1.contains(message), "{refused:?}");
    }
}

/// Labels everything, and refuses images that are not its own.
struct House;

impl Admission for House {
    fn name(&self) -> &str {
        "house"
    }

    fn mutate<'a>(&'a self, _: &'a Review<'_>, object: &'a mut Value) -> Verdict<'a> {
        object["metadata"]["labels"]["house"] = json!("yes");
        at_once(Ok(vec!["labelled".to_owned()]))
    }

    fn validate<'a>(&'a self, review: &'a Review<'_>, object: &'a Value) -> Verdict<'a> {
        if review.verb == Verb::Delete || object["spec"]["containers"][0]["image"] == "house:1" {
            return at_once(Ok(vec![]));
        }
        at_once(Err(Status::new(Reason::Forbidden, format!("{} runs no such image", self.name()))))
    }
}

#[test]
fn admission_plugins_change_and_refuse() {
    let mut world = World::new();
    world.admission.push(Arc::new(House));
    assert_eq!(
        world.refused(world.create("pods", "ns", pod("p"))),
        (403, "house runs no such image".to_owned())
    );
    let mut object = pod("p");
    object["spec"]["containers"][0]["image"] = json!("house:1");
    let answer = world.apply(world.create("pods", "ns", object)).unwrap();
    assert_eq!(answer.object()["metadata"]["labels"]["house"], "yes");
    assert_eq!(answer.warnings, ["labelled"]);
    world.ok(world.delete("pods", "p", json!({})));
}
