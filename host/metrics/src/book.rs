//! The latest samples, and the usage that follows from two of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use berth_api::Timestamp;

use crate::sample::{ContainerSample, NodeSample, PodSample};
use crate::{AGE_MS_MAX, ContainerUsage, NodeUsage, PodUsage};

/// The shortest window, in microseconds. Over less than a second the ticks by which the kernel counts show, and two servers
/// that ask at nearly the same time would make peaks of nothing.
const WINDOW_MICROS_MIN: i64 = 1_000_000;

/// The longest: of what was that long ago, nobody is told either.
const WINDOW_MICROS_MAX: i64 = AGE_MS_MAX * 1000;

/// What is known of all nodes and pods.
#[derive(Debug, Default)]
pub(crate) struct Book {
    nodes: BTreeMap<String, Node>,
    pods: BTreeMap<String, Pod>,
}

#[derive(Debug)]
struct Node {
    heard: Timestamp,
    /// The counter, and when it was read; `None` of one that does not measure.
    last: Option<Counted>,
    usage: Option<NodeUsage>,
    /// Its pods.
    uids: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
struct Counted {
    moment_micros: i64,
    cpu_nanos: u64,
}

#[derive(Debug)]
struct Pod {
    node: Arc<str>,
    /// What was read last; `None` of one that is not measured.
    last: Option<Reading>,
    usage: Option<Arc<PodUsage>>,
}

/// The counters of a pod's containers.
#[derive(Debug)]
struct Reading {
    moment_micros: i64,
    containers: Vec<ContainerSample>,
}

impl Book {
    pub(crate) fn pod(&self, uid: &str) -> Option<&Arc<PodUsage>> {
        self.pods.get(uid)?.usage.as_ref()
    }

    pub(crate) fn node(&self, name: &str) -> Option<NodeUsage> {
        self.nodes.get(name)?.usage
    }

    pub(crate) fn sampled(&mut self, name: &str, sample: NodeSample, now: Timestamp) {
        let NodeSample { moment_micros, cpu_nanos, memory_bytes, pods } = sample;
        let old = self.nodes.remove(name);
        let (last, known) = old.map_or((None, None), |node| {
            let named: BTreeSet<&str> = pods.iter().map(|pod| &*pod.uid).collect();
            self.forget(name, &node.uids, |uid| named.contains(uid));
            (node.last, node.usage)
        });
        let read = Counted { moment_micros, cpu_nanos };
        let (last, usage) = match last.map(|last| (last, Window::between(last.moment_micros, moment_micros)))
        {
            Some((last, Window::TooShort)) => (last, known),
            Some((last, Window::Of(micros))) => {
                let cpu = rate(last.cpu_nanos, cpu_nanos, micros);
                let usage =
                    |cpu_nanos| NodeUsage { at: now, window_ms: micros / 1000, cpu_nanos, memory_bytes };
                (read, cpu.map(usage))
            }
            Some((_, Window::None)) | None => (read, None),
        };
        let uids = pods.iter().map(|pod| pod.uid.clone()).collect();
        let node: Arc<str> = name.into();
        pods.into_iter().for_each(|pod| self.pod_sampled(&node, pod, now));
        self.nodes.insert(name.to_owned(), Node { heard: now, last: Some(last), usage, uids });
    }

    pub(crate) fn told(&mut self, name: &str, usage: NodeUsage, pods: Vec<(String, PodUsage)>) {
        if let Some(old) = self.nodes.remove(name) {
            self.forget(name, &old.uids, |_| false);
        }
        let (node, uids) = (Arc::<str>::from(name), pods.iter().map(|(uid, _)| uid.clone()).collect());
        for (uid, usage) in pods {
            self.pods.insert(uid, Pod { node: node.clone(), last: None, usage: Some(Arc::new(usage)) });
        }
        let heard = usage.at;
        self.nodes.insert(name.to_owned(), Node { heard, last: None, usage: Some(usage), uids });
    }

    pub(crate) fn forget_silent(&mut self, now: Timestamp) {
        let is_silent = |_: &String, node: &mut Node| now.millis_since(node.heard) > AGE_MS_MAX;
        for (name, node) in self.nodes.extract_if(.., is_silent).collect::<Vec<_>>() {
            self.forget(&name, &node.uids, |_| false);
        }
    }

    fn pod_sampled(&mut self, node: &Arc<str>, sample: PodSample, now: Timestamp) {
        let PodSample { uid, moment_micros, containers, values } = sample;
        // Another node's clock has nothing to do with this one's.
        let known = self.pods.get(&uid).filter(|pod| pod.node == *node);
        let last = known.and_then(|pod| pod.last.as_ref());
        let window = last.map_or(Window::None, |last| Window::between(last.moment_micros, moment_micros));
        let usage = match (last, window) {
            (Some(last), Window::TooShort) if last.has_instances_of(&containers) => return,
            (Some(last), Window::Of(micros)) => last.rates(&containers, micros).map(|containers| {
                Arc::new(PodUsage { at: now, window_ms: micros / 1000, containers, values })
            }),
            _ => None,
        };
        let last = Some(Reading { moment_micros, containers });
        self.pods.insert(uid, Pod { node: node.clone(), last, usage });
    }

    /// Forgets these pods of a node but for those that `stay` there. One that is another node's by now is that one's affair.
    fn forget(&mut self, node: &str, uids: &[String], stay: impl Fn(&str) -> bool) {
        for uid in uids.iter().filter(|uid| !stay(uid)) {
            if self.pods.get(uid).is_some_and(|pod| *pod.node == *node) {
                self.pods.remove(uid);
            }
        }
    }
}

impl Reading {
    fn of(&self, container: &ContainerSample) -> Option<&ContainerSample> {
        let is_same =
            |last: &&ContainerSample| last.name == container.name && last.instance == container.instance;
        self.containers.iter().find(is_same)
    }

    /// Whether nothing was started or ended since.
    fn has_instances_of(&self, containers: &[ContainerSample]) -> bool {
        self.containers.len() == containers.len() && containers.iter().all(|one| self.of(one).is_some())
    }

    /// What the containers used since; `None` unless that is known of all, or when there are none.
    fn rates(&self, containers: &[ContainerSample], micros: i64) -> Option<Vec<ContainerUsage>> {
        let usage = |container: &ContainerSample| {
            let cpu_nanos = rate(self.of(container)?.cpu_nanos, container.cpu_nanos, micros)?;
            let ContainerSample { name, memory_bytes, .. } = container;
            Some(ContainerUsage { name: name.clone(), cpu_nanos, memory_bytes: *memory_bytes })
        };
        let mut usages = containers.iter().map(usage).collect::<Option<Vec<_>>>()?;
        usages.sort_by(|a, b| a.name.cmp(&b.name));
        (!usages.is_empty()).then_some(usages)
    }
}

/// The time between two samples.
enum Window {
    /// So many microseconds.
    Of(i64),
    /// Not long enough for a rate: the earlier sample stays.
    TooShort,
    /// The later one is earlier, or much later: the node was started anew or was silent for long. It begins with this sample.
    None,
}

impl Window {
    fn between(earlier: i64, later: i64) -> Self {
        match later.saturating_sub(earlier) {
            0..WINDOW_MICROS_MIN => Self::TooShort,
            micros @ WINDOW_MICROS_MIN..=WINDOW_MICROS_MAX => Self::Of(micros),
            _ => Self::None,
        }
    }
}

/// Billionths of a processor, from CPU time; `None` when the counter went back.
fn rate(before: u64, after: u64, micros: i64) -> Option<u64> {
    let used = u128::from(after.checked_sub(before)?) * 1_000_000;
    u64::try_from(used / u128::try_from(micros).ok()?).ok()
}

#[cfg(test)]
mod tests;
