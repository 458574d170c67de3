//! Who may do what.
#![allow(clippy::unwrap_used)] // a test may

mod common;

use std::sync::Arc;

use Verb::{Create, Delete, Get, List, Patch, Update, Watch};
use berth_api::FieldSelector;
use berth_json::json;
use berth_pipeline::{Attributes, Authorizer, Body, Decision, Identity, RoleAuthorizer, Verb};
use common::{World, at, config_map, node, pod};

/// A pod `mine` on node n1 that uses the secret `s`, the config map `c` and the account `runner`; `theirs` is on n2.
fn world() -> World {
    let mut world = World::new();
    world.ok(world.create("serviceaccounts", "ns", json!({"metadata": {"name": "runner"}})));
    for (name, node) in [("mine", "n1"), ("theirs", "n2")] {
        let mut object = pod(name);
        if name == "mine" {
            object["spec"]["serviceAccountName"] = json!("runner");
            object["spec"]["volumes"] = json!([{"name": "v", "secret": {"secretName": "s"}}]);
            object["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "c"}}]);
        }
        world.ok(world.create("pods", "ns", object));
        let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": node}});
        let request = world.request(Create, "pods", "ns", name, Body::Object(binding));
        world.ok(at("binding", request));
    }
    world
}

fn may(world: &World, who: &Identity, verb: Verb, what: &str, namespace: &str, name: &str) -> bool {
    may_select(world, who, verb, what, (namespace, name), "")
}

fn may_select(
    world: &World,
    who: &Identity,
    verb: Verb,
    what: &str,
    (namespace, name): (&str, &str),
    selector: &str,
) -> bool {
    let fields = FieldSelector::parse(selector).unwrap();
    let fields = (!selector.is_empty()).then_some(&fields);
    let (resource, subresource) = what.split_once('/').unwrap_or((what, ""));
    let resource = world.catalogue.named(resource).unwrap();
    let asked = Attributes { identity: who, verb, resource, subresource, namespace, name, fields };
    RoleAuthorizer.authorize(&world.state, &asked) == Decision::Allow
}

#[test]
fn a_node_may_do_its_own_work_and_no_more() {
    let world = world();
    let n1 = node("n1");
    let lease = "leases.coordination.k8s.io";
    let allowed = [
        (Create, "nodes", "", ""),
        (Update, "nodes", "", "n1"),
        (Patch, "nodes/status", "", "n1"),
        (Get, "nodes", "", "n1"),
        (Watch, "nodes", "", "n1"),
        (Update, lease, "kube-node-lease", "n1"),
        (Get, lease, "kube-node-lease", "n1"),
        (Get, "pods", "ns", "mine"),
        (Delete, "pods", "ns", "mine"),
        (Delete, "pods", "ns", "gone-already"),
        (Patch, "pods/status", "ns", "mine"),
        (Get, "secrets", "ns", "s"),
        (Get, "configmaps", "ns", "c"),
        (Get, "configmaps", "ns", "kube-root-ca.crt"),
        (Create, "serviceaccounts/token", "ns", "runner"),
        (Create, "events", "ns", ""),
        (List, "services", "", ""),
    ];
    for (verb, what, namespace, name) in allowed {
        assert!(may(&world, &n1, verb, what, namespace, name), "{verb:?} {what} {name} is refused");
    }
    let refused = [
        (Delete, "nodes", "", "n1"),
        (Update, "nodes", "", "n2"),
        (Get, "nodes", "", "n2"),
        (List, "nodes", "", ""),
        (Watch, "pods", "", ""),
        (List, "pods", "ns", ""),
        (List, "pods", "ns", "mine"),
        (List, lease, "kube-node-lease", ""),
        (Get, lease, "kube-node-lease", "n2"),
        (Delete, lease, "kube-node-lease", "n2"),
        (Patch, "nodes/status", "", "n2"),
        (Update, lease, "kube-node-lease", "n2"),
        (Update, lease, "kube-system", "n1"),
        (Get, "pods", "ns", "theirs"),
        (Delete, "pods", "ns", "theirs"),
        (Patch, "pods/status", "ns", "theirs"),
        (Patch, "pods", "ns", "mine"),
        (Create, "pods", "ns", ""),
        (Create, "pods/binding", "ns", "mine"),
        (Get, "secrets", "ns", "other"),
        (Get, "secrets", "default", "s"),
        (List, "secrets", "ns", ""),
        (Get, "secrets", "ns", "c"),
        (Create, "serviceaccounts/token", "ns", "default"),
        (Create, "deployments.apps", "ns", ""),
        (Get, "plugins.berth.dev", "", "spread"),
    ];
    for (verb, what, namespace, name) in refused {
        assert!(!may(&world, &n1, verb, what, namespace, name), "{verb:?} {what} {name} is allowed");
    }
}

#[test]
fn a_node_finds_its_pods_by_its_name_alone() {
    let world = world();
    let n1 = node("n1");
    for (selector, expected) in [
        ("spec.nodeName=n1", true),
        ("status.phase!=Failed,spec.nodeName==n1", true),
        ("spec.nodeName=n2", false),
        ("spec.nodeName!=n1", false),
        ("spec.nodeName=", false),
        ("metadata.name=mine", false),
    ] {
        for (verb, namespace) in [(List, ""), (Watch, ""), (List, "ns")] {
            let allowed = may_select(&world, &n1, verb, "pods", (namespace, ""), selector);
            assert_eq!(allowed, expected, "{verb:?} {selector}");
        }
        assert!(!may_select(&world, &n1, Verb::DeleteCollection, "pods", ("ns", ""), selector));
    }
}

#[test]
fn a_name_alone_makes_no_node() {
    let world = world();
    let mut impostor = (*node("n1")).clone();
    impostor.groups = vec!["system:authenticated".to_owned()];
    assert!(!may(&world, &impostor, Get, "pods", "ns", "mine"));
}

#[test]
fn a_node_makes_only_what_bears_its_name() {
    let mut world = world();
    world.ok(world.create("namespaces", "", json!({"metadata": {"name": "kube-node-lease"}})));
    world.identity = node("n1");
    let named = |name: &str| json!({"metadata": {"name": name}});
    world.ok(world.create("nodes", "", named("n1")));
    let message = "nodes \"n2\" is forbidden: node \"n1\" is not allowed to modify node \"n2\"";
    assert_eq!(world.refused(world.create("nodes", "", named("n2"))), (403, message.to_owned()));
    let lease = "leases.coordination.k8s.io";
    assert_eq!(world.refused(world.create(lease, "kube-node-lease", named("n2"))).0, 403);
    world.ok(world.create(lease, "kube-node-lease", named("n1")));
}

#[test]
fn refusals_are_worded_as_users_know_them() {
    let mut world = world();
    world.identity = Arc::new(Identity {
        user: "system:serviceaccount:ns:default".to_owned(),
        groups: vec!["system:serviceaccounts".to_owned()],
        ..Identity::default()
    });
    let refused = world.refused(world.create("configmaps", "ns", config_map("m", "1")));
    let message = "configmaps is forbidden: User \"system:serviceaccount:ns:default\" cannot create resource \
                   \"configmaps\" in API group \"\" in the namespace \"ns\"";
    assert_eq!(refused, (403, message.to_owned()));
    let request = at("scale", world.merge("deployments.apps", "w", json!({})));
    let message = "deployments.apps \"w\" is forbidden: User \"system:serviceaccount:ns:default\" cannot patch resource \
                   \"deployments/scale\" in API group \"apps\" in the namespace \"ns\"";
    assert_eq!(world.refused(request), (403, message.to_owned()));
    let request = world.request(Delete, "nodes", "", "n1", Body::None);
    assert!(world.refused(request).1.ends_with("in API group \"\" at the cluster scope"));
}
