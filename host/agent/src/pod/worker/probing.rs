//! Running a container's probes for as long as it runs.

use std::sync::Arc;

use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use super::{Message, Worker};
use crate::clock;
use crate::container::probes::{self, ProbeKind, Rhythm, Tally, Warning};
use crate::manifest::Container;
use crate::node::events::Severity;
use crate::pod::observed::Phase;

impl Worker {
    /// Probes of the containers that were running before this run of the agent.
    pub(super) fn probe_adopted(&mut self) {
        let pod = Arc::clone(&self.pod);
        for container in pod.containers() {
            let id = match &self.observed.record(&container.name).phase {
                Phase::Running(running) => running.id.clone(),
                _ => continue,
            };
            self.start_probes(container, &id);
        }
    }

    /// Starts the probes whose turn it is: the startup probe alone, after it the others.
    pub(super) fn start_probes(&mut self, container: &Container, container_id: &str) {
        self.stop_probes(container_id);
        let started = self.observed.record(&container.name).running().is_some_and(|running| running.started);
        let kinds: &[ProbeKind] =
            if started { &[ProbeKind::Readiness, ProbeKind::Liveness] } else { &[ProbeKind::Startup] };
        let tasks: Vec<AbortHandle> =
            kinds.iter().filter_map(|kind| self.probe(container, container_id, *kind)).collect();
        if !tasks.is_empty() {
            self.probes.insert(container_id.to_owned(), tasks);
        }
    }

    pub(super) fn stop_probes(&mut self, container_id: &str) {
        self.probes.remove(container_id).iter().flatten().for_each(AbortHandle::abort);
    }

    fn probe(&self, container: &Container, container_id: &str, kind: ProbeKind) -> Option<AbortHandle> {
        let probe = kind.of(container)?.clone();
        let handle = self.handle.clone()?;
        let rhythm = Rhythm::of(&probe);
        let started_at = self.observed.record(&container.name).running()?.started_at;
        let delay = rhythm.delay(started_at, clock::now());
        let (container, container_id, ip) = (container.clone(), container_id.to_owned(), self.pod_ip());
        let (sender, events, pod) = (self.sender.clone(), self.node.events.clone(), Arc::clone(&self.pod));
        let task = tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let mut ticks = tokio::time::interval(rhythm.period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let (mut tally, mut told) = (Tally::default(), None);
            loop {
                ticks.tick().await;
                let seen =
                    probes::check(&probe.handler, &container, &container_id, &handle, ip, rhythm.timeout)
                        .await;
                let told_of = match &seen {
                    Err(error) => Some(("Unhealthy", format!("{} probe failed: {error}", kind.word()))),
                    Ok(warning) => warning.as_ref().map(|Warning(warning)| {
                        ("ProbeWarning", format!("{} probe warning: {warning}", kind.word()))
                    }),
                };
                if let Some((reason, text)) = told_of {
                    events.container(&pod, &container.name, Severity::Warning, reason, text);
                }
                let verdict = tally.count(seen.is_ok(), &rhythm);
                let Some(success) = verdict.filter(|_| verdict != told) else { continue };
                told = verdict;
                let message = Message::Probed { container_id: container_id.clone(), kind, success };
                if sender.send(message).await.is_err() || (kind == ProbeKind::Startup && success) {
                    return;
                }
            }
        });
        Some(task.abort_handle())
    }
}
