//! Starting an agent, and telling its workers what happens.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use berth_client::{ApiResource, Followed, ListOptions};
use berth_network::{ClusterId, Ipv4Cidr, Network};
use berth_runtime::{Event, PodHandle, PodState, Runtime, ShimExecutable};
use nix::mount::{MsFlags, mount};
use serde_json::Value;
use tokio::io::unix::AsyncFd;
use tokio::task::{JoinHandle, JoinSet};

use crate::config::{self, AgentConfig, Layout};
use crate::error::AgentError;
use crate::events::Events;
use crate::images::Images;
use crate::machine::Machine;
use crate::node::{Node, Services};
use crate::node_status;
use crate::pod::Pod;
use crate::sources::Sources;
use crate::status::Fields;
use crate::worker::{Desired, Message, Worker, WorkerHandle, remove_files};

/// Size of the file system for secrets and tokens, in bytes; it takes only what is in it. A secret has at most
/// 1 MiB, a node 110 pods.
const MEMORY_BYTES_MAX: u64 = 256 << 20;

/// Starts agents.
pub struct Agent;

/// A running agent. Dropping it stops the agent and leaves its containers running, as [`AgentHandle::stop`] does.
pub struct AgentHandle {
    pub(crate) node: Arc<Node>,
    pub(crate) workers: Workers,
    tasks: Vec<JoinHandle<()>>,
}

/// What the runtime found at the start, by pod.
type Recovered = HashMap<String, (PodHandle, PodState)>;

/// The workers by pod uid.
#[derive(Clone, Default)]
pub(crate) struct Workers(Arc<Mutex<HashMap<String, WorkerHandle>>>);

impl Workers {
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut HashMap<String, WorkerHandle>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Agent {
    /// Sets up the node's machinery, takes over what an earlier run left, and begins to follow the API. It returns
    /// before the server has answered anything: an agent waits for its server as long as it must.
    ///
    /// # Errors
    /// When runtime, network or image store cannot be set up.
    pub async fn start(config: AgentConfig) -> Result<AgentHandle, AgentError> {
        let opened = tokio::task::spawn_blocking({
            let config = config.clone();
            move || open(&config)
        });
        let (machinery, recovered) = opened.await.map_err(|_| AgentError::Task("start"))??;
        let Machinery { layout, machine, runtime, network, images } = machinery;
        let client = config.client.clone();
        let node = Arc::new(Node {
            sources: Sources::new(client.clone()),
            services: Services::start(client.clone()),
            events: Events::start(client, &config.node_name),
            config,
            layout,
            machine,
            runtime,
            network,
            images,
        });
        let workers = Workers::default();
        let watcher = runtime_events(&node)?;
        let dispatcher = Dispatcher {
            node: Arc::clone(&node),
            workers: workers.clone(),
            recovered,
            early: HashMap::new(),
            cleared: false,
            tasks: JoinSet::new(),
        };
        let tasks = vec![
            tokio::spawn(node_status::keep(Arc::clone(&node))),
            tokio::spawn(node_status::renew_lease(Arc::clone(&node))),
            tokio::spawn(dispatcher.run(watcher)),
        ];
        Ok(AgentHandle { node, workers, tasks })
    }

    /// [`Agent::destroy`] for an agent of this configuration.
    ///
    /// # Errors
    /// As [`Agent::destroy`].
    pub fn destroy_all(config: &AgentConfig) -> Result<(), AgentError> {
        Self::destroy(&config.data_dir, &config.cluster_id, config.pod_cidr)
    }

    /// Ends and removes everything that agents with this data directory, cluster and range have made on the machine,
    /// except images: for `berth down`. No agent may be running.
    ///
    /// # Errors
    /// The first one, after everything else has been tried.
    pub fn destroy(data_dir: &Path, cluster_id: &ClusterId, pod_cidr: Ipv4Cidr) -> Result<(), AgentError> {
        let layout = Layout { data_dir: data_dir.to_owned() };
        let runtime = config::runtime(data_dir, cluster_id, ShimExecutable::Current);
        let pods = Runtime::new(runtime).and_then(|runtime| runtime.destroy_all());
        let network = berth_network::destroy(&config::network(data_dir, cluster_id, pod_cidr));
        let mounts =
            crate::volumes::unmount(&layout.pods()).and_then(|()| crate::volumes::unmount(&layout.memory()));
        let mut result = pods.map_err(AgentError::from).and(network.map_err(AgentError::from));
        result = result.and(mounts.map_err(AgentError::io("unmount below", layout.pods())));
        for directory in [layout.pods(), layout.memory(), layout.logs()] {
            let removed = match fs::remove_dir_all(&directory) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
            result = result.and(removed.map_err(AgentError::io("remove", directory)));
        }
        result
    }
}

impl AgentHandle {
    /// Stops following the API; containers go on.
    pub fn stop(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Drop for AgentHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Machinery {
    layout: Layout,
    machine: Machine,
    runtime: Runtime,
    network: Network,
    images: Images,
}

/// Runtime, network and images, each in its own thread: a node is to be ready soon.
fn open(config: &AgentConfig) -> Result<(Machinery, Recovered), AgentError> {
    let layout = Layout { data_dir: config.data_dir.clone() };
    for directory in [layout.pods(), layout.logs(), layout.memory()] {
        fs::create_dir_all(&directory).map_err(AgentError::io("create", &directory))?;
    }
    mount_memory(&layout)?;
    let machine = Machine::look(&config.data_dir, config.node_ip);
    let (data_dir, cluster_id) = (&config.data_dir, &config.cluster_id);
    std::thread::scope(|scope| {
        let network = scope.spawn(|| Network::open(config::network(data_dir, cluster_id, config.pod_cidr)));
        let images = scope.spawn(|| Images::open(layout.images(), Arc::clone(&config.registries)));
        let runtime = Runtime::new(config::runtime(data_dir, cluster_id, config.shim_executable.clone()))?;
        let recovered = recover(&runtime)?;
        let network = network.join().map_err(|_| AgentError::Task("network"))??;
        let images = images.join().map_err(|_| AgentError::Task("image store"))??;
        Ok((Machinery { layout: layout.clone(), machine, runtime, network, images }, recovered))
    })
}

fn recover(runtime: &Runtime) -> Result<Recovered, AgentError> {
    let found = runtime.recover()?;
    for (handle, error) in &found.unreachable {
        // It is in the way of a new sandbox and is ended when the pod needs one, or when the pod is gone.
        tracing::error!(pod = handle.id(), %error, "a pod of an earlier run cannot be asked and will be started anew");
    }
    Ok(found.pods.into_iter().map(|(handle, state)| (handle.id().to_owned(), (handle, state))).collect())
}

/// Secrets are kept in memory; the file system outlives the agent, as the pods that use it do.
fn mount_memory(layout: &Layout) -> Result<(), AgentError> {
    let directory = layout.memory();
    if crate::volumes::is_mount_point(&directory).map_err(AgentError::io("look at", &directory))? {
        return Ok(());
    }
    let options = format!("mode=0700,size={MEMORY_BYTES_MAX}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("tmpfs"), &directory, Some("tmpfs"), flags, Some(options.as_str()))
        .map_err(|error| AgentError::io("mount a tmpfs at", directory)(error.into()))
}

/// The descriptor that becomes readable when something has happened in a pod.
fn runtime_events(node: &Node) -> Result<AsyncFd<OwnedFd>, AgentError> {
    let failed = AgentError::io("watch", &node.config.data_dir);
    let fd = node.runtime.events_fd().as_fd().try_clone_to_owned();
    fd.and_then(crate::process::register).map_err(failed)
}

struct Dispatcher {
    node: Arc<Node>,
    workers: Workers,
    recovered: Recovered,
    /// What happened in recovered pods before the API said whether they are still wanted.
    early: HashMap<String, Vec<Message>>,
    /// What earlier runs left has been gone through.
    cleared: bool,
    tasks: JoinSet<String>,
}

impl Dispatcher {
    async fn run(mut self, watcher: AsyncFd<OwnedFd>) {
        let options = ListOptions::fields(format!("spec.nodeName={}", self.node.config.node_name));
        let mut follow = self.node.client().follow(ApiResource::PODS, "", options);
        loop {
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
        let known: Vec<String> = self.workers.with(|workers| workers.keys().cloned().collect());
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
        if !is_known {
            let recovered = self.recovered.remove(&uid);
            let worker = Worker::spawn(&self.node, desired, recovered, &mut self.tasks);
            for message in self.early.remove(&uid).into_iter().flatten() {
                // One message per container of the pod: fewer than an inbox holds.
                drop(worker.inbox.try_send(message));
            }
            self.workers.with(|workers| workers.insert(uid, worker));
        }
    }

    fn vanished(&mut self, uid: &str) {
        self.workers.with(|workers| {
            if let Some(worker) = workers.get(uid) {
                worker.desired.send_modify(|desired| desired.vanished = true);
            }
        });
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
        let orphans: Vec<PodHandle> = self.recovered.drain().map(|(_, (handle, _))| handle).collect();
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
