//! What the node reports of a pod. Pure: a function of the pod, what is known of it, and the time.

mod conditions;
mod container;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use berth_api::time::Timestamp;
use serde_json::{Map, Value, json};

use crate::backoff::Pauses;
use crate::manifest::{Container, Pod, RestartPolicy};
use crate::pod::observed::{Observed, Part, Phase, Record};

pub(crate) use container::{backs_off_at, container_id};

/// The fields of a status by name, as the node would like the API to have them.
pub(crate) type Fields = Map<String, Value>;

/// The fields of a pod's status that are the node's; the others are left alone.
const OWN_FIELDS: [&str; 12] = [
    "conditions",
    "containerStatuses",
    "hostIP",
    "hostIPs",
    "initContainerStatuses",
    "message",
    "observedGeneration",
    "phase",
    "podIP",
    "podIPs",
    "reason",
    "startTime",
];

/// The node's part of a status.
pub(crate) fn own(status: &Fields) -> Fields {
    let own = OWN_FIELDS.iter().filter_map(|name| Some(((*name).to_owned(), status.get(*name)?.clone())));
    own.collect()
}

/// What the status says beyond the pod's own state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// The node's address.
    pub(crate) host_ip: IpAddr,
    /// Pauses between restarts.
    pub(crate) crash: Pauses,
}

/// The status of a pod at `now`. `before` is the one reported last; its times of transition are kept.
pub(crate) fn status(
    pod: &Pod,
    observed: &Observed,
    facts: Facts,
    before: &Fields,
    now: Timestamp,
) -> Fields {
    let phase = phase(pod, observed);
    let mut fields = Fields::new();
    let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    put("phase", json!(phase));
    if let Some(failure) = &observed.failure {
        let prefix = if failure.reason.is_refusal() { "Pod was rejected: " } else { "" };
        put("reason", json!(failure.reason.word()));
        put("message", json!(format!("{prefix}{}", failure.message)));
    }
    put("hostIP", json!(facts.host_ip));
    put("hostIPs", json!([{ "ip": facts.host_ip }]));
    if let Some(ip) = address(pod, observed, facts) {
        put("podIP", json!(ip));
        put("podIPs", json!([{ "ip": ip }]));
    }
    if let Some(started_at) = observed.started_at {
        put("startTime", json!(started_at.rfc3339()));
    }
    if let Some(generation) = pod.metadata.generation {
        put("observedGeneration", json!(generation));
    }
    let list = |containers: &[Container]| -> Value {
        containers.iter().map(|spec| container::status(pod, spec, observed, facts.crash, now)).collect()
    };
    // Of a pod that is refused there are none, and nobody is to wait for them.
    if !observed.failure.as_ref().is_some_and(|failure| failure.reason.is_refusal()) {
        if !pod.spec.init_containers.is_empty() {
            put("initContainerStatuses", list(&pod.spec.init_containers));
        }
        put("containerStatuses", list(&pod.spec.containers));
    }
    put("conditions", conditions::conditions(pod, observed, phase, before, now));
    fields
}

fn address(pod: &Pod, observed: &Observed, facts: Facts) -> Option<IpAddr> {
    match observed.ip {
        Some(ip) => Some(ip.into()),
        None if pod.spec.host_network && observed.sandbox != Part::Absent => Some(facts.host_ip),
        None => None,
    }
}

/// The strategic merge patch that brings a status from `before` to `after`; `None` when they are the same.
///
/// Only what changed is sent, and of the conditions only the node's own: others may add theirs at the same time.
pub(crate) fn patch(pod: &Pod, before: &Fields, after: &Fields) -> Option<Value> {
    let mut changes = Map::new();
    for (name, value) in after.iter().filter(|(name, value)| before.get(*name) != Some(*value)) {
        let change = match name.as_str() {
            "conditions" => changed_conditions(before.get("conditions"), value),
            // These lists are merged by address; the former address is none any more.
            "podIPs" | "hostIPs" => replacing(value),
            _ => value.clone(),
        };
        changes.insert(name.clone(), change);
    }
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        changes.insert(name.clone(), Value::Null);
    }
    let patch = json!({ "metadata": { "uid": pod.metadata.uid }, "status": changes });
    (!changes.is_empty()).then_some(patch)
}

fn changed_conditions(before: Option<&Value>, after: &Value) -> Value {
    let known = before.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let conditions = after.as_array().map_or(&[][..], Vec::as_slice);
    conditions
        .iter()
        .filter(|condition| !known.contains(condition))
        .map(|condition| {
            let mut condition = condition.clone();
            // A reason that is over must go.
            for field in ["reason", "message"] {
                if condition.get(field).is_none() {
                    condition[field] = Value::Null;
                }
            }
            condition
        })
        .collect()
}

fn replacing(list: &Value) -> Value {
    let items = list.as_array().cloned().unwrap_or_default();
    std::iter::once(json!({ "$patch": "replace" })).chain(items).collect()
}

/// The pod's phase, by the kubelet's rules.
pub(crate) fn phase(pod: &Pod, observed: &Observed) -> &'static str {
    if observed.failure.is_some() {
        return "Failed";
    }
    let init_failed = !observed.initialized
        && pod.spec.init_containers.iter().any(|container| ended_for_good_badly(pod, container, observed));
    if init_failed {
        return "Failed";
    }
    if !observed.initialized && !pod.spec.init_containers.is_empty() && !has_run(pod, observed) {
        return "Pending";
    }
    let records = || pod.spec.containers.iter().map(|container| observed.record(&container.name));
    let ended = |record: &Record| record.exited().is_some() || (!record.is_active() && record.last.is_some());
    if records().any(|record| !ended(record) && record.running().is_none() && record.last.is_none()) {
        return "Pending";
    }
    if !records().all(ended) {
        return "Running";
    }
    let is_ending = pod.is_deleted() || observed.vanished.is_some();
    let succeeded = records().all(Record::succeeded);
    match pod.spec.restart_policy {
        RestartPolicy::Always if !is_ending => "Running",
        RestartPolicy::OnFailure if !is_ending && !succeeded => "Running",
        _ if succeeded => "Succeeded",
        _ => "Failed",
    }
}

/// Whether a container of the pod proper has run, if only in a sandbox that is lost.
fn has_run(pod: &Pod, observed: &Observed) -> bool {
    pod.spec.containers.iter().map(|container| observed.record(&container.name)).any(|record| {
        record.last.is_some()
            || !matches!(record.phase, Phase::Waiting | Phase::Blocked { .. } | Phase::Starting)
    })
}

fn ended_for_good_badly(pod: &Pod, container: &Container, observed: &Observed) -> bool {
    let policy = pod.restart_policy_of(container);
    let exited = observed.record(&container.name).exited();
    exited.is_some_and(|end| end.exit_code != 0 && !end.is_restarted(policy))
}
