//! Ending a container, and ending a pod.

use berth_api::time::Timestamp;
use berth_image::Reference;

use super::{Op, Plan};
use crate::clock::{Moment, Now, plus_seconds};
use crate::manifest::{Container, Pod};
use crate::pod::observed::{FailureReason, Observed, Part, PodFailure, Record, Remains, Stop, StopStage};

/// A pod's containers are to end.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// By then.
    deadline: Moment,
    /// Whether nothing of the pod is to stay on the node.
    cleared: bool,
}

/// Why the pod is to end, if it is.
pub(super) fn reason(pod: &Pod, observed: &Observed, now: Moment) -> Option<End> {
    let by_itself = || now.plus_seconds(pod.grace_seconds());
    if let Some(at) = observed.vanished {
        return Some(End { deadline: at, cleared: true });
    }
    if let Some(deletion) = &observed.deletion {
        return Some(End { deadline: deletion.deadline, cleared: true });
    }
    if let Some(failure) = &observed.failure {
        return Some(End { deadline: failure.deadline, cleared: false });
    }
    observed.is_finished(pod).then(|| End { deadline: by_itself(), cleared: false })
}

pub(super) fn is_ending(pod: &Pod, observed: &Observed) -> bool {
    reason(pod, observed, Moment::default()).is_some()
}

pub(super) fn end(plan: &mut Plan, pod: &Pod, observed: &Observed, end: End, now: Now) {
    for container in stoppable(pod, observed) {
        stop(plan, container, observed.record(&container.name), end.deadline, now);
    }
    if observed.is_active() {
        return;
    }
    match &observed.sandbox {
        Part::Ready => plan.ops.push(Op::RemoveSandbox),
        Part::Broken { retry_at } => {
            if plan.due(*retry_at, now.wall) {
                plan.ops.push(Op::RemoveSandbox);
            }
        }
        Part::Making | Part::Removing => {}
        Part::Absent | Part::Failed { .. }
            if end.cleared && !matches!(observed.volumes, Part::Making | Part::Removing) =>
        {
            clear(plan, observed, now.wall);
        }
        Part::Absent | Part::Failed { .. } if end.cleared => {}
        Part::Absent | Part::Failed { .. } => remove_volumes(plan, &observed.volumes, now.wall),
    }
}

fn remove_volumes(plan: &mut Plan, volumes: &Part, now: Timestamp) {
    match volumes {
        Part::Ready | Part::Failed { .. } => plan.ops.push(Op::RemoveVolumes),
        Part::Broken { retry_at } => {
            if plan.due(*retry_at, now) {
                plan.ops.push(Op::RemoveVolumes);
            }
        }
        Part::Absent | Part::Making | Part::Removing => {}
    }
}

/// The containers whose turn it is to end: sidecars outlive the others, and each those that came after it.
fn stoppable<'a>(pod: &'a Pod, observed: &Observed) -> Vec<&'a Container> {
    let is_active = |container: &&Container| observed.record(&container.name).is_active();
    let first: Vec<_> =
        pod.containers().filter(|container| !container.is_sidecar()).filter(is_active).collect();
    if !first.is_empty() {
        return first;
    }
    pod.sidecars().rev().find(is_active).into_iter().collect()
}

fn stop(plan: &mut Plan, container: &Container, record: &Record, deadline: Moment, now: Now) {
    let Some(running) = record.running() else { return };
    match running.stop {
        Some(stop @ Stop { stage: StopStage::Overdue | StopStage::Killed, .. }) => {
            progress(plan, container, stop, now);
        }
        Some(stop) => {
            // The deadline may have come nearer since: deleted again with less grace.
            let kill_at = stop.kill_at.min(kill_at(deadline, stop.begun_at));
            progress(plan, container, Stop { kill_at, ..stop }, now);
        }
        None => {
            let why = Some(format!("Stopping container {}", container.name));
            plan.ops.push(begin(container, deadline, why, now.steady));
        }
    }
}

/// Kills a container that a probe or hook has condemned, or that runs another image than the pod says by now, and goes
/// on with one that is ending.
pub(super) fn stop_unhealthy(plan: &mut Plan, pod: &Pod, container: &Container, record: &Record, now: Now) {
    let Some(running) = record.running() else { return };
    match (running.stop, &running.unhealthy) {
        (Some(stop), _) => progress(plan, container, stop, now),
        (None, Some(unhealthy)) => {
            let grace = unhealthy.grace_seconds.unwrap_or(pod.grace_seconds());
            let deadline = now.steady.plus_seconds(grace);
            plan.ops.push(begin(container, deadline, Some(unhealthy.message.clone()), now.steady));
        }
        (None, None) if is_of_another_image(container, record) => {
            let deadline = now.steady.plus_seconds(pod.grace_seconds());
            let why = format!("Container {} definition changed, will be restarted", container.name);
            plan.ops.push(begin(container, deadline, Some(why), now.steady));
        }
        (None, None) => {}
    }
}

/// Whether the pod's image was changed since the container was made: the one field of a container that may change.
fn is_of_another_image(container: &Container, record: &Record) -> bool {
    let wanted = container.image.parse::<Reference>().map(|reference| reference.to_string());
    // After the loss of all records it is not known what the container was made from.
    !record.image_ref.is_empty() && wanted.is_ok_and(|wanted| wanted != record.image_ref)
}

fn begin(container: &Container, deadline: Moment, why: Option<String>, now: Moment) -> Op {
    let stage = if container.lifecycle.pre_stop.is_some() { StopStage::Hook } else { StopStage::Due };
    let stop = Stop { begun_at: now, kill_at: kill_at(deadline, now), stage };
    Op::Stop { container: container.name.clone(), stop, why }
}

/// When a container that is told to end by `deadline` must be killed: it always gets a moment.
fn kill_at(deadline: Moment, now: Moment) -> Moment {
    /// Time for a container to notice its signal however late the node learns of the deletion, in seconds.
    const GRACE_SECONDS_MIN: i64 = 1;
    deadline.max(now.plus_seconds(GRACE_SECONDS_MIN))
}

fn progress(plan: &mut Plan, container: &Container, stop: Stop, now: Now) {
    let container = container.name.clone();
    let is_over = plan.is_past(stop.kill_at, now);
    match stop.stage {
        StopStage::Due => plan.ops.push(Op::Signal { container }),
        StopStage::Hook if is_over => plan.ops.push(Op::Signal { container }),
        StopStage::Signalled | StopStage::Overdue | StopStage::Killed if is_over => {
            plan.ops.push(Op::Kill { container });
        }
        StopStage::Hook | StopStage::Signalled | StopStage::Overdue | StopStage::Killed => {}
    }
}

/// What becomes of a container's end when it is given its signal.
pub(crate) fn signalled(stop: Stop, now: Moment) -> Stop {
    /// What a container has left when its hook has taken all of its time, in seconds: the kubelet's figure.
    const OVERDUE_SECONDS: i64 = 2;
    if stop.kill_at > now {
        return Stop { stage: StopStage::Signalled, ..stop };
    }
    Stop { stage: StopStage::Overdue, kill_at: now.plus_seconds(OVERDUE_SECONDS), ..stop }
}

/// What becomes of it when it is killed.
pub(crate) fn killed(stop: Stop, now: Moment) -> Stop {
    /// When a container that is still there is killed again, in seconds: its shim may not have heard.
    const AGAIN_SECONDS: i64 = 10;
    Stop { stage: StopStage::Killed, kill_at: now.plus_seconds(AGAIN_SECONDS), ..stop }
}

fn clear(plan: &mut Plan, observed: &Observed, now: Timestamp) {
    match observed.remains {
        Remains::Present => plan.ops.push(Op::RemoveRemains),
        Remains::Stuck(retry_at) => {
            if plan.due(retry_at, now) {
                plan.ops.push(Op::RemoveRemains);
            }
        }
        Remains::Gone => plan.ops.push(Op::DeleteObject),
        Remains::Refused(retry_at) => {
            if plan.due(retry_at, now) {
                plan.ops.push(Op::DeleteObject);
            }
        }
        Remains::Removing | Remains::Deleting | Remains::Done => {}
    }
}

/// When the pod has been active for as long as it may be.
pub(super) fn active_deadline(pod: &Pod, observed: &Observed) -> Option<Timestamp> {
    let seconds = pod.spec.active_deadline_seconds?;
    Some(plus_seconds(observed.started_at?, seconds))
}

pub(super) fn deadline_exceeded(pod: &Pod, now: Moment) -> PodFailure {
    PodFailure {
        reason: FailureReason::DeadlineExceeded,
        message: "Pod was active on the node longer than the specified deadline".to_owned(),
        deadline: now.plus_seconds(pod.grace_seconds()),
    }
}
