//! What hollow nodes say that they and their pods use.

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_api::Timestamp;
use berth_api::views::{Pairs, Phase, Pod};
use berth_metrics::{NodeUsage, PodUsage};
use berth_state::{Key, State, Stored};
use serde::Deserialize;

use crate::HollowNodes;
use crate::load::{Circumstances, Container, Load};

/// What a node and its pods use.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeLoad {
    /// The node.
    pub name: Arc<str>,
    /// The node itself: as much as its pods.
    pub usage: NodeUsage,
    /// Its pods, by uid, but for those of which no annotation says anything.
    pub pods: Vec<(String, PodUsage)>,
}

impl HollowNodes {
    /// What the nodes use `now`, as if they had done so for the whole window. Silent ones are not among them.
    pub fn usage(&self, state: &State, now: Timestamp, window_ms: i64) -> Vec<NodeLoad> {
        let nothing = NodeUsage { at: now, window_ms, cpu_nanos: 0, memory_bytes: 0 };
        let speaking = self.nodes.iter().filter(|(_, node)| node.registered && !node.silent);
        let mut nodes: BTreeMap<&str, NodeLoad> = speaking
            .map(|(name, _)| (&**name, NodeLoad { name: name.clone(), usage: nothing, pods: Vec::new() }))
            .collect();
        let running = || state.list("pods", "").filter_map(|stored| Some((stored, running(stored)?)));
        let mut replicas: BTreeMap<&str, u32> = BTreeMap::new();
        for (stored, _) in running() {
            *replicas.entry(stored.controller().map_or("", |owner| &owner.uid)).or_default() += 1;
        }
        // The pods of a workload mostly say the same, and a long table is read once.
        let mut loads: BTreeMap<&Pairs, Option<Load>> = BTreeMap::new();
        for (stored, pod) in running() {
            let node = stored.field("spec.nodeName").and_then(|name| nodes.get_mut(name));
            let Some(node) = node else { continue };
            let load =
                loads.entry(&pod.annotations).or_insert_with(|| Load::read(&pod.annotations).ok().flatten());
            let Some(load) = load else { continue };
            let around = self.circumstances(state, stored, pod, &replicas);
            let usage = load.of(&containers(stored), around, now, window_ms);
            for container in &usage.containers {
                node.usage.cpu_nanos = node.usage.cpu_nanos.saturating_add(container.cpu_nanos);
                node.usage.memory_bytes = node.usage.memory_bytes.saturating_add(container.memory_bytes);
            }
            node.pods.push((stored.meta().uid.to_string(), usage));
        }
        nodes.into_values().collect()
    }

    fn circumstances(
        &self,
        state: &State,
        stored: &Stored,
        pod: &Pod,
        replicas: &BTreeMap<&str, u32>,
    ) -> Circumstances {
        let started = pod.ready_since.or(stored.meta().creation_timestamp).unwrap_or_default();
        let Some(owner) = stored.controller() else {
            return Circumstances { started, shared_since: started, replicas: 1 };
        };
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        let controller = self.catalogue.of_kind(group, &owner.kind).and_then(|resource| {
            state.get(&Key::new(resource.id.clone(), stored.key.namespace.clone(), &*owner.name))
        });
        let made = controller.and_then(|controller| controller.meta().creation_timestamp);
        Circumstances {
            started,
            shared_since: made.unwrap_or(started),
            replicas: replicas.get(&*owner.uid).copied().unwrap_or(1),
        }
    }
}

/// The pod's containers: of all that is stored no more is read, for there may be a hundred thousand pods.
fn containers(stored: &Stored) -> Vec<Container> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Spec {
        containers: Vec<Container>,
    }

    #[derive(Deserialize)]
    struct Object {
        spec: Spec,
    }

    serde_json::from_slice(stored.bytes())
        .map_or_else(|_| Vec::new(), |object: Object| object.spec.containers)
}

/// What there is to see of a pod that runs and is not about to go.
fn running(stored: &Stored) -> Option<&Pod> {
    let pod = stored.view::<Pod>()?;
    (pod.phase == Phase::Running && stored.meta().deletion_timestamp.is_none()).then_some(pod)
}

#[cfg(test)]
mod tests;
