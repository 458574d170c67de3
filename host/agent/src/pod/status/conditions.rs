//! The conditions a node keeps on a pod.

use berth_api::time::Timestamp;
use serde_json::{Value, json};

use super::Fields;
use crate::manifest::Pod;
use crate::pod::observed::{Observed, Part};

/// Whether something holds, and else why not.
struct Finding {
    holds: bool,
    reason: &'static str,
    message: String,
}

impl Finding {
    fn yes() -> Finding {
        Finding { holds: true, reason: "", message: String::new() }
    }

    fn no(reason: &'static str, message: impl Into<String>) -> Finding {
        Finding { holds: false, reason, message: message.into() }
    }
}

pub(super) fn conditions(
    pod: &Pod,
    observed: &Observed,
    phase: &str,
    before: &Fields,
    now: Timestamp,
) -> Value {
    let containers_ready = containers_ready(pod, observed, phase);
    let ready = ready(pod, &containers_ready);
    let sandbox = if observed.sandbox == Part::Ready { Finding::yes() } else { Finding::no("", "") };
    let findings = [
        ("PodReadyToStartContainers", sandbox),
        ("Initialized", initialized(pod, observed, phase)),
        ("Ready", ready),
        ("ContainersReady", containers_ready),
    ];
    findings.into_iter().map(|(kind, finding)| condition(pod, kind, finding, before, now)).collect()
}

fn condition(pod: &Pod, kind: &str, finding: Finding, before: &Fields, now: Timestamp) -> Value {
    let status = if finding.holds { "True" } else { "False" };
    let since = last_transition(pod, kind, status, before).unwrap_or_else(|| now.rfc3339());
    let mut condition =
        json!({ "type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": since });
    if !finding.reason.is_empty() {
        condition["reason"] = json!(finding.reason);
    }
    if !finding.message.is_empty() {
        condition["message"] = json!(finding.message);
    }
    condition
}

/// Since when a condition has had this status, as reported before by this run or an earlier one.
fn last_transition(pod: &Pod, kind: &str, status: &str, before: &Fields) -> Option<String> {
    let reported = before.get("conditions").and_then(Value::as_array);
    if let Some(condition) = reported.and_then(|list| list.iter().find(|condition| condition["type"] == kind))
    {
        let same = condition["status"] == status;
        return same.then(|| condition["lastTransitionTime"].as_str().map(str::to_owned)).flatten();
    }
    let known =
        pod.status.conditions.iter().find(|condition| condition.kind == kind && condition.status == status);
    known.and_then(|condition| condition.last_transition_time.clone())
}

fn initialized(pod: &Pod, observed: &Observed, phase: &str) -> Finding {
    if phase == "Succeeded" {
        return Finding { reason: "PodCompleted", ..Finding::yes() };
    }
    if observed.initialized || pod.spec.init_containers.is_empty() {
        return Finding::yes();
    }
    let incomplete = pod.spec.init_containers.iter().filter(|container| {
        let record = observed.record(&container.name);
        if container.is_sidecar() { !record.is_started() } else { !record.succeeded() }
    });
    let names = names(incomplete.map(|container| container.name.as_str()));
    Finding::no("ContainersNotInitialized", format!("containers with incomplete status: [{names}]"))
}

fn containers_ready(pod: &Pod, observed: &Observed, phase: &str) -> Finding {
    match phase {
        "Succeeded" => return Finding::no("PodCompleted", ""),
        "Failed" => return Finding::no("PodFailed", ""),
        _ => {}
    }
    let counted = pod.sidecars().chain(&pod.spec.containers);
    let unready = counted.filter(|container| !observed.record(&container.name).is_ready());
    let names = names(unready.map(|container| container.name.as_str()));
    if names.is_empty() {
        return Finding::yes();
    }
    Finding::no("ContainersNotReady", format!("containers with unready status: [{names}]"))
}

fn ready(pod: &Pod, containers_ready: &Finding) -> Finding {
    if !containers_ready.holds {
        return Finding::no(containers_ready.reason, containers_ready.message.clone());
    }
    let holds = |gate: &str| {
        let condition = pod.status.conditions.iter().find(|condition| condition.kind == gate);
        condition.is_some_and(|condition| condition.status == "True")
    };
    let closed: Vec<_> =
        pod.spec.readiness_gates.iter().filter(|gate| !holds(&gate.condition_type)).collect();
    match closed.as_slice() {
        [] => Finding::yes(),
        [gate, ..] => {
            let kind = &gate.condition_type;
            let known = pod.status.conditions.iter().any(|condition| condition.kind == *kind);
            let message = match known {
                true => format!("the status of pod readiness gate \"{kind}\" is not \"True\", but False"),
                false => format!("corresponding condition of pod readiness gate \"{kind}\" does not exist."),
            };
            Finding::no("ReadinessGatesNotReady", message)
        }
    }
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(" ")
}
