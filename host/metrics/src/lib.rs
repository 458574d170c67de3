//! What nodes measure of themselves and of their pods, as far back as a rate needs.
//!
//! Pure: who measures hands in what he read and when ([`NodeSample`]); who asks gets usage with the time and the window it
//! is of ([`PodUsage`], [`NodeUsage`]), or nothing where nothing is known. CPU time is counted in nanoseconds and used in
//! billionths of a processor, memory in bytes, times and windows in milliseconds.
//!
//! A rate is between the two latest samples of the same instance of a container: the counter of one that was started again
//! begins anew, and so does its rate. As in metrics-server, a pod has usage once all its running containers have a rate.

mod book;
mod exposition;
mod objects;
mod sample;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use berth_api::Timestamp;

use crate::book::Book;
pub use crate::exposition::{EXPOSITION_BYTES_MAX, Exposition, ExpositionError, Reader};
pub use crate::objects::{node_metrics, pod_metrics};
pub use crate::sample::{ContainerSample, NodeSample, PodSample};

/// How old usage may be, in milliseconds: four times the period in which nodes are asked, so that one answer may be lost and
/// another one late. What is older says nothing of now, and nobody is told of it.
pub const AGE_MS_MAX: i64 = 60_000;

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

/// What a node used, its pods and all else on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeUsage {
    /// The end of the window.
    pub at: Timestamp,
    /// Over how long, in milliseconds.
    pub window_ms: i64,
    /// Processors, in billionths.
    pub cpu_nanos: u64,
    /// The working set.
    pub memory_bytes: u64,
}

/// The latest usage of all pods and nodes. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    book: Arc<RwLock<Book>>,
}

impl Usage {
    /// What a pod used lately; `None` when that is not known or too long ago.
    pub fn pod(&self, uid: &str, now: Timestamp) -> Option<Arc<PodUsage>> {
        self.read(|book| book.pod(uid).cloned()).filter(|usage| is_of_now(usage.at, now))
    }

    /// What a node used lately; `None` when that is not known or too long ago.
    pub fn node(&self, name: &str, now: Timestamp) -> Option<NodeUsage> {
        self.read(|book| book.node(name)).filter(|usage| is_of_now(usage.at, now))
    }

    /// Takes in what a node measured and sent just now: all its pods. Those that it does not name any more are forgotten.
    pub fn sampled(&self, node: &str, sample: NodeSample, now: Timestamp) {
        self.write(|book| book.sampled(node, sample, now));
    }

    /// Takes in usage of a node and of all its pods, by uid, from whoever knows it without measuring, as simulated nodes do.
    pub fn told(&self, node: &str, usage: NodeUsage, pods: Vec<(String, PodUsage)>) {
        self.write(|book| book.told(node, usage, pods));
    }

    /// Forgets the nodes, with their pods, that have not been heard of for so long that nothing of them is of use.
    pub fn forget_silent(&self, now: Timestamp) {
        self.write(|book| book.forget_silent(now));
    }

    fn read<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.book.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, change: impl FnOnce(&mut Book)) {
        change(&mut self.book.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Whether usage of `at` still says something. What seems to come from the future does: the clock was set back.
fn is_of_now(at: Timestamp, now: Timestamp) -> bool {
    now.millis_since(at) <= AGE_MS_MAX
}
