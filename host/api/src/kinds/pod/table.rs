//! `kubectl get pods`.

use berth_json::{Value, json};

use crate::column::Column;
use crate::kinds::view::{at, int_at, list_at, since, str_at};
use crate::time::Timestamp;

/// The columns of a pod's row.
pub(super) fn columns() -> Vec<Column> {
    let text = |name, description, path: &'static str| {
        Column::new(name, "string", 1, description, |pod, _| or_none(str_at(pod, path)).into())
    };
    vec![
        Column::of_name(),
        Column::new("Ready", "string", 0, "How many of the pod's containers are ready.", |pod, _| {
            let summary = summarise(pod);
            format!("{}/{}", summary.ready, summary.total).into()
        }),
        Column::new("Status", "string", 0, "What the pod as a whole is doing.", |pod, _| {
            summarise(pod).reason.into()
        }),
        Column::new(
            "Restarts",
            "string",
            0,
            "How often its containers were restarted, and when last.",
            restarts,
        ),
        Column::of_age(),
        Column::new("IP", "string", 1, "The pod's address.", |pod, _| {
            or_none(list_at(pod, "status.podIPs").first().map_or("", |ip| str_at(ip, "ip"))).into()
        }),
        text("Node", "The node the pod is bound to.", "spec.nodeName"),
        text("Nominated Node", "The node that is being cleared for the pod.", "status.nominatedNodeName"),
        Column::new(
            "Readiness Gates",
            "string",
            1,
            "How many of the pod's readiness gates are open.",
            |pod, _| gates(pod).into(),
        ),
    ]
}

fn restarts(pod: &Value, now: Timestamp) -> Value {
    let summary = summarise(pod);
    match (summary.restarts, summary.last_restart) {
        (count, Some(last)) if count > 0 => format!("{count} ({} ago)", since(&last.rfc3339(), now)).into(),
        (count, _) => count.to_string().into(),
    }
}

/// Whether the pod has ended, and how.
pub(super) fn row_conditions(pod: &Value) -> Vec<Value> {
    let (reason, message) = match str_at(pod, "status.phase") {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return Vec::new(),
    };
    vec![json!({"type": "Completed", "status": "True", "reason": reason, "message": message})]
}

/// What a row says about all containers together.
#[derive(Default)]
struct Summary {
    reason: String,
    total: usize,
    ready: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

fn summarise(pod: &Value) -> Summary {
    let mut summary = Summary {
        reason: match str_at(pod, "status.reason") {
            "" => str_at(pod, "status.phase").to_owned(),
            reason => reason.to_owned(),
        },
        total: list_at(pod, "spec.containers").len(),
        ..Summary::default()
    };
    if has_condition(pod, |c| str_at(c, "type") == "PodScheduled" && str_at(c, "reason") == "SchedulingGated")
    {
        "SchedulingGated".clone_into(&mut summary.reason);
    }
    let (initialising, sidecars) = add_init_containers(pod, &mut summary);
    if !initialising || has_condition(pod, |c| is_true(c, "Initialized")) {
        summary.restarts = sidecars.restarts;
        summary.last_restart = sidecars.last_restart;
        add_containers(pod, &mut summary);
    }
    if at(pod, "metadata.deletionTimestamp").is_some() {
        let phase = str_at(pod, "status.phase");
        if str_at(pod, "status.reason") == "NodeLost" {
            "Unknown".clone_into(&mut summary.reason);
        } else if !matches!(phase, "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut summary.reason);
        }
    }
    summary
}

/// Adds the init containers. Says whether they are still at work, and the restarts of the sidecars among them.
fn add_init_containers(pod: &Value, summary: &mut Summary) -> (bool, Summary) {
    let containers = list_at(pod, "spec.initContainers");
    let is_sidecar = |status: &Value| {
        containers
            .iter()
            .any(|c| str_at(c, "name") == str_at(status, "name") && str_at(c, "restartPolicy") == "Always")
    };
    summary.total += containers.iter().filter(|c| str_at(c, "restartPolicy") == "Always").count();
    let mut sidecars = Summary::default();
    for (index, status) in list_at(pod, "status.initContainerStatuses").iter().enumerate() {
        summary.add_restarts(status);
        let sidecar = is_sidecar(status);
        if sidecar {
            sidecars.add_restarts(status);
        }
        let terminated = at(status, "state.terminated");
        if terminated.is_some_and(|state| int_at(state, "exitCode").unwrap_or_default() == 0) {
            continue;
        }
        if sidecar && status.get("started") == Some(&Value::Bool(true)) {
            summary.ready += usize::from(status.get("ready") == Some(&Value::Bool(true)));
            continue;
        }
        let waiting = str_at(status, "state.waiting.reason");
        summary.reason = match terminated {
            Some(state) => format!("Init:{}", ended(state)),
            None if !matches!(waiting, "" | "PodInitializing") => format!("Init:{waiting}"),
            None => format!("Init:{index}/{}", containers.len()),
        };
        return (true, sidecars);
    }
    (false, sidecars)
}

fn add_containers(pod: &Value, summary: &mut Summary) {
    let mut is_running = false;
    for status in list_at(pod, "status.containerStatuses").iter().rev() {
        summary.add_restarts(status);
        let waiting = str_at(status, "state.waiting.reason");
        if !waiting.is_empty() {
            waiting.clone_into(&mut summary.reason);
        } else if let Some(state) = at(status, "state.terminated") {
            summary.reason = ended(state);
        } else if status.get("ready") == Some(&Value::Bool(true)) && at(status, "state.running").is_some() {
            is_running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" && is_running {
        let reason = if has_condition(pod, |c| is_true(c, "Ready")) { "Running" } else { "NotReady" };
        reason.clone_into(&mut summary.reason);
    }
}

impl Summary {
    fn add_restarts(&mut self, status: &Value) {
        self.restarts += int_at(status, "restartCount").unwrap_or_default();
        let finished = Timestamp::parse(str_at(status, "lastState.terminated.finishedAt"));
        self.last_restart = self.last_restart.max(finished);
    }
}

/// How a container ended: its reason, or the signal or exit code.
fn ended(state: &Value) -> String {
    match (str_at(state, "reason"), int_at(state, "signal").unwrap_or_default()) {
        ("", 0) => format!("ExitCode:{}", int_at(state, "exitCode").unwrap_or_default()),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn gates(pod: &Value) -> String {
    let gates = list_at(pod, "spec.readinessGates");
    if gates.is_empty() {
        return or_none("").to_owned();
    }
    let open =
        gates.iter().filter(|g| has_condition(pod, |c| is_true(c, str_at(g, "conditionType")))).count();
    format!("{open}/{}", gates.len())
}

fn has_condition(pod: &Value, found: impl Fn(&Value) -> bool) -> bool {
    list_at(pod, "status.conditions").iter().any(found)
}

fn is_true(condition: &Value, kind: &str) -> bool {
    str_at(condition, "type") == kind && str_at(condition, "status") == "True"
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

#[cfg(test)]
mod tests {
    use berth_json::json;

    use super::summarise;

    #[test]
    fn status_says_what_matters_most() {
        let running = json!({ "name": "c", "ready": true, "state": { "running": {} } });
        let waiting = |reason: &str| json!({ "name": "c", "state": { "waiting": { "reason": reason } } });
        let ended = |code: i64, reason: &str| json!({ "name": "c", "state": { "terminated": { "exitCode": code, "reason": reason } } });
        let ready = json!([{ "type": "Ready", "status": "True" }]);
        for (status, want) in [
            (json!({ "phase": "Pending" }), "Pending 0/1"),
            (json!({ "phase": "Running", "containerStatuses": [running] }), "Running 1/1"),
            (json!({ "phase": "Failed", "reason": "Evicted" }), "Evicted 0/1"),
            (
                json!({ "phase": "Running", "containerStatuses": [waiting("CrashLoopBackOff")] }),
                "CrashLoopBackOff 0/1",
            ),
            (json!({ "phase": "Succeeded", "containerStatuses": [ended(0, "Completed")] }), "Completed 0/1"),
            (json!({ "phase": "Failed", "containerStatuses": [ended(3, "")] }), "ExitCode:3 0/1"),
            (
                json!({ "phase": "Running", "conditions": ready,
                        "containerStatuses": [ended(0, "Completed"), running] }),
                "Running 1/1",
            ),
            (
                json!({ "phase": "Pending", "initContainerStatuses": [ended(0, "Completed"), waiting("")] }),
                "Init:1/2 0/1",
            ),
            (
                json!({ "phase": "Pending", "initContainerStatuses": [waiting("ImagePullBackOff")] }),
                "Init:ImagePullBackOff 0/1",
            ),
            (json!({ "phase": "Failed", "initContainerStatuses": [ended(1, "Error")] }), "Init:Error 0/1"),
        ] {
            let init = json!([{ "name": "i" }, { "name": "j" }]);
            let pod = json!({ "spec": { "containers": [{ "name": "c" }], "initContainers": init }, "status": status });
            let summary = summarise(&pod);
            assert_eq!(format!("{} {}/{}", summary.reason, summary.ready, summary.total), want);
        }
    }

    #[test]
    fn a_deleted_pod_is_terminating_until_it_ended() {
        let pod = |phase: &str| json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" }, "status": { "phase": phase } });
        assert_eq!(summarise(&pod("Running")).reason, "Terminating");
        assert_eq!(summarise(&pod("Succeeded")).reason, "Succeeded");
    }
}
