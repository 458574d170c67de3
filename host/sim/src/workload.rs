//! What clients write: deployments that roll, pods, config maps, namespaces, nodes to cordon.

use berth_control::Writer;
use berth_json::{Value, json};
use berth_pipeline::Request;
use berth_state::{Key, State, Stored};

use crate::oracle::HOLD;
use crate::randomness::Random;

/// A namespace that is never deleted, and two that are.
const NAMESPACES: [&str; 3] = ["default", "alpha", "beta"];
const DEPLOYMENTS: [&str; 3] = ["web", "api", "db"];
const PODS: [&str; 3] = ["one", "two", "three"];
const MAPS: [&str; 3] = ["red", "green", "blue"];
/// The config map that all clients count in.
pub(crate) const COUNTER: &str = "counter";
const REPLICAS_MAX: i64 = 6;
/// The taint by which clients send pods away from a node, at once or when they have tolerated it for long enough.
const TAINT: &str = "sim.berth.dev/drain";

/// What a request means to the client's own account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// Nothing beyond itself.
    Plain,
    /// The counter goes up by one, if nobody else was faster.
    Count,
    /// The hold is taken from an object.
    Release(Key),
}

type Wish = Option<(Request, Intent)>;

/// A client's next request from what it reads; `None` when what it thought of cannot be done now.
pub(crate) fn next(random: &mut Random, writer: &Writer, state: &State) -> Wish {
    let namespace = *random.pick(&NAMESPACES);
    let plain = |request: Option<Request>| Some((request?, Intent::Plain));
    match random.index(100) {
        0..12 => plain(Some(create_deployment(random, writer, namespace))),
        12..52 => plain(change_deployment(random, writer, state, namespace)),
        52..58 => plain(delete_deployment(random, writer, state, namespace)),
        58..64 => plain(Some(create_pod(random, writer, namespace))),
        64..68 => plain(delete_one(random, writer, state, "pods", namespace)),
        68..72 => plain(write_service(random, writer, state, namespace)),
        72..76 => count(writer, state),
        76..82 => plain(write_map(random, writer, state, namespace)),
        82..84 => plain(own_map(random, writer, state, namespace)),
        84..88 => release(random, writer, state),
        88..92 => plain(delete_map(random, writer, state, namespace)),
        92..95 => plain(Some(writer.create("namespaces", "", json!({"metadata": {"name": namespace}})))),
        95 => plain(delete_one(random, writer, state, "namespaces", "")),
        96 => plain(delete_one(random, writer, state, "nodes", "")),
        97 => plain(fail_pod(random, writer, state)),
        98 => plain(taint(random, writer, state)),
        _ => plain(cordon(random, writer, state)),
    }
}

/// What must still be done so that the cluster can come to rest; `None` when nothing is left to do.
pub(crate) fn tidy(writer: &Writer, state: &State) -> Wish {
    let held = |stored: &&std::sync::Arc<Stored>| {
        stored.meta().deletion_timestamp.is_some() && stored.meta().finalizers.iter().any(|f| &**f == HOLD)
    };
    if let Some(map) = state.list("configmaps", "").find(held) {
        return Some(unhold(writer, map));
    }
    let is = |stored: &Stored, path: &str| writer.value(stored).pointer(path) == Some(&Value::Bool(true));
    if let Some(node) = state.list("nodes", "").find(|node| is(node, "/spec/unschedulable")) {
        return Some((writer.merge(&node.key, "", &json!({"spec": {"unschedulable": null}})), Intent::Plain));
    }
    if let Some(node) = state.list("nodes", "").find(|node| untainted(writer, node).is_some()) {
        let patch = json!({"spec": {"taints": untainted(writer, node)}});
        return Some((writer.merge(&node.key, "", &patch), Intent::Plain));
    }
    let paused = state.list("deployments.apps", "").find(|deployment| is(deployment, "/spec/paused"));
    paused.map(|deployment| {
        (writer.merge(&deployment.key, "", &json!({"spec": {"paused": null}})), Intent::Plain)
    })
}

/// The pod template of version `version`.
fn template(app: &str, version: i64, toleration_seconds: Option<i64>) -> Value {
    let cpu = ["100m", "250m", "500m"][(version % 3) as usize];
    let requests = json!({"cpu": cpu, "memory": "128Mi"});
    let mut template = json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "main", "image": format!("{app}:v{version}"), "resources": {"requests": requests}}]},
    });
    if let Some(seconds) = toleration_seconds {
        template["spec"]["tolerations"] = json!([
            {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
             "tolerationSeconds": seconds},
            {"key": TAINT, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds},
        ]);
    }
    template
}

/// A deployment for clients and scenarios.
pub(crate) fn deployment(
    name: &str,
    replicas: i64,
    strategy: &Value,
    toleration_seconds: Option<i64>,
) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}}, "strategy": strategy,
            "revisionHistoryLimit": 2, "template": template(name, 0, toleration_seconds),
        },
    })
}

/// The patch that gives a deployment the image of another version.
pub(crate) fn new_version(app: &str, version: i64) -> Value {
    json!({"spec": {"template": {"spec": template(app, version, None)["spec"]}}})
}

fn strategy(random: &mut Random) -> Value {
    match random.index(5) {
        0 => json!({"type": "Recreate"}),
        1 => json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
        2 => json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}),
        3 => json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "50%", "maxUnavailable": "50%"}}),
        _ => json!({"type": "RollingUpdate"}),
    }
}

fn create_deployment(random: &mut Random, writer: &Writer, namespace: &str) -> Request {
    let name = *random.pick(&DEPLOYMENTS);
    let patience = random.chance(600).then(|| random.between(0, 30));
    let replicas = random.between(0, REPLICAS_MAX);
    let object = deployment(name, replicas, &strategy(random), patience);
    writer.create("deployments.apps", namespace, object)
}

fn pick<'a>(random: &mut Random, state: &'a State, resource: &str, namespace: &'a str) -> Option<&'a Stored> {
    let all: Vec<_> = state.list(resource, namespace).collect();
    if all.is_empty() { None } else { Some(all[random.index(all.len())]) }
}

fn change_deployment(
    random: &mut Random,
    writer: &Writer,
    state: &State,
    namespace: &str,
) -> Option<Request> {
    let found = pick(random, state, "deployments.apps", namespace)?;
    let name = found.key.name.to_string();
    let on = |subresource, patch: &Value| Some(writer.merge(&found.key, subresource, patch));
    match random.index(10) {
        0..3 => on("scale", &json!({"spec": {"replicas": random.between(0, REPLICAS_MAX)}})),
        3..7 => on("", &new_version(&name, random.between(0, 5))),
        7 => on("", &json!({"spec": {"paused": random.chance(500)}})),
        8 => {
            let mut object = writer.value(found);
            object["spec"]["strategy"] = strategy(random);
            object["spec"]["replicas"] = random.between(0, REPLICAS_MAX).into();
            Some(writer.update(&found.key, "", object))
        }
        _ => {
            let stamp = random.bits().to_string();
            on("", &json!({"spec": {"template": {"metadata": {"annotations": {"restarted": stamp}}}}}))
        }
    }
}

fn delete_deployment(
    random: &mut Random,
    writer: &Writer,
    state: &State,
    namespace: &str,
) -> Option<Request> {
    let found = pick(random, state, "deployments.apps", namespace)?;
    let propagation = *random.pick(&["Background", "Background", "Foreground", "Orphan"]);
    Some(writer.delete(found, propagation))
}

fn create_pod(random: &mut Random, writer: &Writer, namespace: &str) -> Request {
    let name = *random.pick(&PODS);
    let cpu = *random.pick(&["100m", "500m", "1", "2", "64"]);
    let object = json!({
        "metadata": {"name": name, "labels": {"app": *random.pick(&DEPLOYMENTS), "bare": "true"}},
        "spec": {
            "terminationGracePeriodSeconds": random.between(0, 5),
            "containers": [{"name": "main", "image": "tool:v1", "resources": {"requests": {"cpu": cpu}}}],
        },
    });
    writer.create("pods", namespace, object)
}

fn delete_one(
    random: &mut Random,
    writer: &Writer,
    state: &State,
    resource: &str,
    namespace: &str,
) -> Option<Request> {
    let found = pick(random, state, resource, namespace)?;
    (!is_needed(found)).then(|| writer.delete(found, "Background"))
}

fn is_needed(stored: &Stored) -> bool {
    matches!(&*stored.key.name, COUNTER | "kube-node-lease" | "default" | "kube-root-ca.crt")
}

/// Makes one config map the owner of another, so that now and then they own each other in a circle.
fn own_map(random: &mut Random, writer: &Writer, state: &State, namespace: &str) -> Option<Request> {
    let owner = pick(random, state, "configmaps", namespace)?;
    let owned = pick(random, state, "configmaps", namespace)?;
    let reference = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "name": &*owner.key.name, "uid": &*owner.meta().uid,
        "blockOwnerDeletion": random.chance(800),
    });
    let patch = json!({"metadata": {"uid": &*owned.meta().uid, "ownerReferences": [reference]}});
    (!is_needed(owned)).then(|| writer.merge(&owned.key, "", &patch))
}

fn delete_map(random: &mut Random, writer: &Writer, state: &State, namespace: &str) -> Option<Request> {
    let found = pick(random, state, "configmaps", namespace)?;
    let propagation = *random.pick(&["Background", "Foreground", "Foreground", "Orphan"]);
    (!is_needed(found)).then(|| writer.delete(found, propagation))
}

/// Services of few names want few addresses and ports, so that they get into each other's way.
fn write_service(random: &mut Random, writer: &Writer, state: &State, namespace: &str) -> Option<Request> {
    let name = *random.pick(&DEPLOYMENTS);
    let key = Key::new("services", namespace, name);
    let kind = *random.pick(&["ClusterIP", "NodePort"]);
    let mut spec = json!({"type": kind, "selector": {"app": name}, "ports": [{"port": 80}]});
    if random.chance(300) {
        spec["clusterIP"] = format!("10.96.0.{}", random.between(2, 5)).into();
    }
    if kind == "NodePort" && random.chance(300) {
        spec["ports"][0]["nodePort"] = random.between(30_000, 30_003).into();
    }
    match state.get(&key) {
        None => Some(writer.create("services", namespace, json!({"metadata": {"name": name}, "spec": spec}))),
        Some(found) if random.chance(400) => Some(writer.delete(found, "Background")),
        Some(_) => Some(writer.merge(&key, "", &json!({"spec": {"type": kind, "ports": spec["ports"]}}))),
    }
}

fn count(writer: &Writer, state: &State) -> Wish {
    let key = Key::new("configmaps", "default", COUNTER);
    let Some(found) = state.get(&key) else {
        let object = json!({"metadata": {"name": COUNTER}, "data": {"n": "0"}});
        return Some((writer.create("configmaps", "default", object), Intent::Plain));
    };
    let mut object = writer.value(found);
    let present: u64 = object["data"]["n"].as_str()?.parse().ok()?;
    object["data"]["n"] = (present + 1).to_string().into();
    Some((writer.update(&key, "", object), Intent::Count))
}

fn write_map(random: &mut Random, writer: &Writer, state: &State, namespace: &str) -> Option<Request> {
    let name = *random.pick(&MAPS);
    let key = Key::new("configmaps", namespace, name);
    let data = json!({"value": random.bits().to_string()});
    let Some(found) = state.get(&key) else {
        let finalizers = if random.chance(300) { json!([HOLD]) } else { json!([]) };
        let object = json!({"metadata": {"name": name, "finalizers": finalizers}, "data": data});
        return Some(writer.create("configmaps", namespace, object));
    };
    if random.chance(500) {
        let labels = json!({"metadata": {"labels": {"colour": name}}, "data": data});
        return Some(writer.merge(&key, "", &labels));
    }
    let mut object = writer.value(found);
    object["data"] = data;
    Some(writer.update(&key, "", object))
}

fn release(random: &mut Random, writer: &Writer, state: &State) -> Wish {
    let held = state.list("configmaps", "").filter(|map| map.meta().finalizers.iter().any(|f| &**f == HOLD));
    let held: Vec<_> = held.collect();
    if held.is_empty() { None } else { Some(unhold(writer, held[random.index(held.len())])) }
}

fn unhold(writer: &Writer, map: &Stored) -> (Request, Intent) {
    let patch = json!({"metadata": {"uid": &*map.meta().uid, "finalizers": null}});
    (writer.merge(&map.key, "", &patch), Intent::Release(map.key.clone()))
}

/// A node gives a pod up, as one short of memory does.
fn fail_pod(random: &mut Random, writer: &Writer, state: &State) -> Option<Request> {
    let pod = pick(random, state, "pods", "")?;
    let patch =
        json!({"metadata": {"uid": &*pod.meta().uid}, "status": {"phase": "Failed", "reason": "Evicted"}});
    let is_bound = pod.field("spec.nodeName").is_some_and(|node| !node.is_empty());
    is_bound.then(|| writer.merge(&pod.key, "status", &patch))
}

fn cordon(random: &mut Random, writer: &Writer, state: &State) -> Option<Request> {
    let node = pick(random, state, "nodes", "")?;
    let wish = if random.chance(400) { json!(true) } else { Value::Null };
    Some(writer.merge(&node.key, "", &json!({"spec": {"unschedulable": wish}})))
}

/// Sets or removes the taint, without a time, as `kubectl taint` does.
fn taint(random: &mut Random, writer: &Writer, state: &State) -> Option<Request> {
    let node = pick(random, state, "nodes", "")?;
    let taints = untainted(writer, node).unwrap_or_else(|| {
        let mut taints = taints(writer, node);
        taints.push(json!({"key": TAINT, "effect": "NoExecute"}));
        taints
    });
    let patch =
        json!({"metadata": {"resourceVersion": node.revision.to_string()}, "spec": {"taints": taints}});
    Some(writer.merge(&node.key, "", &patch))
}

fn taints(writer: &Writer, node: &Stored) -> Vec<Value> {
    writer.value(node)["spec"]["taints"].as_array().cloned().unwrap_or_default()
}

/// The node's other taints, if it has this one.
fn untainted(writer: &Writer, node: &Stored) -> Option<Vec<Value>> {
    let (drain, others): (Vec<_>, Vec<_>) =
        taints(writer, node).into_iter().partition(|taint| taint["key"] == TAINT);
    (!drain.is_empty()).then_some(others)
}
