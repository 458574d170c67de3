//! Starting an agent, stopping it, and removing what it made.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use berth_network::{ClusterId, Ipv4Cidr, Network};
use berth_runtime::{Recovered, Runtime, ShimExecutable};
use nix::mount::{MsFlags, mount};
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;

use crate::config::{self, AgentConfig, Layout};
use crate::container::sources::Sources;
use crate::error::AgentError;
use crate::node::events::Events;
use crate::node::image_gc;
use crate::node::images::Images;
use crate::node::machine::Machine;
use crate::node::{self, Node, Services};
use crate::pod::dispatcher::Dispatcher;
use crate::pod::workers::Workers;
use crate::serve::Scraper;

/// Size of the file system for secrets and tokens, in bytes; it takes only what is in it. A secret has at most
/// 1 MiB, a node 110 pods.
const MEMORY_BYTES_MAX: u64 = 256 << 20;

/// Starts agents.
pub struct Agent;

/// A running agent. Dropping it stops the agent and leaves its containers running, as [`AgentHandle::stop`] does.
pub struct AgentHandle {
    pub(crate) node: Arc<Node>,
    pub(crate) workers: Workers,
    pub(crate) scraper: Scraper,
    tasks: Vec<JoinHandle<()>>,
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
        let (machinery, found) = opened.await.map_err(|_| AgentError::Task("start"))??;
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
        let in_use = {
            let workers = workers.clone();
            move || workers.images_in_use()
        };
        let dispatcher = Dispatcher::new(Arc::clone(&node), workers.clone(), found);
        let tasks = vec![
            tokio::spawn(node::status::keep(Arc::clone(&node))),
            tokio::spawn(node::status::renew_lease(Arc::clone(&node))),
            tokio::spawn(image_gc::keep(Arc::clone(&node), in_use)),
            tokio::spawn(dispatcher.run(watcher)),
        ];
        Ok(AgentHandle { node, workers, scraper: Scraper::default(), tasks })
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
        let network = berth_network::destroy(&config::network(data_dir, cluster_id, pod_cidr, None));
        let mounts = crate::container::volumes::unmount(&layout.pods())
            .and_then(|()| crate::container::volumes::unmount(&layout.memory()));
        let mut result = pods.map_err(AgentError::from).and(network.map_err(AgentError::from));
        // What is still mounted may be somebody's data: nothing is removed through it.
        let removable = match &mounts {
            Ok(()) => vec![layout.pods(), layout.memory(), layout.logs()],
            Err(_) => vec![layout.logs()],
        };
        result = result.and(mounts.map_err(AgentError::io("unmount below", layout.pods())));
        for directory in removable {
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
    fs::create_dir_all(layout.logs()).map_err(AgentError::io("create", layout.logs()))?;
    for directory in [layout.pods(), layout.memory()] {
        fs::create_dir_all(&directory).map_err(AgentError::io("create", &directory))?;
        // What containers write, set-user-ID programs for example, is not for the machine's other users, wherever the
        // data directory is (CVE-2021-41103).
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))
            .map_err(AgentError::io("change", &directory))?;
    }
    let is_new = mount_memory(&layout)?;
    let opened = open_all(config, &layout);
    if opened.is_err() && is_new {
        give_back(config, &layout);
    }
    opened
}

fn open_all(config: &AgentConfig, layout: &Layout) -> Result<(Machinery, Recovered), AgentError> {
    let machine = Machine::look(&config.data_dir, config.node_ip);
    let (data_dir, cluster_id) = (&config.data_dir, &config.cluster_id);
    std::thread::scope(|scope| {
        let network =
            scope.spawn(|| Network::open(config::network(data_dir, cluster_id, config.pod_cidr, config.api)));
        let images = scope.spawn(|| Images::open(layout.images(), Arc::clone(&config.registries)));
        let runtime = Runtime::new(config::runtime(data_dir, cluster_id, config.shim_executable.clone()))?;
        let recovered = runtime.recover()?;
        let network = network.join().map_err(|_| AgentError::Task("network"))??;
        let images = images.join().map_err(|_| AgentError::Task("image store"))??;
        Ok((Machinery { layout: layout.clone(), machine, runtime, network, images }, recovered))
    })
}

/// Takes back what a start that failed has made in the kernel. Networks of pods are left alone.
fn give_back(config: &AgentConfig, layout: &Layout) {
    let network = config::network(&config.data_dir, &config.cluster_id, config.pod_cidr, config.api);
    let has_pods = fs::read_dir(layout.netns("")).is_ok_and(|mut entries| entries.next().is_some());
    let unmounted = crate::container::volumes::unmount(&layout.memory())
        .map_err(AgentError::io("unmount", layout.memory()));
    let removed = if has_pods { Ok(()) } else { berth_network::destroy(&network).map_err(AgentError::from) };
    for error in [unmounted, removed].into_iter().filter_map(Result::err) {
        tracing::warn!(%error, "what a failed start has made was not removed; `berth down` tries again");
    }
}

/// Secrets are kept in memory; the file system outlives the agent, as the pods that use it do. Whether it is new.
fn mount_memory(layout: &Layout) -> Result<bool, AgentError> {
    let directory = layout.memory();
    if crate::container::volumes::is_mount_point(&directory).map_err(AgentError::io("look at", &directory))? {
        return Ok(false);
    }
    let options = format!("mode=0700,size={MEMORY_BYTES_MAX}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("tmpfs"), &directory, Some("tmpfs"), flags, Some(options.as_str()))
        .map(|()| true)
        .map_err(|error| AgentError::io("mount a tmpfs at", directory)(error.into()))
}

/// The descriptor that becomes readable when something has happened in a pod.
fn runtime_events(node: &Node) -> Result<AsyncFd<OwnedFd>, AgentError> {
    let failed = AgentError::io("watch", &node.config.data_dir);
    let fd = node.runtime.events_fd().as_fd().try_clone_to_owned();
    fd.and_then(crate::process::register).map_err(failed)
}
