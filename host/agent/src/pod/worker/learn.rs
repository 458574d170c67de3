//! Taking in what has happened.

use std::sync::Arc;

use berth_api::time::Timestamp;
use berth_client::ClientError;
use berth_runtime::{ContainerPhase, ExitStatus, Started};

use super::{Message, StartFailure, Worker};
use crate::backoff::{Backoff, Pauses};
use crate::clock;
use crate::container::probes::ProbeKind;
use crate::container::spec::{id, non_root_by_name};
use crate::container::termination;
use crate::container::volumes::Made;
use crate::node::events::Severity;
use crate::node::image_failure::ImageFailure;
use crate::node::images::Resolved;
use crate::pod::converge;
use crate::pod::observed::{ImageState, Part, Phase, Remains, Running, StopStage, Unhealthy};

/// The pause before a container that could not be configured is looked at again: as often as the kubelet looks.
fn config_retry(now: Timestamp) -> Timestamp {
    const CONFIG_RETRY_MS: i64 = 10_000;
    now.plus_millis(CONFIG_RETRY_MS)
}

impl Worker {
    /// When something of the node's own that has failed for this pod is tried again: a volume that is never found must not
    /// keep node and store busy for as long as its pod waits for it.
    fn node_retry(&mut self, now: Timestamp) -> Timestamp {
        self.trouble.step(now, Pauses::NODE);
        self.trouble.retry_at(now, Pauses::NODE)
    }

    pub(super) fn learn(&mut self, message: Message) {
        let now = clock::now();
        let after_us = self.begun.elapsed().as_micros();
        tracing::debug!(pod = self.pod.display(), after_us, "{}", message.word());
        match message {
            Message::SandboxMade(result) => self.sandbox_made(result, now),
            Message::SandboxRemoved(result) => self.sandbox_removed(result, now),
            Message::VolumesMade(result) => self.volumes_made(result, now),
            Message::VolumesRemoved(result) => {
                self.observed.volumes = match result {
                    Ok(()) => Part::Absent,
                    Err(error) => {
                        let pod = self.pod.display();
                        tracing::warn!(
                            pod,
                            error,
                            "the volumes of a pod that has ended could not be removed"
                        );
                        Part::Broken { retry_at: self.node_retry(now) }
                    }
                };
            }
            Message::ImageResolved { container, result } => self.image_resolved(&container, result, now),
            Message::Started { container, result } => self.started(&container, result, now),
            Message::Settled { container, phase } => self.settled(&container, phase, now),
            Message::Exited { container_id, status } => self.exited(&container_id, status, now),
            Message::ShimDied => self.shim_died(now),
            Message::PostStartDone { container_id, result } => self.post_start_done(&container_id, result),
            Message::PreStopDone { container_id } => self.pre_stop_done(&container_id),
            Message::Probed { container_id, kind, success } => self.probed(&container_id, kind, success),
            Message::Overused(message) => self.evict(message, now),
            Message::RemainsRemoved(result) => {
                self.observed.remains = match result {
                    Ok(()) if self.observed.vanished.is_some() => Remains::Done,
                    Ok(()) => Remains::Gone,
                    Err(error) => {
                        tracing::warn!(
                            pod = self.pod.display(),
                            error,
                            "what is left of a pod could not be removed"
                        );
                        Remains::Stuck(self.node_retry(now))
                    }
                };
            }
            Message::ObjectDeleted(result) => self.object_deleted(result, now),
            Message::Reported { fields, result } => self.reported(fields, result, now),
        }
    }

    fn sandbox_made(&mut self, result: super::sandbox::Made, now: Timestamp) {
        match result {
            Ok((handle, ip)) => {
                self.handle = Some(handle);
                self.observed.ip = ip;
                self.observed.sandbox = Part::Ready;
            }
            Err(message) => {
                let text = format!("Failed to create pod sandbox: {message}");
                self.node.events.pod(&self.pod, Severity::Warning, "FailedCreatePodSandBox", text);
                self.observed.sandbox = Part::Failed { message, retry_at: self.node_retry(now) };
            }
        }
    }

    fn sandbox_removed(&mut self, result: Result<(), String>, now: Timestamp) {
        match result {
            Ok(()) => {
                self.handle = None;
                self.observed.sandbox = Part::Absent;
            }
            Err(message) => {
                self.node.events.pod(
                    &self.pod,
                    Severity::Warning,
                    "FailedKillPod",
                    format!("error killing pod: {message}"),
                );
                self.observed.sandbox = Part::Broken { retry_at: self.node_retry(now) };
            }
        }
        self.save(now);
    }

    fn volumes_made(&mut self, result: Result<Made, String>, now: Timestamp) {
        let was_ready = self.observed.volumes == Part::Ready;
        self.refreshing = false;
        match result {
            Ok(made) => {
                self.directories = Arc::new(made.directories);
                self.refresh_at = made.refresh_at;
                self.observed.volumes = Part::Ready;
                self.trouble = Backoff::default();
            }
            Err(message) => {
                self.node.events.pod(&self.pod, Severity::Warning, "FailedMount", message.clone());
                if was_ready {
                    // Containers keep what they have; it is tried again.
                    self.refresh_at = Some(config_retry(now));
                } else {
                    self.observed.volumes = Part::Failed { message, retry_at: self.node_retry(now) };
                }
            }
        }
        if std::mem::take(&mut self.stale) {
            self.source_changed();
        }
    }

    fn image_resolved(&mut self, container: &str, result: Result<Resolved, ImageFailure>, now: Timestamp) {
        let Some(spec) = self.pod.container(container).cloned() else { return };
        let pauses = self.node.config.image_pauses;
        let events = self.node.events.clone();
        let Some(record) = self.observed.containers.get_mut(container) else { return };
        match result {
            Ok(resolved) => {
                let text = match resolved.pulled_ms {
                    None => format!("Container image \"{}\" already present on machine", spec.image),
                    Some(ms) => {
                        let (took, size) = (format!("{:.3}s", ms as f64 / 1000.0), resolved.image.size_bytes);
                        format!(
                            "Successfully pulled image \"{}\" in {took} ({took} including waiting). Image size: {size} bytes.",
                            spec.image
                        )
                    }
                };
                events.container(&self.pod, container, Severity::Normal, "Pulled", text);
                record.image = ImageState::Present;
                record.image_ref = resolved.reference;
                record.image_id = resolved.id;
                self.images.insert(container.to_owned(), resolved.image);
            }
            Err(failure) => {
                record.image_backoff.step(now, pauses);
                let retry_at = record.image_backoff.retry_at(now, pauses);
                let tell =
                    |severity, reason, text| events.container(&self.pod, container, severity, reason, text);
                match failure.reason {
                    "ErrImagePull" => {
                        let text = format!("Failed to pull image \"{}\": {}", spec.image, failure.message);
                        tell(Severity::Warning, "Failed", text);
                        tell(Severity::Warning, "Failed", "Error: ErrImagePull".to_owned());
                        let text = format!("Back-off pulling image \"{}\"", spec.image);
                        tell(Severity::Normal, "BackOff", text);
                        tell(Severity::Warning, "Failed", "Error: ImagePullBackOff".to_owned());
                    }
                    "InvalidImageName" => {
                        tell(Severity::Warning, "InspectFailed", failure.message.clone());
                        tell(Severity::Warning, "Failed", "Error: InvalidImageName".to_owned());
                    }
                    reason => {
                        tell(Severity::Warning, reason, failure.message.clone());
                        tell(Severity::Warning, "Failed", format!("Error: {reason}"));
                    }
                }
                let ImageFailure { reason, message } = failure;
                record.image = ImageState::Failed { reason, message, failed_at: now, retry_at };
            }
        }
    }

    fn started(&mut self, container: &str, result: Result<Started, StartFailure>, now: Timestamp) {
        match result {
            Ok(started) => self.runs(container, &started, now),
            Err(failure) => self.start_failed(container, failure, now),
        }
        self.save(now);
    }

    fn runs(&mut self, container: &str, started: &Started, now: Timestamp) {
        let Some(spec) = self.pod.container(container).cloned() else { return };
        let events = self.node.events.clone();
        events.container(
            &self.pod,
            container,
            Severity::Normal,
            "Created",
            format!("Created container: {container}"),
        );
        events.container(
            &self.pod,
            container,
            Severity::Normal,
            "Started",
            format!("Started container {container}"),
        );
        for warning in &started.warnings {
            events.container(&self.pod, container, Severity::Warning, "Clamped", warning.clone());
        }
        let image_user = self.images.get(container).map_or("", |image| image.config.user.as_str());
        if let Some(text) = non_root_by_name(&self.pod, &spec, image_user) {
            events.container(&self.pod, container, Severity::Warning, "NonRootByName", text);
        }
        let wants_label = self.pod.spec.security_context.se_linux_options.is_some()
            || spec.security_context.se_linux_options.is_some();
        if wants_label && self.node.machine.has_selinux {
            let text = "this node has SELinux, and Berth sets no labels: seLinuxOptions are not followed";
            events.container(&self.pod, container, Severity::Warning, "NoSELinuxLabel", text.to_owned());
        }
        let Some(record) = self.observed.containers.get_mut(container) else { return };
        let container_id = id(self.pod.uid(), container, record.attempt);
        record.phase = Phase::Running(Running {
            id: container_id.clone(),
            started_at: clock::stamp(started.started_at),
            hooked: spec.lifecycle.post_start.is_none(),
            started: spec.startup_probe.is_none(),
            ready: spec.readiness_probe.is_none(),
            unhealthy: None,
            stop: None,
        });
        if let Some(status) = self.early_exits.remove(&container_id) {
            self.exited(&container_id, status, now);
            return;
        }
        if let Some(hook) = spec.lifecycle.post_start.clone() {
            self.run_post_start(&spec, &container_id, hook);
        } else {
            self.start_probes(&spec, &container_id);
        }
    }

    fn start_failed(&mut self, container: &str, failure: StartFailure, now: Timestamp) {
        let uid = self.pod.uid().to_owned();
        let events = self.node.events.clone();
        let Some(record) = self.observed.containers.get_mut(container) else { return };
        let message = match failure {
            StartFailure::Config(message) => {
                let (reason, retry_at) = ("CreateContainerConfigError", config_retry(now));
                record.phase = Phase::Blocked { reason, message: message.clone(), retry_at };
                message
            }
            StartFailure::Create(message) => {
                record.image_backoff.step(now, self.node.config.image_pauses);
                let retry_at = record.image_backoff.retry_at(now, self.node.config.image_pauses);
                record.phase =
                    Phase::Blocked { reason: "CreateContainerError", message: message.clone(), retry_at };
                message
            }
            StartFailure::Run { exit_code, message } => {
                let id = id(&uid, container, record.attempt);
                record.end(termination::never_started(id, exit_code, message.clone(), now));
                message
            }
        };
        events.container(&self.pod, container, Severity::Warning, "Failed", format!("Error: {message}"));
        self.tell_back_off(container, now);
    }

    /// The event of a container that has to wait before it is started again.
    fn tell_back_off(&self, container: &str, now: Timestamp) {
        let crash = self.node.config.crash_pauses;
        if !converge::backs_off(&self.pod, &self.observed, container, crash, now) {
            return;
        }
        let text = format!("Back-off restarting failed container {container} in pod {}", self.pod.display());
        self.node.events.container(&self.pod, container, Severity::Warning, "BackOff", text);
    }

    fn settled(&mut self, container: &str, phase: Option<ContainerPhase>, now: Timestamp) {
        let Some(record) = self.observed.containers.get_mut(container) else { return };
        let container_id = id(self.pod.uid(), container, record.attempt);
        match phase {
            Some(ContainerPhase::Running(started)) => self.runs(container, &started, now),
            Some(ContainerPhase::Exited(status)) => self.exited(&container_id, status, now),
            // It never came to be: then it is started like any other.
            Some(ContainerPhase::Starting) | None => record.phase = Phase::Waiting,
        }
        self.save(now);
    }

    fn exited(&mut self, container_id: &str, status: ExitStatus, now: Timestamp) {
        let uid = self.pod.uid().to_owned();
        let of_id = |(name, record): &(&String, &mut crate::pod::observed::Record)| {
            id(&uid, name, record.attempt) == container_id && record.exited().is_none()
        };
        let found = self.observed.containers.iter_mut().find(of_id);
        let Some((name, record)) = found else { return };
        if matches!(record.phase, Phase::Starting) {
            self.early_exits.insert(container_id.to_owned(), status);
            return;
        }
        let (name, attempt) = (name.clone(), record.attempt);
        let Some(spec) = self.pod.container(&name) else { return };
        let paths = self.node.paths(&self.pod, &name, attempt);
        record.end(termination::of(spec, container_id, &status, &paths));
        self.tell_back_off(&name, now);
        self.stop_probes(container_id);
        self.save(now);
        self.discard(container_id, paths.directory);
    }

    fn shim_died(&mut self, now: Timestamp) {
        if self.observed.sandbox != Part::Ready {
            return;
        }
        tracing::warn!(
            pod = self.pod.display(),
            "the pod's shim has died: its containers have to start again"
        );
        let text = "Pod sandbox changed, it will be killed and re-created.";
        self.node.events.pod(&self.pod, Severity::Normal, "SandboxChanged", text);
        let ids: Vec<String> = self.probes.keys().cloned().collect();
        ids.iter().for_each(|id| self.stop_probes(id));
        let pod = Arc::clone(&self.pod);
        self.observed
            .lose_sandbox(&pod, now, |running| termination::lost(&running.id, running.started_at, now));
        self.save(now);
    }

    fn running_mut(&mut self, container_id: &str) -> Option<(&str, &mut Running)> {
        self.observed.containers.iter_mut().find_map(|(name, record)| match &mut record.phase {
            Phase::Running(running) if running.id == container_id => Some((name.as_str(), running)),
            _ => None,
        })
    }

    fn post_start_done(&mut self, container_id: &str, result: Result<(), String>) {
        let Some((name, running)) = self.running_mut(container_id) else { return };
        let name = name.to_owned();
        match result {
            Ok(()) => running.hooked = true,
            Err(message) => {
                // What the hook said may be secret: it is for the node's log, not for an event.
                tracing::warn!(container_id, message, "a postStart hook failed");
                running.unhealthy =
                    Some(Unhealthy { message: "FailedPostStartHook".to_owned(), grace_seconds: None });
                let text = "PostStartHook failed";
                self.node.events.container(&self.pod, &name, Severity::Warning, "FailedPostStartHook", text);
                return;
            }
        }
        if let Some(spec) = self.pod.container(&name).cloned() {
            self.start_probes(&spec, container_id);
        }
    }

    fn pre_stop_done(&mut self, container_id: &str) {
        if let Some((_, running)) = self.running_mut(container_id)
            && let Some(stop) = &mut running.stop
            && stop.stage == StopStage::Hook
        {
            stop.stage = StopStage::Due;
        }
    }

    fn probed(&mut self, container_id: &str, kind: ProbeKind, success: bool) {
        let pod = Arc::clone(&self.pod);
        let Some((name, running)) = self.running_mut(container_id) else { return };
        let Some(spec) = pod.container(name) else { return };
        match (kind, success) {
            (ProbeKind::Readiness, verdict) => running.ready = verdict,
            (ProbeKind::Startup, true) => {
                running.started = true;
                self.start_probes(spec, container_id);
            }
            (ProbeKind::Liveness, true) => {}
            (ProbeKind::Startup | ProbeKind::Liveness, false) => {
                let word = kind.word().to_ascii_lowercase();
                let message = format!("Container {} failed {word} probe, will be restarted", spec.name);
                let grace_seconds = kind.of(spec).and_then(|probe| probe.termination_grace_period_seconds);
                running.unhealthy = Some(Unhealthy { message, grace_seconds });
            }
        }
    }

    fn object_deleted(&mut self, result: Result<(), ClientError>, now: Timestamp) {
        self.observed.remains = match result {
            Ok(()) => Remains::Done,
            // Somebody else was faster, or it is another pod of the same name by now.
            Err(error) if error.is_not_found() || error.status().is_some_and(|status| status.code == 409) => {
                Remains::Done
            }
            Err(error) => {
                tracing::debug!(pod = self.pod.display(), %error, "the pod could not be deleted yet");
                Remains::Refused(self.node_retry(now))
            }
        };
    }
}
