//! Node lifecycle: a node whose lease ran out is not ready, and its taints say so.

use std::sync::Arc;

use berth_api::Timestamp;
use berth_api::views::{Condition, Node, Taint};
use berth_json::{Value, json};
use berth_state::{Key, State, Stored};

use crate::controller::{Controller, Hears, Look, News, Wake};
use crate::events::{EventKind, EventNote};
use crate::outcome::{Outcome, Step};
use crate::requests::Writer;

/// The namespace of the nodes' leases.
pub const LEASE_NAMESPACE: &str = "kube-node-lease";
const LEASES: &str = "leases.coordination.k8s.io";

/// How long after its last renewal a node counts as alive: kube-controller-manager's node-monitor-grace-period.
const GRACE_MS: i64 = 40_000;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const REPORTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// Marks nodes whose lease ran out.
pub(crate) struct NodeLifecycle;

impl Controller for NodeLifecycle {
    fn name(&self) -> &'static str {
        "node-controller"
    }

    fn hears_of(&self) -> Hears {
        Hears::Of(&["nodes", LEASES])
    }

    fn wake(&mut self, news: &News<'_>, wake: &mut Wake<'_>) {
        let key = news.key();
        if news.resource() == "nodes" {
            wake.up(key);
        } else if *key.namespace == *LEASE_NAMESPACE {
            wake.up(&Key::new("nodes", "", key.name.clone()));
        }
    }

    fn reconcile(&mut self, look: &Look<'_>, stored: &Arc<Stored>) -> Outcome {
        reconcile(look.writer, look.state, stored, look.now)
    }
}

fn reconcile(writer: &Writer, state: &State, stored: &Arc<Stored>, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    let Some(node) = stored.view::<Node>() else { return outcome };
    let expires = last_sign_of_life(writer, state, stored).plus_millis(GRACE_MS);
    let mut ready = node.conditions.iter().find(|c| &*c.kind == "Ready").map_or("Unknown", |c| &c.status);
    if expires > now {
        outcome.look_again(expires);
    } else {
        mark_unknown(writer, stored, node, now, &mut outcome);
        ready = "Unknown";
    }
    write_taints(writer, stored, node, ready, now, &mut outcome);
    outcome
}

/// The lease's renewal, or the node's creation before its first one.
fn last_sign_of_life(writer: &Writer, state: &State, node: &Stored) -> Timestamp {
    let created = node.meta().creation_timestamp.unwrap_or_default();
    let lease = state.get(&Key::new(LEASES, LEASE_NAMESPACE, node.key.name.clone()));
    let renewed = lease.and_then(|lease| {
        writer.value(lease).pointer("/spec/renewTime").and_then(Value::as_str).and_then(Timestamp::parse)
    });
    renewed.unwrap_or(created).max(created)
}

fn mark_unknown(writer: &Writer, stored: &Stored, node: &Node, now: Timestamp, outcome: &mut Outcome) {
    let unknown = |kind: &str| node.conditions.iter().any(|c| &*c.kind == kind && &*c.status == "Unknown");
    if REPORTED.iter().all(|kind| unknown(kind)) {
        return;
    }
    let mut conditions: Vec<Condition> = node.conditions.clone();
    conditions.retain(|c| !REPORTED.contains(&&*c.kind) || &*c.status == "Unknown");
    for kind in REPORTED.into_iter().filter(|kind| !unknown(kind)) {
        conditions.push(Condition {
            kind: kind.into(),
            status: "Unknown".into(),
            reason: "NodeStatusUnknown".into(),
            message: "Kubelet stopped posting node status.".into(),
            last_transition_time: Some(now.rfc3339().into()),
            last_update_time: None,
        });
    }
    let mut object = writer.value(stored);
    let heartbeats: Vec<Value> = conditions.iter().map(|c| with_heartbeat(&object, c, now)).collect();
    object["status"]["conditions"] = heartbeats.into();
    let text = format!("Node {} status is now: NodeNotReady", stored.key.name);
    let note = EventNote::new(stored, EventKind::Normal, "NodeNotReady", text);
    outcome.push(Step::new(writer.update(&stored.key, "status", object)).telling(note));
}

fn with_heartbeat(node: &Value, condition: &Condition, now: Timestamp) -> Value {
    let before = node["status"]["conditions"].as_array().into_iter().flatten();
    let heartbeat = before
        .filter(|c| c["type"] == *condition.kind)
        .find_map(|c| c["lastHeartbeatTime"].as_str().map(str::to_owned));
    let mut value = condition.to_value();
    value["lastHeartbeatTime"] = heartbeat.unwrap_or_else(|| now.rfc3339()).into();
    value
}

fn write_taints(
    writer: &Writer,
    stored: &Stored,
    node: &Node,
    ready: &str,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let mut wanted: Vec<(&str, &str)> = match ready {
        "True" => vec![],
        "False" => vec![(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")],
        _ => vec![(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")],
    };
    if node.unschedulable {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let is = |taint: &Taint, key: &str, effect: &str| &*taint.key == key && &*taint.effect == effect;
    let ours = |taint: &Taint| [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&&*taint.key);
    let mut taints = node.taints.clone();
    taints.retain(|taint| !ours(taint) || wanted.iter().any(|(key, effect)| is(taint, key, effect)));
    for (key, effect) in wanted {
        if !taints.iter().any(|taint| is(taint, key, effect)) {
            let time_added = Some(now.rfc3339().into());
            taints.push(Taint { key: key.into(), effect: effect.into(), time_added, ..Taint::default() });
        }
    }
    if taints != node.taints {
        let revision = stored.revision.to_string();
        let taints: Vec<Value> = taints.iter().map(Taint::to_value).collect();
        let patch = json!({"metadata": {"resourceVersion": revision}, "spec": {"taints": taints}});
        outcome.push(Step::new(writer.merge(&stored.key, "", &patch)));
    }
}
