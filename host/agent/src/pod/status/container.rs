//! The status of one container.

use berth_api::time::Timestamp;
use serde_json::{Value, json};

use crate::backoff::Pauses;
use crate::container::termination::Termination;
use crate::manifest::{Container, Pod};
use crate::pod::observed::{ImageState, Observed, Phase, Record};

/// When a failed pull is no longer shown as such, but as a back-off: soon, and in any case before it is tried again.
pub(crate) fn backs_off_at(failed_at: Timestamp, retry_at: Timestamp) -> Timestamp {
    const SHOWN_MS_MAX: i64 = 2_000;
    failed_at.plus_millis(SHOWN_MS_MAX.min(retry_at.millis_since(failed_at) / 2))
}

pub(super) fn status(
    pod: &Pod,
    spec: &Container,
    observed: &Observed,
    crash: Pauses,
    now: Timestamp,
) -> Value {
    let record = observed.record(&spec.name);
    let (state, last) = states(pod, spec, observed, record, crash, now);
    let is_plain_init = pod.is_init(&spec.name) && !spec.is_sidecar();
    let ready = if is_plain_init { record.succeeded() } else { record.is_ready() };
    let image = if record.image_ref.is_empty() { &spec.image } else { &record.image_ref };
    let mut status = json!({
        "name": spec.name,
        "state": state,
        "lastState": last.map_or_else(|| json!({}), |end| json!({ "terminated": terminated(end) })),
        "ready": ready,
        "started": record.is_started(),
        "restartCount": record.attempt,
        "image": image,
        "imageID": record.image_id,
    });
    if let Some(id) = present_id(record) {
        status["containerID"] = json!(container_id(id));
    }
    status
}

/// The id as the API shows it.
pub(crate) fn container_id(id: &str) -> String {
    format!("berth://{id}")
}

fn present_id(record: &Record) -> Option<&str> {
    match &record.phase {
        Phase::Running(running) => Some(&running.id),
        Phase::Exited(end) => Some(&end.id),
        Phase::Waiting | Phase::Blocked { .. } | Phase::Starting => {
            record.last.as_ref().map(|end| end.id.as_str())
        }
    }
}

/// The present state, and how the instance before ended.
fn states<'a>(
    pod: &Pod,
    spec: &Container,
    observed: &'a Observed,
    record: &'a Record,
    crash: Pauses,
    now: Timestamp,
) -> (Value, Option<&'a Termination>) {
    let waiting = |reason: &str, message: &str| {
        let mut waiting = json!({ "reason": reason });
        if !message.is_empty() {
            waiting["message"] = json!(message);
        }
        json!({ "waiting": waiting })
    };
    let image_problem = |record: &Record| image_problem(spec, record, now);
    match &record.phase {
        Phase::Running(running) => {
            (json!({ "running": { "startedAt": running.started_at.rfc3339() } }), record.last.as_ref())
        }
        Phase::Exited(end) => {
            let again = end.is_restarted(pod.restart_policy_of(spec))
                && !pod.is_deleted()
                && observed.failure.is_none()
                && !observed.is_finished(pod);
            match image_problem(record) {
                Some((reason, message)) if again => return (waiting(reason, &message), Some(end)),
                _ => {}
            }
            let retry_at = record.backoff.retry_at(end.finished_at, crash);
            if again && retry_at > now {
                return (
                    waiting("CrashLoopBackOff", &crash_message(pod, spec, record, crash, end)),
                    Some(end),
                );
            }
            (json!({ "terminated": terminated(end) }), record.last.as_ref())
        }
        Phase::Blocked { reason, message, .. } => (waiting(reason, message), record.last.as_ref()),
        Phase::Waiting | Phase::Starting => {
            let state = match image_problem(record) {
                Some((reason, message)) => waiting(reason, &message),
                None if !observed.initialized && !pod.spec.init_containers.is_empty() => {
                    waiting("PodInitializing", "")
                }
                None => waiting("ContainerCreating", ""),
            };
            (state, record.last.as_ref())
        }
    }
}

fn crash_message(pod: &Pod, spec: &Container, record: &Record, crash: Pauses, end: &Termination) -> String {
    let pause = go_duration(record.backoff.delay_ms(end.finished_at, crash));
    format!("back-off {pause} restarting failed container={} pod={}", spec.name, pod.display())
}

fn image_problem(spec: &Container, record: &Record, now: Timestamp) -> Option<(&'static str, String)> {
    let backs_off = |message: &str| {
        let text = format!("Back-off pulling image \"{}\": ErrImagePull: {message}", spec.image);
        Some(("ImagePullBackOff", text))
    };
    match &record.image {
        ImageState::Failed { reason: "ErrImagePull", message, failed_at, retry_at }
            if now >= backs_off_at(*failed_at, *retry_at) =>
        {
            backs_off(message)
        }
        ImageState::Failed { reason, message, .. } => Some((*reason, message.clone())),
        ImageState::Resolving { failed: Some(message) } => backs_off(message),
        ImageState::Resolving { failed: None } | ImageState::Unknown | ImageState::Present => None,
    }
}

fn terminated(end: &Termination) -> Value {
    let mut terminated = json!({
        "exitCode": end.exit_code,
        "reason": end.reason,
        "startedAt": end.started_at.rfc3339(),
        "finishedAt": end.finished_at.rfc3339(),
        "containerID": container_id(&end.id),
    });
    if end.signal != 0 {
        terminated["signal"] = json!(end.signal);
    }
    if !end.message.is_empty() {
        terminated["message"] = json!(end.message);
    }
    terminated
}

/// As Go prints a duration: `10s`, `2m40s`.
fn go_duration(ms: u64) -> String {
    match (ms / 60_000, ms % 60_000) {
        (0, rest) if rest % 1000 == 0 => format!("{}s", rest / 1000),
        (0, rest) => format!("{rest}ms"),
        (minutes, rest) => format!("{minutes}m{}s", rest / 1000),
    }
}
