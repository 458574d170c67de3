//! What nodes measure of themselves and of their pods, as far back as a rate needs.
//!
//! Pure: who measures hands in what he read and when; who asks gets usage with the time and the window it is of.

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_api::Timestamp;

/// What a pod used.
#[derive(Clone, Debug, PartialEq)]
pub struct PodUsage {
    /// The end of the window.
    pub at: Timestamp,
    /// Over how long, in milliseconds.
    pub window_ms: i64,
    /// Its running containers, by name.
    pub containers: Vec<ContainerUsage>,
    /// What it says of itself (`prometheus.io/scrape`): sums over a metric's series, in thousandths.
    pub values: BTreeMap<String, i64>,
}

/// What a container used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerUsage {
    /// Its name.
    pub name: String,
    /// Processors, in billionths.
    pub cpu_nanos: u64,
    /// The working set: memory that cannot be taken back when it is scarce.
    pub memory_bytes: u64,
}

/// The latest usage of all pods and nodes. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Usage {}

impl Usage {
    /// What a pod used lately; `None` when that is not known or too long ago.
    pub fn pod(&self, _uid: &str, _now: Timestamp) -> Option<Arc<PodUsage>> {
        None
    }
}
