//! The pods the scheduler knows: those that wait and those that take up room.

use std::collections::HashMap;
use std::sync::Arc;

use berth_api::Timestamp;
use berth_state::{Key, Stored};

use crate::policy::{self, NO_GROUP, NO_SLOT, PodFlags};

/// Where a pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the queue, or with a scheduler of another name.
    Waiting,
    /// In the queue, with room kept on a slot until evicted pods have left it.
    Nominated(u32),
    /// Decided, but the binding is not durable yet.
    Assumed(u32),
    /// Bound.
    Bound(u32),
    /// Bound to a node that is not known (yet).
    Elsewhere(Box<str>),
}

impl Place {
    /// The slot on which the pod takes up room.
    pub(crate) fn slot(&self) -> Option<u32> {
        match self {
            Self::Nominated(slot) | Self::Assumed(slot) | Self::Bound(slot) => Some(*slot),
            Self::Waiting | Self::Elsewhere(_) => None,
        }
    }
}

/// One pod.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) id: u64,
    pub(crate) stored: Arc<Stored>,
    pub(crate) class: u32,
    pub(crate) group: Option<u32>,
    pub(crate) priority: i32,
    pub(crate) since: Timestamp,
    pub(crate) place: Place,
    /// Index of the profile that schedules it; `None`: a scheduler of another name does.
    pub(crate) profile: Option<usize>,
    /// What was last said about why it waits, so that it is not said again.
    pub(crate) told: String,
}

impl Pod {
    pub(crate) fn key(&self) -> &Key {
        &self.stored.key
    }

    pub(crate) fn uid(&self) -> &str {
        &self.stored.meta().uid
    }

    /// Whether the stored pod has a node, whatever was decided.
    pub(crate) fn is_bound(&self) -> bool {
        self.stored.field("spec.nodeName").is_some_and(|node| !node.is_empty())
    }

    /// The pod as policies see it.
    pub(crate) fn for_policy(&self) -> policy::Pod {
        policy::Pod {
            id: self.id,
            since_ms: self.since.micros().max(0) as u64 / 1000,
            class: self.class,
            group: self.group.unwrap_or(NO_GROUP),
            priority: self.priority,
            slot: match self.place {
                Place::Bound(slot) | Place::Assumed(slot) => slot,
                _ => NO_SLOT,
            },
            flags: if self.stored.meta().deletion_timestamp.is_none() {
                PodFlags::EVICTABLE
            } else {
                PodFlags::default()
            },
        }
    }
}

/// All pods, by number and by name.
#[derive(Debug, Default)]
pub(crate) struct Pods {
    by_key: HashMap<Key, u64>,
    by_id: HashMap<u64, Pod>,
    last: u64,
}

impl Pods {
    /// A number for a new pod; never given again.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(crate) fn insert(&mut self, pod: Pod) {
        self.by_key.insert(pod.key().clone(), pod.id);
        self.by_id.insert(pod.id, pod);
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Pod> {
        let pod = self.by_id.remove(&id)?;
        self.by_key.remove(pod.key());
        Some(pod)
    }

    pub(crate) fn find(&self, key: &Key) -> Option<u64> {
        self.by_key.get(key).copied()
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Pod> {
        self.by_id.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Pod> {
        self.by_id.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pod> {
        self.by_id.values()
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        let mut ids: Vec<u64> = self.by_id.keys().copied().collect();
        ids.sort_unstable(); // hash order must not leak into what policies see
        ids
    }

    /// The pods that have a node, as policies see them.
    pub(crate) fn bound(&self) -> impl Iterator<Item = policy::Pod> + '_ {
        self.iter().map(Pod::for_policy).filter(|pod| pod.slot != NO_SLOT)
    }
}
