//! What an agent is started with.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;

use berth_client::Client;
use berth_image::RegistryConfig;
use berth_network::{ClusterId, Ipv4Cidr, NetworkConfig, SPARE_COUNT_DEFAULT};
use berth_runtime::{RuntimeConfig, ShimExecutable};

use crate::backoff::Pauses;
use crate::sysctl::SysctlPattern;

/// One node's agent.
#[derive(Clone)]
pub struct AgentConfig {
    /// The Node object's name.
    pub node_name: String,
    /// The cluster's data directory on this machine: images, pods, logs and networks are kept below it.
    pub data_dir: PathBuf,
    /// From which all names in the kernel derive, so that two clusters live side by side.
    pub cluster_id: ClusterId,
    /// The range of this node's pods.
    pub pod_cidr: Ipv4Cidr,
    /// Where the server listens, if it does on this machine: no pod gets its port.
    pub api: Option<SocketAddrV4>,
    /// How the agent talks to the server, as this node's identity.
    pub client: Client,
    /// The node's address; `None`: the one that the default route uses.
    pub node_ip: Option<IpAddr>,
    /// Labels besides the usual ones.
    pub labels: BTreeMap<String, String>,
    /// Resources besides the machine's own, such as `example.com/gpu`, by name.
    pub extended_resources: BTreeMap<String, u64>,
    /// Kernel parameters that pods may set besides the safe ones.
    pub allowed_unsafe_sysctls: Vec<SysctlPattern>,
    /// Processes and threads that a pod may have at a time; `None`: as many as the machine takes.
    pub pod_pids_max: Option<u64>,
    /// Mirrors, trust and credentials of registries.
    pub registries: Arc<RegistryConfig>,
    /// What a shim executes.
    pub shim_executable: ShimExecutable,
    /// Pauses between restarts of a crashing container.
    pub crash_pauses: Pauses,
    /// Pauses between failing pulls of an image.
    pub image_pauses: Pauses,
    /// When unused images are removed.
    pub image_gc: ImageGcPolicy,
    /// Berth's version, as the Node object shows it.
    pub version: String,
}

impl AgentConfig {
    /// A fork bomb must not take the process numbers of the whole machine, of which there may be as few as 32,768. A pod with
    /// more threads than this is rare; OpenShift has the same limit.
    pub const POD_PIDS_MAX: u64 = 4096;

    /// A configuration with nothing but what has no default.
    pub fn new(
        node_name: impl Into<String>,
        data_dir: impl Into<PathBuf>,
        cluster_id: ClusterId,
        pod_cidr: Ipv4Cidr,
        client: Client,
    ) -> AgentConfig {
        AgentConfig {
            node_name: node_name.into(),
            data_dir: data_dir.into(),
            cluster_id,
            pod_cidr,
            api: None,
            client,
            node_ip: None,
            labels: BTreeMap::new(),
            extended_resources: BTreeMap::new(),
            allowed_unsafe_sysctls: Vec::new(),
            pod_pids_max: Some(AgentConfig::POD_PIDS_MAX),
            registries: Arc::default(),
            shim_executable: ShimExecutable::Current,
            crash_pauses: Pauses::KUBELET,
            image_pauses: Pauses::KUBELET,
            image_gc: ImageGcPolicy::KUBELET,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Where an agent keeps its things.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) data_dir: PathBuf,
}

impl Layout {
    /// The image store.
    pub(crate) fn images(&self) -> PathBuf {
        self.data_dir.join("images")
    }

    /// A pod's own directory.
    pub(crate) fn pod(&self, uid: &str) -> PathBuf {
        self.data_dir.join("pods").join(uid)
    }

    /// All pods' directories.
    pub(crate) fn pods(&self) -> PathBuf {
        self.data_dir.join("pods")
    }

    /// A file system in memory for what must not reach a disk.
    pub(crate) fn memory(&self) -> PathBuf {
        self.data_dir.join("memory")
    }

    /// All pods' logs.
    pub(crate) fn logs(&self) -> PathBuf {
        self.data_dir.join("logs")
    }

    /// Where a pod's network namespace is mounted; it is known before the network is made.
    pub(crate) fn netns(&self, uid: &str) -> PathBuf {
        self.data_dir.join("netns").join(uid)
    }
}

/// The runtime's configuration for a data directory.
pub(crate) fn runtime(
    data_dir: &std::path::Path,
    cluster_id: &ClusterId,
    shim: ShimExecutable,
) -> RuntimeConfig {
    RuntimeConfig {
        run_dir: data_dir.join("run"),
        cgroup_root_name: format!("berth-{cluster_id}"),
        shim_executable: shim,
    }
}

/// The network's configuration for a data directory.
pub(crate) fn network(
    data_dir: &std::path::Path,
    cluster_id: &ClusterId,
    pod_cidr: Ipv4Cidr,
    api: Option<SocketAddrV4>,
) -> NetworkConfig {
    NetworkConfig {
        cluster_id: cluster_id.clone(),
        pod_cidr,
        api,
        data_dir: data_dir.to_owned(),
        spare_count: SPARE_COUNT_DEFAULT,
    }
}

/// When images that nobody uses are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageGcPolicy {
    /// When the images' file system is fuller than this, in percent, …
    pub high_percent: u64,
    /// … images are removed until it is not fuller than this.
    pub low_percent: u64,
    /// Images that have not been here, or unused, for longer than this stay, in milliseconds.
    pub age_ms_min: i64,
    /// How often the file system is looked at, in milliseconds.
    pub period_ms: u64,
}

impl ImageGcPolicy {
    /// The kubelet's: from 85 % down to 80 %, older than 2 minutes, every 5 minutes.
    pub const KUBELET: ImageGcPolicy =
        ImageGcPolicy { high_percent: 85, low_percent: 80, age_ms_min: 120_000, period_ms: 300_000 };
}
