//! What a node reads: counters, and when.

use std::collections::BTreeMap;

/// What a node read of itself and of its pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeSample {
    /// When it read its own figures, in microseconds of a clock of its own that nobody sets: only differences mean something.
    pub moment_micros: i64,
    /// CPU time of the whole machine, in nanoseconds since its start.
    pub cpu_nanos: u64,
    /// The machine's working set.
    pub memory_bytes: u64,
    /// Its pods that run.
    pub pods: Vec<PodSample>,
}

/// What a node read of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodSample {
    /// The pod.
    pub uid: String,
    /// When, by the same clock.
    pub moment_micros: i64,
    /// Its containers that run.
    pub containers: Vec<ContainerSample>,
    /// What it says of itself, as [`PodUsage::values`](crate::PodUsage::values).
    pub values: BTreeMap<String, i64>,
}

/// What a node read of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerSample {
    /// Its name.
    pub name: String,
    /// Which instance it is: another one after every restart.
    pub instance: String,
    /// CPU time since the instance was started, in nanoseconds.
    pub cpu_nanos: u64,
    /// Its working set.
    pub memory_bytes: u64,
}
