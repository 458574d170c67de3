//! Taking over what an earlier run left of a pod.

use std::sync::Arc;
use std::time::Duration;

use berth_api::time::Timestamp;
use berth_runtime::{ContainerPhase, ContainerState, PodHandle, PodState, ShimState, Started};
use tokio::sync::mpsc;

use super::Message;
use crate::clock;
use crate::container::spec::id;
use crate::container::termination;
use crate::manifest::{Container, Pod};
use crate::node::Node;
use crate::node::events::Severity;
use crate::pod::observed::{Observed, Part, Phase, Record, Running};

/// How often a container found in the middle of starting is looked at; only after a crash of berth at that moment.
const SETTLE_PERIOD: Duration = Duration::from_millis(20);

pub(super) struct Adopted {
    pub(super) observed: Observed,
    pub(super) handle: Option<PodHandle>,
    /// The pod had ended, and nothing is known of it here any more.
    pub(super) settled: bool,
}

pub(super) fn adopt(
    node: &Arc<Node>,
    pod: &Arc<Pod>,
    recovered: Option<(PodHandle, PodState)>,
    sender: &mpsc::Sender<Message>,
) -> Adopted {
    let now = clock::now();
    let saved = crate::pod::checkpoint::load(&node.layout.pod(pod.uid()), pod);
    let Some((handle, state)) = recovered else {
        let has_ended = matches!(pod.status.phase.as_str(), "Succeeded" | "Failed");
        let settled = has_ended && saved.is_none();
        let observed = match saved {
            Some((observed, active)) => without_sandbox(pod, observed, &active, now),
            None => from_report(pod),
        };
        return Adopted { observed, handle: None, settled };
    };
    let mut observed = saved.map_or_else(|| from_report(pod), |(observed, _)| observed);
    for container in &state.containers {
        take_over(node, pod, &mut observed, container);
    }
    let network = node.network.get(pod.uid());
    observed.ip = network.as_ref().map(|network| network.ip).or(observed.ip);
    let is_whole = state.shim == ShimState::Alive && (network.is_some() || pod.spec.host_network);
    if is_whole {
        observed.sandbox = Part::Ready;
        // A program may have taken a port while berth did not run: the pod runs on without it.
        if let Err(message) = super::sandbox::publish(node, pod) {
            node.events.pod(pod, Severity::Warning, "HostPortConflict", message);
        }
        watch_starting(&handle, &observed, pod, sender);
    } else {
        observed.lose_sandbox(pod, now, |running| termination::lost(&running.id, running.started_at, now));
    }
    Adopted { observed, handle: Some(handle), settled: false }
}

/// Everything but the checkpoint is lost, for example by a restart of the machine: what was running has ended.
fn without_sandbox(pod: &Pod, mut observed: Observed, active: &[String], now: Timestamp) -> Observed {
    for (name, record) in observed.containers.iter_mut().filter(|(name, _)| active.contains(name)) {
        record.end(termination::lost(&id(pod.uid(), name, record.attempt), now, now));
    }
    if !observed.is_finished(pod) {
        observed.lose_sandbox(pod, now, |running| termination::lost(&running.id, running.started_at, now));
    }
    observed
}

/// What the API says, when there is nothing better: a container that was reported has had that attempt.
fn from_report(pod: &Pod) -> Observed {
    // Since when the pod is this node's was said when it was new, and does not change.
    let started_at = pod.status.start_time.as_deref().and_then(Timestamp::parse);
    let mut observed = Observed::new(pod, started_at.unwrap_or_else(clock::now));
    for reported in pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses) {
        if let Some(record) = observed.containers.get_mut(&reported.name)
            && !reported.container_id.is_empty()
        {
            record.attempt = reported.restart_count + 1;
        }
    }
    observed
}

fn take_over(node: &Node, pod: &Pod, observed: &mut Observed, found: &ContainerState) {
    let (name, attempt) = (&found.spec.name, found.spec.attempt);
    let Some(container) = pod.container(name) else { return };
    let Some(record) = observed.containers.get_mut(name) else { return };
    let is_newer = attempt > record.attempt || record.exited().is_none();
    if attempt < record.attempt || !is_newer {
        return;
    }
    if attempt > record.attempt {
        record.next_attempt();
        record.attempt = attempt;
    }
    record.phase = match &found.phase {
        ContainerPhase::Starting => Phase::Starting,
        ContainerPhase::Running(started) => {
            Phase::Running(adopted(pod, container, found.spec.id.clone(), started))
        }
        ContainerPhase::Exited(status) => {
            let paths = node.paths(pod, name, attempt);
            Phase::Exited(termination::of(container, &found.spec.id, status, &paths))
        }
    };
}

/// A container that runs: started and ready as it was reported, so that nothing flaps.
fn adopted(pod: &Pod, container: &Container, id: String, started: &Started) -> Running {
    let statuses = pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
    let reported = statuses.into_iter().find(|status| status.name == container.name);
    Running {
        id,
        started_at: clock::stamp(started.started_at),
        hooked: true,
        started: container.startup_probe.is_none() || reported.is_some_and(|status| status.started),
        ready: container.readiness_probe.is_none() || reported.is_some_and(|status| status.ready),
        unhealthy: None,
        stop: None,
    }
}

/// Nobody waits any more for the answer to a start that was asked for by the run before.
fn watch_starting(handle: &PodHandle, observed: &Observed, pod: &Pod, sender: &mpsc::Sender<Message>) {
    let starting = |record: &Record| matches!(record.phase, Phase::Starting);
    for (name, record) in observed.containers.iter().filter(|(_, record)| starting(record)) {
        let (handle, sender, container) = (handle.clone(), sender.clone(), name.clone());
        let container_id = id(pod.uid(), name, record.attempt);
        tokio::spawn(async move {
            let phase = loop {
                let of = handle.clone();
                let state = crate::process::blocking(move || of.state()).await;
                let containers =
                    state.ok().and_then(Result::ok).map(|state| state.containers).unwrap_or_default();
                match containers
                    .into_iter()
                    .find(|state| state.spec.id == container_id)
                    .map(|state| state.phase)
                {
                    Some(ContainerPhase::Starting) => tokio::time::sleep(SETTLE_PERIOD).await,
                    settled => break settled,
                }
            };
            drop(sender.send(Message::Settled { container, phase }).await);
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_is_better_than_nothing() {
        let status = json!({
            "startTime": "2026-01-01T00:00:00Z",
            "containerStatuses": [{ "name": "ran", "restartCount": 2, "containerID": "berth://x" }, { "name": "new" }],
        });
        let spec = json!({ "containers": [{ "name": "ran" }, { "name": "new" }] });
        let pod = Pod::from_value(json!({ "spec": spec, "status": status })).unwrap();
        let observed = from_report(&pod);
        assert_eq!(
            observed.started_at,
            Timestamp::parse("2026-01-01T00:00:00Z"),
            "a deadline counts from it"
        );
        assert_eq!((observed.record("ran").attempt, observed.record("new").attempt), (3, 0));
    }
}
