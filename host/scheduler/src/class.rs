//! Classes: the scheduling projection of a pod, so that all copies of a template share one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use berth_api::select::Labels;
use berth_api::views::{HostPort, Pairs, Pod, Term, Toleration};
use berth_state::Meta;

use crate::quantities::{Dimensions, PODS};

/// Everything about a pod that can change where it may go or how nodes are rated for it, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Class {
    /// (dimension, amount), sorted, no zeros; one of [`PODS`] is always there.
    pub(crate) requests: Vec<(u16, i64)>,
    pub(crate) selector: Pairs,
    /// Any of these must match; `None`: no required affinity.
    pub(crate) affinity: Option<Vec<Term>>,
    pub(crate) preferred: Vec<(i32, Term)>,
    pub(crate) tolerations: Vec<Toleration>,
    pub(crate) ports: Vec<HostPort>,
    /// The values of the pod labels, then annotations, that policies subscribe to; empty where the pod has none.
    pub(crate) attributes: Vec<Box<str>>,
}

/// The pod label and annotation keys that make classes: the union of what all installed policies subscribe to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(crate) labels: Vec<String>,
    pub(crate) annotations: Vec<String>,
}

impl Class {
    /// The class of a pod, given as its labels and its view.
    pub(crate) fn of(labels: &Meta, pod: &Pod, keys: &Keys, dimensions: &mut Dimensions) -> Self {
        let rare = pod.rare();
        // For how long a taint is tolerated matters to eviction only.
        let for_ever =
            |toleration: &Toleration| Toleration { toleration_seconds: None, ..toleration.clone() };
        let mut tolerations: Vec<Toleration> = pod.tolerations.iter().map(for_ever).collect();
        tolerations.sort_unstable();
        tolerations.dedup();
        let labels = keys.labels.iter().map(|key| labels.label(key));
        let annotations = keys.annotations.iter().map(|key| pod.annotations.get(key));
        Self {
            requests: requests(pod, dimensions),
            selector: rare.node_selector.clone(),
            affinity: rare.required.as_ref().map(|terms| terms.to_vec()),
            preferred: rare.preferred.iter().map(|p| (p.weight, p.preference.clone())).collect(),
            tolerations,
            ports: host_ports(pod),
            attributes: labels.chain(annotations).map(|value| value.unwrap_or_default().into()).collect(),
        }
    }

    pub(crate) fn request(&self, dimension: usize) -> i64 {
        self.requests.iter().find(|(d, _)| usize::from(*d) == dimension).map_or(0, |(_, amount)| *amount)
    }
}

/// What the pod needs while it needs most: its containers together, or an init container beside the sidecars that
/// were started before it, plus the overhead. (KEP-753's formula.)
fn requests(pod: &Pod, dimensions: &mut Dimensions) -> Vec<(u16, i64)> {
    let mut running: BTreeMap<u16, i64> = BTreeMap::new();
    let mut peak: BTreeMap<u16, i64> = BTreeMap::new();
    for init in &pod.rare().init_containers {
        let own = dimensions.amounts(&init.requests);
        for (dimension, amount) in own {
            let before = running.entry(dimension).or_default();
            let top = peak.entry(dimension).or_default();
            *top = (*top).max(before.saturating_add(amount));
            if init.is_sidecar {
                *before = before.saturating_add(amount);
            }
        }
    }
    for container in &pod.containers {
        for (dimension, amount) in dimensions.amounts(&container.requests) {
            let sum = running.entry(dimension).or_default();
            *sum = sum.saturating_add(amount);
        }
    }
    for (dimension, amount) in peak {
        let sum = running.entry(dimension).or_default();
        *sum = (*sum).max(amount);
    }
    for (dimension, amount) in dimensions.amounts(&pod.rare().overhead) {
        let sum = running.entry(dimension).or_default();
        *sum = sum.saturating_add(amount);
    }
    running.insert(PODS as u16, 1);
    running.into_iter().filter(|(_, amount)| *amount > 0).collect()
}

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let containers = pod.containers.iter().chain(&pod.rare().init_containers);
    let mut ports: Vec<HostPort> = containers.flat_map(|container| &container.host_ports).cloned().collect();
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
