//! What a caller asks for: the sandbox of a pod and the containers in it.
//!
//! The terms are those of the OCI runtime specification 1.2 where it has one; the values are final. The agent has
//! already merged image configuration, pod spec and defaults; nothing here is looked up again, except user and
//! group names, which only the container's own `/etc/passwd` and `/etc/group` can answer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::capabilities::Capability;
use crate::{FILL_MS_MAX, START_MS_MAX};

/// Longest pod or container id accepted. An id becomes a file and a cgroup name, and `NAME_MAX` is 255.
pub const ID_BYTES_MAX: usize = 128;

/// The sandbox a pod's containers share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSandboxSpec {
    /// The pod's UID: letters, digits, `-`, `_` and `.`; at most [`ID_BYTES_MAX`] bytes.
    pub id: String,
    /// Host name seen in the pod's UTS namespace. Ignored when [`Self::network`] is [`NetworkNamespace::Host`],
    /// because such a pod keeps the machine's name, as under the kubelet.
    pub hostname: String,
    /// Which network the containers see.
    pub network: NetworkNamespace,
    /// Whose processes the containers see.
    pub pid: PidNamespace,
    /// Whose System V IPC objects, POSIX queues and `/dev/shm` the containers see.
    pub ipc: IpcNamespace,
    /// Kernel parameters, by dotted name (`net.ipv4.conf.eth0/1.forwarding` is that of `eth0.1`). Only namespaced ones are accepted: `net.*` (not with the host's network),
    /// `kernel.shm*`, `kernel.msg*`, `kernel.sem` and `fs.mqueue.*` (not with the host's IPC).
    pub sysctls: BTreeMap<String, String>,
    /// Limits for the pod as a whole; each container has its own besides.
    pub resources: Resources,
    /// Size of the `/dev/shm` that the pod's containers share.
    pub shm_size_bytes: u64,
}

impl PodSandboxSpec {
    /// A sandbox with its own namespaces, no limits and a `/dev/shm` of 64 MiB (Docker's and the kubelet's default).
    pub fn new(id: impl Into<String>, network: NetworkNamespace) -> Self {
        let id = id.into();
        PodSandboxSpec {
            hostname: id.clone(),
            id,
            network,
            pid: PidNamespace::Container,
            ipc: IpcNamespace::Pod,
            sysctls: BTreeMap::new(),
            resources: Resources::default(),
            shm_size_bytes: 64 << 20,
        }
    }
}

/// Where a kernel parameter is below `/proc/sys`: dots separate the parts of its name, and a slash stands for a dot in one
/// of them.
pub(crate) fn sysctl_path(name: &str) -> String {
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    name.chars().map(swap).collect()
}

/// Which network namespace a pod uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkNamespace {
    /// The machine's (`hostNetwork: true`).
    Host,
    /// One made by somebody else and bind-mounted at this path. It is opened when the first container starts, so
    /// [`Runtime::create_pod`](crate::Runtime::create_pod) may run while the network is still being made.
    Path(PathBuf),
    /// A new one with nothing but the loopback interface.
    New,
}

/// Which PID namespace a container uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PidNamespace {
    /// One for each container: its first process is PID 1, and its death ends all others.
    Container,
    /// One for the pod (`shareProcessNamespace: true`); PID 1 is a process of the shim that reaps orphans.
    Pod,
    /// The machine's (`hostPID: true`).
    Host,
}

/// Which IPC namespace a pod uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpcNamespace {
    /// One of its own.
    Pod,
    /// The machine's (`hostIPC: true`).
    Host,
}

/// Limits enforced by cgroups. `None` means: no limit of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Relative CPU weight in cgroup v1 terms (2 to 262144, 1024 is one CPU's worth); translated for v2.
    pub cpu_shares: Option<u64>,
    /// CPU time allowed in each period, in microseconds.
    pub cpu_quota_us: Option<u64>,
    /// Length of a period in microseconds (1,000 to 1,000,000); 100,000 when a quota is given without it.
    pub cpu_period_us: Option<u64>,
    /// Memory, in bytes; more makes the kernel kill a process of the container. Swap is not added to it.
    pub memory_limit_bytes: Option<u64>,
    /// Number of processes and threads.
    pub pids_max: Option<u64>,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Unique in its pod, and new for each attempt: letters, digits, `-`, `_` and `.`.
    pub id: String,
    /// The name in the pod spec.
    pub name: String,
    /// How often this container was started before.
    pub attempt: u32,
    /// Where its root file system comes from.
    pub rootfs: Rootfs,
    /// Whether the container may write to its root file system.
    pub readonly_rootfs: bool,
    /// The whole command line; the first is looked up in the container's `PATH` when it has no slash.
    pub args: Vec<String>,
    /// Environment, in order; a later entry replaces an earlier one of that name. `PATH` and `HOME` get the usual
    /// values when missing.
    pub env: Vec<(String, String)>,
    /// Working directory; made when it is missing, as Docker does. Must be absolute.
    pub cwd: PathBuf,
    /// Who runs it.
    pub user: User,
    /// Besides the standard mounts (`/proc`, `/dev`, `/sys`, …), in order.
    pub mounts: Vec<Mount>,
    /// Device nodes besides the standard ones.
    pub devices: Vec<Device>,
    /// The capabilities it may have; see [`capabilities::docker_default`](crate::capabilities::docker_default).
    pub capabilities: BTreeSet<Capability>,
    /// `securityContext.privileged`: all capabilities and devices, nothing masked, `/sys` writable, no seccomp.
    pub privileged: bool,
    /// Sets `no_new_privs` (`allowPrivilegeEscalation: false`).
    pub no_new_privs: bool,
    /// Which system calls it may make. Ignored when privileged.
    pub seccomp: Seccomp,
    /// Paths hidden from it; [`default_masked_paths`] unless `procMount: Unmasked`. Ignored when privileged.
    pub masked_paths: Vec<PathBuf>,
    /// Paths it may only read; [`default_readonly_paths`] likewise.
    pub readonly_paths: Vec<PathBuf>,
    /// Resource limits of the process; those not named are inherited.
    pub rlimits: Vec<Rlimit>,
    /// Its cgroup's limits.
    pub resources: Resources,
    /// −1000 to 1000; a value the host does not permit is clamped to the nearest one, with a warning.
    pub oom_score_adj: i32,
    /// How its standard streams are connected.
    pub stdio: Stdio,
    /// The CRI log file; its directory is made when missing. It is rotated, see [`LOG_BYTES_MAX`].
    pub log_path: PathBuf,
}

impl ContainerSpec {
    /// A container as Docker would start it with no options: root, default capabilities, seccomp and masked paths.
    pub fn new(
        id: impl Into<String>,
        rootfs: Rootfs,
        args: Vec<String>,
        log_path: impl Into<PathBuf>,
    ) -> Self {
        let id = id.into();
        ContainerSpec {
            name: id.clone(),
            id,
            attempt: 0,
            rootfs,
            readonly_rootfs: false,
            args,
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            user: User::default(),
            mounts: Vec::new(),
            devices: Vec::new(),
            capabilities: crate::capabilities::docker_default(),
            privileged: false,
            no_new_privs: false,
            seccomp: Seccomp::DockerDefault,
            masked_paths: default_masked_paths(),
            readonly_paths: default_readonly_paths(),
            rlimits: Vec::new(),
            resources: Resources::default(),
            oom_score_adj: 0,
            stdio: Stdio::Pipes { stdin: Stdin::Empty },
            log_path: log_path.into(),
        }
    }

    /// How long its start may take.
    pub(crate) fn start_ms_max(&self) -> u64 {
        let is_filled = |mount: &Mount| matches!(mount.source, MountSource::ImageVolume { .. });
        START_MS_MAX + if self.mounts.iter().any(is_filled) { FILL_MS_MAX } else { 0 }
    }
}

/// A container's log file is rotated when it is larger than this: the kubelet's `containerLogMaxSize`.
pub const LOG_BYTES_MAX: u64 = 10 << 20;

/// Log files kept for a container, the current one included: the kubelet's `containerLogMaxFiles`. The older ones
/// have `.1` (the youngest) to `.4` appended.
pub const LOG_FILES_MAX: u32 = 5;

/// Where a root file system comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rootfs {
    /// An overlay, mounted in the container's own mount namespace, so that it goes away with it. It is mounted
    /// `volatile`: what a container writes outside its volumes is thrown away after a crash of the machine anyway.
    Overlay {
        /// Unpacked layers, the base layer **first** (the order of the image's manifest).
        lowers: Vec<PathBuf>,
        /// The writable layer: an existing, empty directory. It serves one start; after one that has failed, too,
        /// both must be made anew (the kernel refuses a volatile layer a second time).
        upper: PathBuf,
        /// An existing, empty directory on the same file system as `upper`.
        work: PathBuf,
    },
    /// A directory used as it is.
    Directory(PathBuf),
}

/// Who runs a process, resolved against the container's own `/etc/passwd` and `/etc/group`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The image's `User`: ``, `name`, `uid`, `name:group` or `uid:gid`.
    pub image_user: String,
    /// `runAsUser`; stronger than [`Self::image_user`].
    pub uid: Option<u32>,
    /// `runAsGroup`; else the user's group in `/etc/passwd`, else 0.
    pub gid: Option<u32>,
    /// `supplementalGroups` and `fsGroup`; the groups the user has in `/etc/group` are added.
    pub additional_gids: Vec<u32>,
    /// `runAsNonRoot`: refuse to start as uid 0 with [`StartErrorKind::RootRefused`](crate::StartErrorKind).
    pub must_not_be_root: bool,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path in the container, resolved without ever leaving its root; made when missing.
    pub destination: PathBuf,
    /// What is mounted.
    pub source: MountSource,
    /// Whether the container may only read it.
    pub read_only: bool,
    /// Whether mounts made later on one side appear on the other.
    pub propagation: Propagation,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A directory or file of the machine with all that is mounted below it. It must exist.
    Bind {
        /// Absolute path on the machine.
        path: PathBuf,
        /// A path below it to mount instead (`subPath`); made as a directory with the permissions of `path` when
        /// missing. Links that lead out of `path` are refused.
        sub_path: Option<PathBuf>,
    },
    /// A volume that the image declares: filled with what the root file system has at the destination, owners,
    /// permissions, attributes and links included, before anything is mounted there.
    ImageVolume {
        /// An existing, empty directory of the machine.
        path: PathBuf,
    },
    /// A new, empty file system in memory.
    Tmpfs {
        /// Its size, or half of the machine's memory.
        size_bytes: Option<u64>,
        /// Permissions of its root directory, for example 0o1777.
        mode: u32,
    },
}

/// Mount propagation, in the pod spec's terms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// `None`: rprivate.
    #[default]
    Private,
    /// `HostToContainer`: rslave.
    HostToContainer,
    /// `Bidirectional`: rshared.
    Bidirectional,
}

/// A device node given to the container, as `docker run --device`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The node on the machine.
    pub host_path: PathBuf,
    /// The node in the container.
    pub container_path: PathBuf,
    /// Some of `r`, `w` and `m`.
    pub permissions: String,
}

/// A system call filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// Docker's default profile for the container's capabilities (`RuntimeDefault`).
    DockerDefault,
    /// No filter (`Unconfined`).
    Unconfined,
}

/// A limit of the process, as `setrlimit(2)`. A hard limit above what the host permits is clamped, with a warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Name as in the OCI specification: `RLIMIT_NOFILE`.
    pub kind: String,
    /// Soft limit; `u64::MAX` means unlimited.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// How a container's or an exec'd process's standard streams are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdio {
    /// A pipe for each stream.
    Pipes {
        /// What it reads.
        stdin: Stdin,
    },
    /// A terminal (`tty: true`) for all three; its output is logged as `stdout`.
    Terminal {
        /// Rows and columns; a later resize changes them.
        size: TerminalSize,
    },
}

/// What a process reads from its standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// Nothing: `/dev/null`.
    Empty,
    /// A pipe that stays open however often clients attach (`stdin: true`).
    Open,
    /// A pipe that ends when the first attached client ends (`stdin: true, stdinOnce: true`).
    Once,
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

impl Default for TerminalSize {
    fn default() -> Self {
        TerminalSize { rows: 24, columns: 80 }
    }
}

/// A process to run in a running container. It gets the container's capabilities, seccomp filter, `no_new_privs`,
/// rlimits, cgroup and environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// The whole command line.
    pub args: Vec<String>,
    /// Added to the container's environment.
    pub env: Vec<(String, String)>,
    /// Another user than the container's.
    pub user: Option<User>,
    /// Another working directory than the container's.
    pub cwd: Option<PathBuf>,
    /// How its streams are connected. With [`Stdin::Open`] or [`Stdin::Once`] the caller gets a pipe.
    pub stdio: Stdio,
    /// When the caller goes, its process group gets a hang-up (SIGHUP), as from a terminal whose line is cut. What
    /// ignores that, as under `nohup`, goes on.
    #[serde(default)]
    pub hang_up: bool,
}

impl ExecSpec {
    /// A command without a terminal and without standard input.
    pub fn new(args: Vec<String>) -> Self {
        let stdio = Stdio::Pipes { stdin: Stdin::Empty };
        ExecSpec { args, env: Vec::new(), user: None, cwd: None, stdio, hang_up: false }
    }
}

/// What Docker and the kubelet (`procMount: Default`) hide from a container.
pub fn default_masked_paths() -> Vec<PathBuf> {
    [
        "/proc/acpi",
        "/proc/asound",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/sys/devices/virtual/powercap",
        "/sys/firmware",
    ]
    .map(PathBuf::from)
    .to_vec()
}

/// What Docker and the kubelet (`procMount: Default`) make read-only for a container.
pub fn default_readonly_paths() -> Vec<PathBuf> {
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"].map(PathBuf::from).to_vec()
}
