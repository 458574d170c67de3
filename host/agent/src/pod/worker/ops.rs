//! Carrying out operations: notes that they have begun, and starts the tasks that do them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use berth_api::time::Timestamp;
use berth_client::{ApiResource, DeleteOptions};

use super::{Message, Worker, sandbox, start};
use crate::clock::{self, Moment, Now};
use crate::container::probes;
use crate::container::sources::{SourceKind, SourceName};
use crate::container::spec::stop_signal;
use crate::container::volumes::Round;
use crate::manifest::{Container, Handler};
use crate::node::events::Severity;
use crate::node::pull_secrets::PullSecret;
use crate::pod::converge::{Op, end};
use crate::pod::observed::{FailureReason, ImageState, Part, Phase, Remains, Stop, StopStage};

impl Worker {
    pub(super) fn begin(&mut self, op: Op, now: Now) {
        match op {
            Op::MakeSandbox => self.make_sandbox(),
            Op::MakeVolumes => {
                self.observed.volumes = Part::Making;
                self.make_volumes();
            }
            Op::ResolveImage { container } => self.resolve_image(container),
            Op::Start { container } => self.start(&container, now.wall),
            Op::Stop { container, stop, why } => self.stop(&container, stop, why, now.steady),
            Op::Signal { container } => self.signal(&container, now.steady),
            Op::Kill { container } => self.kill(&container, now.steady),
            Op::Fail(failure) => {
                let is_wanted = failure.reason == FailureReason::DeadlineExceeded;
                let severity = if is_wanted { Severity::Normal } else { Severity::Warning };
                self.node.events.pod(&self.pod, severity, failure.reason.word(), failure.message.clone());
                self.observed.failure = Some(failure);
                self.save(now.wall);
            }
            Op::RemoveSandbox => self.remove_sandbox(),
            Op::RemoveVolumes => self.remove_volumes(),
            Op::RemoveRemains => self.remove_remains(),
            Op::DeleteObject => self.delete_object(),
        }
    }

    fn make_sandbox(&mut self) {
        self.observed.sandbox = Part::Making;
        let (node, pod) = (Arc::clone(&self.node), Arc::clone(&self.pod));
        self.background(async move { Message::SandboxMade(sandbox::make(&node, &pod).await) });
    }

    fn remove_sandbox(&mut self) {
        self.observed.sandbox = Part::Removing;
        let (node, pod, handle) = (Arc::clone(&self.node), Arc::clone(&self.pod), self.handle.clone());
        self.background(async move { Message::SandboxRemoved(sandbox::remove(&node, &pod, handle).await) });
    }

    fn make_volumes(&self) {
        let (node, pod, volumes) = (Arc::clone(&self.node), Arc::clone(&self.pod), Arc::clone(&self.volumes));
        let around = self.surroundings();
        self.background(async move {
            let (client, sources) = (node.client(), &node.sources);
            let round = Round { pod: &pod, client, sources, around, now: clock::now() };
            Message::VolumesMade(volumes.make(&round).await)
        });
    }

    /// Brings volumes up to date; containers see the change.
    pub(super) fn refresh_volumes(&mut self) {
        self.stale = self.refreshing || self.observed.volumes == Part::Making;
        if self.observed.volumes == Part::Ready && !std::mem::replace(&mut self.refreshing, true) {
            self.make_volumes();
        }
    }

    /// A config map, secret or label has changed: volumes show it, and what waited for it is tried again.
    pub(super) fn source_changed(&mut self) {
        let now = clock::now();
        self.refresh_volumes();
        if let Part::Failed { retry_at, .. } = &mut self.observed.volumes {
            *retry_at = now;
        }
        for record in self.observed.containers.values_mut() {
            if let Phase::Blocked { reason: "CreateContainerConfigError", retry_at, .. } = &mut record.phase {
                *retry_at = now;
            }
        }
    }

    /// Images of the containers that were running before this run of the agent: they say how to stop them.
    pub(super) fn find_images(&mut self) {
        for (name, record) in self.observed.containers.iter().filter(|(_, record)| record.is_active()) {
            match self.node.images.store.resolve(&record.image_id) {
                Ok(Some(image)) => _ = self.images.insert(name.clone(), Arc::new(image)),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(pod = self.pod.display(), %error, "a running container's image is unknown")
                }
            }
        }
    }

    fn resolve_image(&mut self, container: String) {
        let Some(spec) = self.pod.container(&container).cloned() else { return };
        if let Some(record) = self.observed.containers.get_mut(&container) {
            let failed = match std::mem::take(&mut record.image) {
                ImageState::Failed { reason: "ErrImagePull", message, .. } => Some(message),
                _ => None,
            };
            record.image = ImageState::Resolving { failed };
        }
        let (node, pod, sources) =
            (Arc::clone(&self.node), Arc::clone(&self.pod), Arc::clone(&self.volumes.sources));
        let pull = self.background(async move {
            let names = pod.spec.image_pull_secrets.iter();
            let names =
                names.map(|secret| SourceName { kind: SourceKind::Secret, name: secret.name.clone() });
            // A secret that is missing is no reason not to try: the image may be public, or here.
            let secrets = sources.get(&node.sources, names).await.unwrap_or_default();
            let absent = secrets.iter().filter(|(_, secret)| secret.is_none()).map(|(name, _)| &*name.name);
            let absent = absent.collect::<Vec<_>>().join(", ");
            // In the list's order: it is the one in which they are tried.
            let listed = pod.spec.image_pull_secrets.iter().filter_map(|listed| {
                let name = SourceName { kind: SourceKind::Secret, name: listed.name.clone() };
                let object = secrets.get(&name).cloned().flatten()?;
                Some(PullSecret { name: name.name, object })
            });
            let listed: Vec<PullSecret> = listed.collect();
            let pulling = || {
                if !absent.is_empty() {
                    let text = format!(
                        "Unable to retrieve some image pull secrets ({absent}); attempting to pull the image may not \
                         succeed."
                    );
                    node.events.pod(&pod, Severity::Warning, "FailedToRetrieveImagePullSecret", text);
                }
                let text = format!("Pulling image \"{}\"", spec.image);
                node.events.container(&pod, &container, Severity::Normal, "Pulling", text);
            };
            let result = node.images.resolve(&spec.image, &spec.image_pull_policy, &listed, pulling).await;
            Message::ImageResolved { container, result }
        });
        self.pulls.retain(|pull| !pull.is_finished());
        self.pulls.push(pull);
    }

    /// Nobody waits for the images of a pod that ends.
    pub(super) fn end_pulls(&mut self) {
        self.pulls.drain(..).for_each(|pull| pull.abort());
        for record in self.observed.containers.values_mut() {
            if matches!(record.image, ImageState::Resolving { .. }) {
                record.image = ImageState::Unknown;
            }
        }
    }

    fn start(&mut self, container: &str, now: Timestamp) {
        let (Some(handle), Some(image)) = (self.handle.clone(), self.images.get(container).cloned()) else {
            // Adopted pods have no image looked up yet.
            if let Some(record) = self.observed.containers.get_mut(container) {
                record.image = ImageState::Unknown;
            }
            return;
        };
        let crash = self.node.config.crash_pauses;
        let Some(record) = self.observed.containers.get_mut(container) else { return };
        if record.exited().is_some() {
            record.backoff.step(now, crash);
        }
        record.next_attempt();
        record.phase = Phase::Starting;
        let attempt = record.attempt;
        // Written down first: an attempt that a crash cuts short is not made twice under one number.
        self.save(now);
        let job = start::Job {
            node: Arc::clone(&self.node),
            pod: Arc::clone(&self.pod),
            container: container.to_owned(),
            attempt,
            handle,
            image,
            directories: Arc::clone(&self.directories),
            sources: Arc::clone(&self.volumes.sources),
            around: self.surroundings(),
        };
        let container = container.to_owned();
        self.background(async move { Message::Started { container, result: start::start(job).await } });
    }

    fn stop(&mut self, container: &str, stop: Stop, why: Option<String>, now: Moment) {
        let Some(spec) = self.pod.container(container).cloned() else { return };
        let Some(record) = self.observed.containers.get_mut(container) else { return };
        let Phase::Running(running) = &mut record.phase else { return };
        running.stop = Some(stop);
        let container_id = running.id.clone();
        // Nobody is to be called ready, or killed once more, while it ends.
        self.stop_probes(&container_id);
        if let Some(why) = why {
            self.node.events.container(&self.pod, container, Severity::Normal, "Killing", why);
        }
        match (stop.stage, spec.lifecycle.pre_stop.clone()) {
            (StopStage::Hook, Some(hook)) => {
                self.run_pre_stop(&spec, container_id, hook, stop.kill_at.after(now))
            }
            _ => self.signal(container, now),
        }
    }

    fn signal(&mut self, container: &str, now: Moment) {
        let Some(spec) = self.pod.container(container) else { return };
        let image_signal = self.images.get(container).map_or("", |image| image.config.stop_signal.as_str());
        let number = stop_signal(spec, image_signal);
        self.send_signal(container, number, |stop| end::signalled(stop, now));
    }

    fn kill(&mut self, container: &str, now: Moment) {
        self.send_signal(container, nix::libc::SIGKILL, |stop| end::killed(stop, now));
    }

    fn send_signal(&mut self, container: &str, number: i32, then: impl FnOnce(Stop) -> Stop) {
        let Some(record) = self.observed.containers.get_mut(container) else { return };
        let Phase::Running(running) = &mut record.phase else { return };
        running.stop = running.stop.map(then);
        let (Some(handle), container_id) = (self.handle.clone(), running.id.clone()) else { return };
        let pod = self.pod.display();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = handle.kill(&container_id, number) {
                tracing::warn!(pod, container_id, %error, "a container could not be signalled");
            }
        });
    }

    pub(super) fn run_post_start(&self, spec: &Container, container_id: &str, hook: Handler) {
        /// The kubelet lets a hook run as long as it likes; a day is as long as anybody means.
        const POST_START_MAX: Duration = Duration::from_secs(24 * 3600);
        let run = self.hook(spec, container_id, hook, POST_START_MAX);
        let container_id = container_id.to_owned();
        self.background(async move { Message::PostStartDone { container_id, result: run.await } });
    }

    fn run_pre_stop(&self, spec: &Container, container_id: String, hook: Handler, limit: Duration) {
        let run = self.hook(spec, &container_id, hook, limit);
        let (events, pod, name) = (self.node.events.clone(), Arc::clone(&self.pod), spec.name.clone());
        self.background(async move {
            if let Err(error) = run.await {
                // What the hook said may be secret: it is for the node's log, not for an event.
                tracing::warn!(container_id, error, "a preStop hook failed");
                let text = "PreStopHook failed";
                events.container(&pod, &name, Severity::Warning, "FailedPreStopHook", text);
            }
            Message::PreStopDone { container_id }
        });
    }

    fn hook(
        &self,
        spec: &Container,
        container_id: &str,
        hook: Handler,
        limit: Duration,
    ) -> impl Future<Output = Result<(), String>> + Send + 'static {
        let (handle, spec, container_id, ip) =
            (self.handle.clone(), spec.clone(), container_id.to_owned(), self.pod_ip());
        async move {
            if let Some(sleep) = &hook.sleep {
                tokio::time::sleep(Duration::from_secs(sleep.seconds.into()).min(limit)).await;
                return Ok(());
            }
            let Some(handle) = handle else { return Err("the pod has no sandbox".to_owned()) };
            probes::check(&hook, &spec, &container_id, &handle, ip, limit).await.map(drop)
        }
    }

    /// Removes what an instance that has ended needs no more; its log stays for `--previous`.
    pub(super) fn discard(&self, container_id: &str, directory: PathBuf) {
        let (handle, container_id, pod) = (self.handle.clone(), container_id.to_owned(), self.pod.display());
        tokio::task::spawn_blocking(move || {
            let forgotten = handle.map_or(Ok(()), |handle| handle.remove_container(&container_id));
            let removed = std::fs::remove_dir_all(&directory);
            if let Err(error) = forgotten {
                tracing::debug!(pod, container_id, %error, "a dead container could not be forgotten yet");
            }
            if let Err(error) = removed.or_else(|error| {
                if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
            }) {
                tracing::warn!(pod, container_id, %error, "the files of a dead container could not be removed");
            }
        });
    }

    fn remove_volumes(&mut self) {
        if self.refreshing {
            // It would make anew what is being removed; when it is done, this is asked for again.
            return;
        }
        self.observed.volumes = Part::Removing;
        self.refresh_at = None;
        let (layout, uid) = (self.node.layout.clone(), self.pod.uid().to_owned());
        self.background(async move {
            let removed = tokio::task::spawn_blocking(move || sandbox::remove_volumes(&layout, &uid)).await;
            Message::VolumesRemoved(removed.unwrap_or_else(|error| Err(error.to_string())))
        });
    }

    fn remove_remains(&mut self) {
        if self.refreshing {
            // As above: the secrets of a pod that is gone would stay in memory.
            return;
        }
        self.observed.remains = Remains::Removing;
        let (layout, uid) = (self.node.layout.clone(), self.pod.uid().to_owned());
        let logs = self.node.log_directory(&self.pod);
        self.background(async move {
            let removed =
                tokio::task::spawn_blocking(move || sandbox::remove_files(&layout, &uid, &logs)).await;
            Message::RemainsRemoved(removed.unwrap_or_else(|error| Err(error.to_string())))
        });
    }

    fn delete_object(&mut self) {
        // What the pod came to is told before it is forgotten.
        if self.report_final() {
            return;
        }
        self.observed.remains = Remains::Deleting;
        let (node, pod) = (Arc::clone(&self.node), Arc::clone(&self.pod));
        self.background(async move {
            let metadata = &pod.metadata;
            let options = DeleteOptions::now(&metadata.uid);
            let deleted =
                node.client().delete(ApiResource::PODS, &metadata.namespace, &metadata.name, &options).await;
            Message::ObjectDeleted(deleted.map(drop))
        });
    }
}
