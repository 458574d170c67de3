//! What to do next for a pod. Pure: the shell ([`crate::pod::worker`]) carries out what this decides, and calls it again
//! whenever something has happened or the time it named has come.

pub(crate) mod end;
#[cfg(test)]
mod tests;

use berth_api::time::Timestamp;

use crate::backoff::Pauses;
use crate::clock::{Moment, Now};
use crate::manifest::{Container, Pod};
use crate::pod::observed::{ImageState, Observed, Part, Phase, PodFailure, Record, Refusal, Stop};

/// What a pod's worker is to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Op {
    /// Attach the network and start the shim.
    MakeSandbox,
    /// Fill the volumes and write the files that every container gets.
    MakeVolumes,
    /// Look for the image, and pull it if need be.
    ResolveImage { container: String },
    /// Start the next instance.
    Start { container: String },
    /// Tell a container to end: its hook first, then its signal. `why` makes an event.
    Stop { container: String, stop: Stop, why: Option<String> },
    /// The stop signal is due.
    Signal { container: String },
    /// Its time is over.
    Kill { container: String },
    /// The pod has failed as a whole.
    Fail(PodFailure),
    /// Detach the network and end the shim.
    RemoveSandbox,
    /// Remove the volumes of a pod that has ended: what it wrote must not fill the disk until somebody deletes it.
    RemoveVolumes,
    /// Remove volumes, directories and logs.
    RemoveRemains,
    /// Tell the API that the pod is gone from here.
    DeleteObject,
}

/// What to do now, and when to ask again even if nothing happens.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) ops: Vec<Op>,
    pub(crate) wake_at: Option<Timestamp>,
}

impl Plan {
    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// True when the time has come; otherwise it is asked for.
    fn due(&mut self, at: Timestamp, now: Timestamp) -> bool {
        if at > now {
            self.wake(at);
        }
        at <= now
    }

    /// The same by the other clock.
    fn is_past(&mut self, at: Moment, now: Now) -> bool {
        let left_ms = at.after(now.steady).as_micros().div_ceil(1000);
        if at > now.steady {
            self.wake(now.wall.plus_millis(i64::try_from(left_ms).unwrap_or(i64::MAX)));
        }
        at <= now.steady
    }
}

/// Decides what to do for a pod at `now`. `crash` are the pauses between restarts of its containers.
pub(crate) fn converge(pod: &Pod, observed: &Observed, crash: Pauses, now: Now) -> Plan {
    let mut plan = Plan::default();
    match end::reason(pod, observed, now.steady) {
        Some(end) => end::end(&mut plan, pod, observed, end, now),
        None => run(&mut plan, pod, observed, crash, now),
    }
    plan
}

/// Whether nothing of the pod is started any more.
pub(crate) fn ends(pod: &Pod, observed: &Observed, now: Now) -> bool {
    end::reason(pod, observed, now.steady).is_some()
}

fn run(plan: &mut Plan, pod: &Pod, observed: &Observed, crash: Pauses, now: Now) {
    // What runs already is not ended because the node has other rules by now.
    if observed.sandbox == Part::Absent
        && let Some(Refusal { reason, message }) = &observed.refusal
    {
        let failure = PodFailure { reason: *reason, message: message.clone(), deadline: now.steady };
        plan.ops.push(Op::Fail(failure));
        return;
    }
    if let Some(deadline) = end::active_deadline(pod, observed)
        && plan.due(deadline, now.wall)
    {
        plan.ops.push(Op::Fail(end::deadline_exceeded(pod, now.steady)));
        return;
    }
    let sandbox = part(plan, &observed.sandbox, Op::MakeSandbox, Op::RemoveSandbox, now.wall);
    let volumes = part(plan, &observed.volumes, Op::MakeVolumes, Op::MakeVolumes, now.wall);
    for (container, at) in due_containers(pod, observed, crash, now.wall) {
        if plan.due(at, now.wall) {
            start(plan, observed.record(&container.name), &container.name, sandbox && volumes, now.wall);
        }
    }
    for container in pod.containers() {
        end::stop_unhealthy(plan, pod, container, observed.record(&container.name), now);
    }
}

/// Whether a part is there; otherwise makes sure that it will be.
fn part(plan: &mut Plan, part: &Part, make: Op, remove: Op, now: Timestamp) -> bool {
    match part {
        Part::Ready => return true,
        Part::Making | Part::Removing => {}
        Part::Absent => plan.ops.push(make),
        Part::Failed { retry_at, .. } => {
            if plan.due(*retry_at, now) {
                plan.ops.push(make);
            }
        }
        Part::Broken { retry_at } => {
            if plan.due(*retry_at, now) {
                plan.ops.push(remove);
            }
        }
    }
    false
}

fn start(plan: &mut Plan, record: &Record, name: &str, parts_ready: bool, now: Timestamp) {
    let container = name.to_owned();
    match &record.image {
        ImageState::Unknown => plan.ops.push(Op::ResolveImage { container }),
        ImageState::Resolving { .. } => {}
        ImageState::Failed { retry_at, .. } => {
            if plan.due(*retry_at, now) {
                plan.ops.push(Op::ResolveImage { container });
            }
        }
        ImageState::Present if parts_ready => plan.ops.push(Op::Start { container }),
        ImageState::Present => {}
    }
}

/// The containers that are to be started, and when: init containers one after the other, a sidecar before whatever
/// follows it, the others all together.
fn due_containers<'a>(
    pod: &'a Pod,
    observed: &Observed,
    crash: Pauses,
    now: Timestamp,
) -> Vec<(&'a Container, Timestamp)> {
    let mut due = Vec::new();
    let mut consider = |container: &'a Container| {
        let record = observed.record(&container.name);
        if let Some(at) = restart_at(pod, container, record, crash, now) {
            due.push((container, at));
        }
    };
    for container in &pod.spec.init_containers {
        let record = observed.record(&container.name);
        if container.is_sidecar() {
            consider(container);
            if !observed.initialized && !record.is_started() {
                return due;
            }
        } else if !observed.initialized && !record.succeeded() {
            consider(container);
            return due;
        }
    }
    pod.spec.containers.iter().for_each(consider);
    due
}

/// When a container that does not run is to be started; `None` when it runs, or never again.
fn restart_at(
    pod: &Pod,
    container: &Container,
    record: &Record,
    crash: Pauses,
    now: Timestamp,
) -> Option<Timestamp> {
    match &record.phase {
        Phase::Starting | Phase::Running(_) => None,
        Phase::Waiting => Some(now),
        Phase::Blocked { retry_at, .. } => Some(*retry_at),
        Phase::Exited(termination) => {
            let again = termination.is_restarted(pod.restart_policy_of(container));
            again.then(|| record.backoff.retry_at(termination.finished_at, crash))
        }
    }
}

/// Whether a container that has ended is started again, but not yet.
pub(crate) fn backs_off(
    pod: &Pod,
    observed: &Observed,
    container: &str,
    crash: Pauses,
    now: Timestamp,
) -> bool {
    let record = observed.record(container);
    let ends = end::is_ending(pod, observed);
    let at = pod.container(container).and_then(|spec| restart_at(pod, spec, record, crash, now));
    !ends && record.exited().is_some() && at.is_some_and(|at| at > now)
}

/// Whether the init containers are all done, sidecars started: the others may begin.
pub(crate) fn has_initialized(pod: &Pod, observed: &Observed) -> bool {
    pod.spec.init_containers.iter().all(|container| {
        let record = observed.record(&container.name);
        if container.is_sidecar() { record.is_started() } else { record.succeeded() }
    })
}
