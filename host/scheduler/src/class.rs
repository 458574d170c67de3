//! Classes: the scheduling projection of a pod, so that all copies of a template share one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::parse::{ContainerView, PodView, Term, Toleration};
use crate::quantities::{Dimensions, PODS};

/// Everything about a pod that can change where it may go or how nodes are rated for it, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Class {
    /// (dimension, amount), sorted, no zeros; one of [`PODS`] is always there.
    pub(crate) requests: Vec<(u16, i64)>,
    pub(crate) selector: Vec<(Box<str>, Box<str>)>,
    /// Any of these must match; `None`: no required affinity.
    pub(crate) affinity: Option<Vec<Term>>,
    pub(crate) preferred: Vec<(i32, Term)>,
    pub(crate) tolerations: Vec<Toleration>,
    pub(crate) ports: Vec<HostPort>,
    /// The values of the pod labels, then annotations, that policies subscribe to; empty where the pod has none.
    pub(crate) attributes: Vec<Box<str>>,
}

/// A port a pod wants on its node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct HostPort {
    pub(crate) port: u16,
    pub(crate) protocol: Box<str>,
    /// Empty and `0.0.0.0` are all addresses.
    pub(crate) ip: Box<str>,
}

impl HostPort {
    pub(crate) fn conflicts(&self, other: &Self) -> bool {
        let any = |ip: &str| matches!(ip, "" | "0.0.0.0" | "::");
        self.port == other.port
            && self.protocol == other.protocol
            && (any(&self.ip) || any(&other.ip) || self.ip == other.ip)
    }
}

/// The pod label and annotation keys that make classes: the union of what all installed policies subscribe to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(crate) labels: Vec<String>,
    pub(crate) annotations: Vec<String>,
}

impl Class {
    pub(crate) fn of(pod: &PodView, keys: &Keys, dimensions: &mut Dimensions) -> Self {
        let spec = &pod.spec;
        let mut tolerations = spec.tolerations.clone();
        tolerations.sort_unstable();
        tolerations.dedup();
        let affinity = &spec.affinity.node_affinity;
        let labels = keys.labels.iter().map(|key| pod.metadata.labels.get(key.as_str()));
        let annotations = keys.annotations.iter().map(|key| pod.metadata.annotations.get(key.as_str()));
        Self {
            requests: requests(pod, dimensions),
            selector: spec.node_selector.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            affinity: affinity.required.as_ref().map(|required| required.node_selector_terms.clone()),
            preferred: affinity.preferred.iter().map(|p| (p.weight, p.preference.clone())).collect(),
            tolerations,
            ports: host_ports(pod),
            attributes: labels.chain(annotations).map(|value| value.cloned().unwrap_or_default()).collect(),
        }
    }

    pub(crate) fn request(&self, dimension: usize) -> i64 {
        self.requests.iter().find(|(d, _)| usize::from(*d) == dimension).map_or(0, |(_, amount)| *amount)
    }
}

/// What the pod needs while it needs most: its containers together, or an init container beside the sidecars that
/// were started before it, plus the overhead. (KEP-753's formula.)
fn requests(pod: &PodView, dimensions: &mut Dimensions) -> Vec<(u16, i64)> {
    let mut running: BTreeMap<u16, i64> = BTreeMap::new();
    let mut peak: BTreeMap<u16, i64> = BTreeMap::new();
    for init in &pod.spec.init_containers {
        let own = amounts(init, dimensions);
        let sidecar = init.restart_policy == "Always";
        for (dimension, amount) in own {
            let before = running.entry(dimension).or_default();
            let top = peak.entry(dimension).or_default();
            *top = (*top).max(before.saturating_add(amount));
            if sidecar {
                *before = before.saturating_add(amount);
            }
        }
    }
    for container in &pod.spec.containers {
        for (dimension, amount) in amounts(container, dimensions) {
            let sum = running.entry(dimension).or_default();
            *sum = sum.saturating_add(amount);
        }
    }
    for (dimension, amount) in peak {
        let sum = running.entry(dimension).or_default();
        *sum = (*sum).max(amount);
    }
    for (dimension, amount) in dimensions.amounts(&pod.spec.overhead) {
        let sum = running.entry(dimension).or_default();
        *sum = sum.saturating_add(amount);
    }
    running.insert(PODS as u16, 1);
    running.into_iter().filter(|(_, amount)| *amount > 0).collect()
}

fn amounts(container: &ContainerView, dimensions: &mut Dimensions) -> Vec<(u16, i64)> {
    dimensions.amounts(&container.resources.requests)
}

fn host_ports(pod: &PodView) -> Vec<HostPort> {
    let containers = pod.spec.containers.iter().chain(&pod.spec.init_containers);
    let all = containers.flat_map(|container| &container.ports).filter(|port| port.host_port > 0);
    let mut ports: Vec<HostPort> = all
        .map(|port| HostPort {
            port: port.host_port,
            protocol: port.protocol.as_str().into(),
            ip: port.host_ip.as_str().into(),
        })
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// All classes that some pod has, by number. Numbers are not reused, so that a policy cannot mistake one for another.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    by_class: HashMap<Arc<Class>, u32>,
    by_id: HashMap<u32, (Arc<Class>, usize)>,
    next: u32,
}

impl Classes {
    /// The number of a class, with one more pod in it.
    pub(crate) fn join(&mut self, class: Class) -> u32 {
        if let Some(id) = self.by_class.get(&class).copied() {
            if let Some((_, pods)) = self.by_id.get_mut(&id) {
                *pods += 1;
            }
            return id;
        }
        let (id, class) = (self.next, Arc::new(class));
        self.next += 1;
        self.by_class.insert(class.clone(), id);
        self.by_id.insert(id, (class, 1));
        id
    }

    /// One pod less; returns whether it was the class's last.
    pub(crate) fn leave(&mut self, id: u32) -> bool {
        let Some((class, pods)) = self.by_id.get_mut(&id) else { return false };
        *pods -= 1;
        if *pods > 0 {
            return false;
        }
        self.by_class.remove(class);
        self.by_id.remove(&id);
        true
    }

    pub(crate) fn get(&self, id: u32) -> &Arc<Class> {
        &self.by_id[&id].0
    }

    pub(crate) fn contains(&self, id: u32) -> bool {
        self.by_id.contains_key(&id)
    }
}
