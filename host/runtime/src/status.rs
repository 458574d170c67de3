//! What a caller gets to know: states, exits, events and figures.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::spec::{ContainerSpec, PodSandboxSpec};

/// A container that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its first process, as the machine numbers it.
    pub pid: i32,
    /// When its program was executed.
    pub started_at: SystemTime,
    /// What was asked for but had to be clamped, one sentence each.
    pub warnings: Vec<String>,
}

/// How a container ended. Also the content of `exit.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// The exit code, or 128 + signal.
    pub code: i32,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// Whether the kernel killed one of its processes for want of memory. (The first process may still have ended
    /// with code 0.)
    pub oom_killed: bool,
    /// Why the figures above are what they are.
    pub cause: ExitCause,
    /// When it was started; `None` if it never was.
    pub started_at: Option<SystemTime>,
    /// When its end was noticed.
    pub finished_at: SystemTime,
}

/// How an [`ExitStatus`] came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitCause {
    /// The process ended and its shim saw how.
    Observed,
    /// The shim or the machine went down and took the exit code along; the code is 137, as the kubelet has it for
    /// `ContainerStatusUnknown`.
    Lost,
    /// It could not be started.
    NeverStarted,
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerPhase {
    /// Its namespaces and mounts are being made.
    Starting,
    /// Its program runs.
    Running(Started),
    /// Its program ended.
    Exited(ExitStatus),
}

/// A container as its shim, or else the run directory, knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerState {
    /// What it was started from.
    pub spec: ContainerSpec,
    /// Where it is in its life.
    pub phase: ContainerPhase,
}

/// A pod as found in the run directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodState {
    /// What it was made from.
    pub spec: PodSandboxSpec,
    /// Whether its shim lives. Without one no container can be started in it; remove it and make another.
    pub shim: ShimState,
    /// Its containers, by id.
    pub containers: Vec<ContainerState>,
}

/// Whether a pod can be worked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShimState {
    /// It answers.
    Alive,
    /// It is gone, and so are the pod's processes; what is left is the record of how its containers ended.
    Dead,
}

/// Something that happened in a pod. Events are repeated after a reconnection: take them by container id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A container ended.
    Exited {
        /// The pod.
        pod_id: String,
        /// The container.
        container_id: String,
        /// How.
        status: ExitStatus,
    },
    /// A pod's shim ended without having been asked to. [`PodHandle::state`](crate::PodHandle::state) tells what
    /// is known of its containers.
    ShimDied {
        /// The pod.
        pod_id: String,
    },
}

/// What a container or pod uses at present.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time used since it started, in nanoseconds.
    pub cpu_usage_ns: u64,
    /// Memory charged to it, page cache included.
    pub memory_usage_bytes: u64,
    /// Memory that cannot be reclaimed easily: usage without inactive page cache, as `kubectl top` shows it.
    pub memory_working_set_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
}
