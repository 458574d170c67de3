//! Telling the pods' workers what the API wants and what the runtime sees, and clearing what nobody wants any more.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use berth_client::{ApiResource, Followed, ListOptions};
use berth_runtime::{Event, PodHandle, PodState, Recovered};
use serde_json::Value;
use tokio::io::unix::AsyncFd;
use tokio::task::{AbortHandle, JoinSet};

use crate::backoff::{Backoff, Pauses};
use crate::clock;
use crate::config::Layout;
use crate::manifest::Pod;
use crate::node::Node;
use crate::node::events::Severity;
use crate::pod::status::Fields;
use crate::pod::worker::{Desired, Message, Worker, remove_files};
use crate::pod::workers::Workers;
use crate::process::blocking;

/// Hands the node's pods and what happens to them to the pods' workers.
pub(crate) struct Dispatcher {
    node: Arc<Node>,
    workers: Workers,
    /// What an earlier run left, by pod, as long as the API has not said whether it is still wanted.
    recovered: HashMap<String, (PodHandle, PodState)>,
    /// Pods of an earlier run whose shim has not answered yet.
    silent: HashMap<String, Silent>,
    /// Asks them again and again.
    asking: JoinSet<(PodHandle, PodState)>,
    /// What happened in recovered pods before the API said whether they are still wanted.
    early: HashMap<String, Vec<Message>>,
    /// What earlier runs left has been gone through.
    cleared: bool,
    tasks: JoinSet<String>,
}

/// A pod of an earlier run whose shim does not answer: its containers may well be running, so it is left alone.
struct Silent {
    handle: PodHandle,
    error: String,
    /// What the API wants of it, once it has said so.
    desired: Option<Desired>,
    asking: AbortHandle,
}

impl Dispatcher {
    pub(crate) fn new(node: Arc<Node>, workers: Workers, found: Recovered) -> Dispatcher {
        let (mut silent, mut asking) = (HashMap::new(), JoinSet::new());
        for (handle, error) in found.unreachable {
            tracing::error!(pod = handle.id(), %error, "a pod of an earlier run cannot be asked and is left alone");
            let task = asking.spawn(ask(Arc::clone(&node), handle.clone()));
            let pod = Silent { handle, error: error.to_string(), desired: None, asking: task };
            silent.insert(pod.handle.id().to_owned(), pod);
        }
        let recovered =
            found.pods.into_iter().map(|(handle, state)| (handle.id().to_owned(), (handle, state))).collect();
        Dispatcher {
            node,
            workers,
            recovered,
            silent,
            asking,
            early: HashMap::new(),
            cleared: false,
            tasks: JoinSet::new(),
        }
    }

    pub(crate) async fn run(mut self, watcher: AsyncFd<OwnedFd>) {
        let options = ListOptions::fields(format!("spec.nodeName={}", self.node.config.node_name));
        let mut follow = self.node.client().follow(ApiResource::PODS, "", options);
        loop {
            self.workers.tell_complete(self.cleared && self.silent.is_empty());
            tokio::select! {
                followed = follow.next() => self.followed(followed),
                ready = watcher.readable() => match ready {
                    Ok(mut ready) => {
                        self.runtime_events().await;
                        ready.clear_ready();
                    }
                    Err(error) => {
                        tracing::error!(%error, "the runtime cannot be watched any more");
                        return;
                    }
                },
                Some(ended) = self.tasks.join_next() => self.ended(ended),
                Some(answer) = self.asking.join_next() => match answer {
                    Ok((handle, state)) => self.answered(handle, state),
                    // It was given up: see `vanished`.
                    Err(error) => tracing::debug!(%error, "a silent pod is asked no more"),
                },
            }
        }
    }

    fn followed(&mut self, followed: Followed) {
        match followed {
            Followed::Replaced(pods) => self.replaced(pods),
            Followed::Applied(pod) => self.applied(pod),
            Followed::Deleted(pod) => self.vanished(pod["metadata"]["uid"].as_str().unwrap_or_default()),
        }
    }

    fn replaced(&mut self, pods: Vec<Value>) {
        let uid = |pod: &Value| pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let wanted: BTreeSet<String> = pods.iter().map(uid).collect();
        pods.into_iter().for_each(|pod| self.applied(pod));
        let mut known: Vec<String> = self.workers.with(|workers| workers.keys().cloned().collect());
        let silent = self.silent.iter().filter(|(_, silent)| silent.desired.is_some());
        known.extend(silent.map(|(uid, _)| uid.clone()));
        known.iter().filter(|uid| !wanted.contains(*uid)).for_each(|uid| self.vanished(uid));
        self.clear_orphans(&wanted);
    }

    fn applied(&mut self, value: Value) {
        let status: Fields = value["status"].as_object().cloned().unwrap_or_default();
        let pod = match Pod::from_value(value) {
            Ok(pod) => Arc::new(pod),
            Err(error) => {
                tracing::error!(%error, "a pod cannot be understood by this node and is left alone");
                return;
            }
        };
        let uid = pod.uid().to_owned();
        let desired = Desired { pod, status: Arc::new(status), vanished: false };
        let is_known = self.workers.with(|workers| {
            let worker = workers.get(&uid);
            worker.map(|worker| drop(worker.desired.send_replace(desired.clone()))).is_some()
        });
        if is_known {
            return;
        }
        match self.silent.get_mut(&uid) {
            // What is to go needs no answer: it is ended without one.
            Some(silent) if desired.pod.metadata.deletion_timestamp.is_none() => {
                if silent.desired.is_none() {
                    let text =
                        format!("error determining status: {}; its containers are left alone", silent.error);
                    self.node.events.pod(&desired.pod, Severity::Warning, "FailedSync", text);
                }
                silent.desired = Some(desired);
            }
            _ => {
                self.give_up(&uid);
                self.spawn(desired);
            }
        }
    }

    fn spawn(&mut self, desired: Desired) {
        let uid = desired.pod.uid().to_owned();
        let recovered = self.recovered.remove(&uid);
        let worker = Worker::spawn(&self.node, desired, recovered, &mut self.tasks);
        for message in self.early.remove(&uid).into_iter().flatten() {
            // One message per container of the pod: fewer than an inbox holds.
            drop(worker.inbox.try_send(message));
        }
        self.workers.with(|workers| workers.insert(uid, worker));
    }

    /// Asks a silent pod no more.
    fn give_up(&mut self, uid: &str) -> Option<Silent> {
        let silent = self.silent.remove(uid)?;
        silent.asking.abort();
        Some(silent)
    }

    /// A silent pod has answered: now it is taken over like the others.
    fn answered(&mut self, handle: PodHandle, state: PodState) {
        let uid = handle.id().to_owned();
        let Some(silent) = self.silent.remove(&uid) else { return };
        tracing::info!(pod = uid, "a pod of an earlier run has answered and is taken over");
        self.recovered.insert(uid, (handle, state));
        if let Some(desired) = silent.desired {
            self.spawn(desired);
        }
    }

    fn vanished(&mut self, uid: &str) {
        let is_known = self.workers.with(|workers| {
            let worker = workers.get(uid);
            worker.map(|worker| worker.desired.send_modify(|desired| desired.vanished = true)).is_some()
        });
        if !is_known && let Some(Silent { desired: Some(desired), .. }) = self.give_up(uid) {
            self.spawn(Desired { vanished: true, ..desired });
        }
    }

    fn ended(&mut self, ended: Result<String, tokio::task::JoinError>) {
        match ended {
            Ok(uid) => _ = self.workers.with(|workers| workers.remove(&uid)),
            Err(error) => tracing::error!(%error, "a pod's worker ended abnormally"),
        }
    }

    /// Tells the workers what the runtime says.
    async fn runtime_events(&mut self) {
        let events = match self.node.runtime.wait_any(Some(Duration::ZERO)) {
            Ok(events) => events,
            Err(error) => {
                tracing::error!(%error, "the runtime's events cannot be read");
                return;
            }
        };
        for event in events {
            let (pod_id, message) = match event {
                Event::Exited { pod_id, container_id, status } => {
                    (pod_id, Message::Exited { container_id, status })
                }
                Event::ShimDied { pod_id } => (pod_id, Message::ShimDied),
            };
            let inbox = self.workers.with(|workers| workers.get(&pod_id).map(|worker| worker.inbox.clone()));
            match inbox {
                // A worker that has ended needs no news.
                Some(inbox) => drop(inbox.send(message).await),
                None if self.recovered.contains_key(&pod_id) => {
                    self.early.entry(pod_id).or_default().push(message);
                }
                None => {}
            }
        }
    }

    /// Removes what belongs to pods that are no more: deleted while nobody looked. What that is, is decided here and
    /// now: pods that come while it is being removed are not among it.
    fn clear_orphans(&mut self, wanted: &BTreeSet<String>) {
        if std::mem::replace(&mut self.cleared, true) {
            return;
        }
        self.early.clear();
        if let Err(error) = self.node.network.gc(wanted) {
            tracing::warn!(%error, "networks of deleted pods could not be removed");
        }
        let mut orphans: Vec<PodHandle> = self.recovered.drain().map(|(_, (handle, _))| handle).collect();
        let silent: Vec<String> = self.silent.keys().filter(|uid| !wanted.contains(*uid)).cloned().collect();
        orphans.extend(silent.iter().filter_map(|uid| self.give_up(uid)).map(|silent| silent.handle));
        let files = orphaned_files(&self.node.layout, wanted);
        let layout = self.node.layout.clone();
        tokio::task::spawn_blocking(move || {
            for handle in orphans {
                tracing::info!(
                    pod = handle.id(),
                    "removing what is left of a pod that was deleted meanwhile"
                );
                if let Err(error) = handle.remove() {
                    tracing::warn!(pod = handle.id(), %error, "a pod that was deleted meanwhile could not be removed");
                }
            }
            for (uid, log) in files {
                if let Err(error) = remove_files(&layout, &uid, &log) {
                    tracing::warn!(uid, error, "what is left of a deleted pod could not be removed");
                }
            }
        });
    }
}

/// Asks a pod of an earlier run until it answers.
async fn ask(node: Arc<Node>, handle: PodHandle) -> (PodHandle, PodState) {
    let mut backoff = Backoff::default();
    loop {
        let now = clock::now();
        backoff.step(now, Pauses::NODE);
        tokio::time::sleep(clock::until(backoff.retry_at(now, Pauses::NODE), now)).await;
        let (of, pod) = (Arc::clone(&node), handle.clone());
        match blocking(move || of.runtime.adopt(&pod)).await.and_then(|answer| answer) {
            Ok(state) => return (handle, state),
            Err(error) => {
                tracing::debug!(pod = handle.id(), %error, "a pod of an earlier run is still silent")
            }
        }
    }
}

/// Pods that have directories and are not wanted, with their log directories.
fn orphaned_files(layout: &Layout, wanted: &BTreeSet<String>) -> Vec<(String, PathBuf)> {
    let names = |directory| {
        let entries = fs::read_dir(directory).into_iter().flatten();
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
    };
    let logs: Vec<String> = names(layout.logs()).collect();
    let of_logs = logs.iter().filter_map(|name| name.rsplit_once('_')).map(|(_, uid)| uid.to_owned());
    let uids: BTreeSet<String> = names(layout.pods()).chain(names(layout.memory())).chain(of_logs).collect();
    let with_log = |uid: &String| {
        let log = logs.iter().find(|name| name.ends_with(&format!("_{uid}")));
        (uid.clone(), layout.logs().join(log.unwrap_or(uid)))
    };
    uids.difference(wanted).map(with_log).collect()
}
