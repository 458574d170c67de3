//! Taking in changes of nodes and pods.

use berth_api::Timestamp;
use berth_api::views;
use berth_state::{Key, Stored};

use super::{Scheduler, SharedStored};
use crate::class::Class;
use crate::pods::{Place, Pod};
use crate::policy::Manifest;

/// Pod label and annotation keys that policies may subscribe to altogether; further ones read as absent.
const KEYS_MAX: usize = 64;

impl Scheduler {
    pub(super) fn take_in(&mut self, key: &Key, new: Option<&SharedStored>, now: Timestamp) {
        match (&*key.resource, new) {
            ("nodes", Some(stored)) => self.node_changed(stored, now),
            ("nodes", None) => self.node_gone(&key.name),
            ("pods", Some(stored)) => self.pod_changed(stored, now),
            ("pods", None) => self.forget(key, now),
            _ => {}
        }
    }

    fn node_changed(&mut self, stored: &Stored, now: Timestamp) {
        // What cannot be read was not validated by this version; a node without fields offers nothing.
        let nothing = views::Node::default();
        let view = stored.view::<views::Node>().unwrap_or(&nothing);
        let new = self.nodes.find(&stored.key.name).is_none();
        if !self.nodes.upsert(&stored.key.name, stored.meta(), view) {
            return;
        }
        if let Some(slot) = self.nodes.find(&stored.key.name).filter(|_| new) {
            self.welcome(&stored.key.name, slot);
        }
        self.queue.something_changed(now);
    }

    /// Pods that were bound to a node before it was known take up their room on it.
    fn welcome(&mut self, node: &str, slot: u32) {
        let here = |pod: &Pod| matches!(&pod.place, Place::Elsewhere(name) if **name == *node);
        let ids: Vec<u64> = self.pods.iter().filter(|pod| here(pod)).map(|pod| pod.id).collect();
        for id in ids {
            self.occupy(id, slot);
        }
    }

    fn occupy(&mut self, id: u64, slot: u32) {
        if let Some(pod) = self.pods.get_mut(id) {
            pod.place = Place::Bound(slot);
            let class = self.classes.get(pod.class).clone();
            self.nodes.take(slot, &class);
            self.place_changed(id, 1);
        }
    }

    fn node_gone(&mut self, name: &str) {
        let Some(slot) = self.nodes.find(name) else { return };
        let mut ids: Vec<u64> =
            self.pods.iter().filter(|pod| pod.place.slot() == Some(slot)).map(|pod| pod.id).collect();
        ids.sort_unstable();
        for id in ids {
            self.vacate(id);
            if let Some(pod) = self.pods.get_mut(id) {
                pod.place = match pod.place {
                    // Its binding, if it becomes durable, is to a node that is gone; the change will say so.
                    Place::Assumed(_) | Place::Bound(_) => Place::Elsewhere(name.into()),
                    _ => Place::Waiting,
                };
            }
        }
        self.nodes.remove(name);
    }

    fn pod_changed(&mut self, stored: &SharedStored, now: Timestamp) {
        let node = stored.field("spec.nodeName").unwrap_or("");
        let finished = matches!(stored.field("status.phase"), Some("Succeeded" | "Failed"));
        let known = self.pods.find(&stored.key);
        let same = known.filter(|id| self.pods.get(*id).is_some_and(|pod| pod.uid() == &*stored.meta().uid));
        match same {
            _ if finished => self.forget(&stored.key, now),
            Some(id) if !node.is_empty() => self.pod_bound(id, stored, node, now),
            Some(id) => self.waiting_pod_changed(id, stored, now),
            None => {
                self.forget(&stored.key, now);
                self.pod_added(stored, node, now);
            }
        }
    }

    fn pod_added(&mut self, stored: &SharedStored, node: &str, now: Timestamp) {
        let Some(view) = stored.view::<views::Pod>() else { return };
        let class = self.classes.join(Class::of(stored.meta(), view, &self.keys, &mut self.nodes.dimensions));
        let id = self.pods.next_id();
        let since = stored.meta().creation_timestamp.unwrap_or(now);
        let pod = Pod {
            id,
            stored: stored.clone(),
            class,
            group: self.groups.join(stored, view),
            priority: view.priority,
            since,
            place: Place::Waiting,
            profile: self.profile_of(stored),
            told: String::new(),
        };
        let group = pod.group;
        self.pods.insert(pod);
        group.into_iter().for_each(|group| self.group_changed(group));
        if node.is_empty() {
            self.queue_if_ready(id, view);
        } else {
            self.settle(id, node);
        }
    }

    fn profile_of(&self, stored: &Stored) -> Option<usize> {
        let name = stored.field("spec.schedulerName").unwrap_or("default-scheduler");
        self.profiles.iter().position(|profile| profile.name == name)
    }

    /// The pods that wait for a profile of this name get it.
    pub(super) fn adopt(&mut self, name: &str) {
        for id in self.pods.ids() {
            let Some(pod) = self.pods.get(id).filter(|pod| pod.profile.is_none()) else { continue };
            let stored = pod.stored.clone();
            if stored.field("spec.schedulerName") != Some(name) {
                continue;
            }
            let (profile, waits) = (self.profile_of(&stored), pod.place == Place::Waiting);
            if let Some(pod) = self.pods.get_mut(id) {
                pod.profile = profile;
            }
            if let Some(view) = stored.view().filter(|_| waits) {
                self.queue_if_ready(id, view);
            }
        }
    }

    fn queue_if_ready(&mut self, id: u64, view: &views::Pod) {
        let Some(pod) = self.pods.get(id) else { return };
        let leaving = pod.stored.meta().deletion_timestamp.is_some();
        if pod.profile.is_some() && !leaving && !view.is_gated {
            self.queue.add(id, pod.priority, pod.since);
        }
    }

    /// A bound pod's room is on its node, known or not.
    fn settle(&mut self, id: u64, node: &str) {
        match self.nodes.find(node) {
            Some(slot) => self.occupy(id, slot),
            None => {
                if let Some(pod) = self.pods.get_mut(id) {
                    pod.place = Place::Elsewhere(node.into());
                }
            }
        }
    }

    fn pod_bound(&mut self, id: u64, stored: &SharedStored, node: &str, now: Timestamp) {
        self.queue.remove(id);
        let slot = self.nodes.find(node);
        let Some(pod) = self.pods.get_mut(id) else { return };
        pod.stored = stored.clone();
        match (&pod.place, slot) {
            (Place::Bound(at), Some(slot)) if *at == slot => return,
            (Place::Assumed(at), Some(slot)) if *at == slot => {
                pod.place = Place::Bound(slot);
                return;
            }
            (Place::Elsewhere(at), None) if **at == *node => return,
            _ => {}
        }
        self.vacate(id);
        self.settle(id, node);
        self.queue.something_changed(now); // somebody else bound it: what was assumed elsewhere is free
    }

    fn waiting_pod_changed(&mut self, id: u64, stored: &SharedStored, now: Timestamp) {
        let Some(view) = stored.view::<views::Pod>() else { return };
        let class = self.classes.join(Class::of(stored.meta(), view, &self.keys, &mut self.nodes.dimensions));
        let profile = self.profile_of(stored);
        let Some(pod) = self.pods.get_mut(id) else { return };
        let (before, was) = (pod.class, pod.profile);
        pod.stored = stored.clone();
        if matches!(pod.place, Place::Assumed(_)) {
            self.leave_class(class); // the binding is on its way; the class stays what it was decided by
            return;
        }
        let leaving = stored.meta().deletion_timestamp.is_some() || view.is_gated;
        let changed = class != before || profile != was || pod.priority != view.priority;
        pod.priority = view.priority;
        pod.profile = profile;
        if changed || leaving {
            self.give_up_nomination(id);
            self.queue.remove(id);
        }
        if let Some(pod) = self.pods.get_mut(id) {
            pod.class = class;
        }
        self.leave_class(before);
        if leaving {
            self.queue.something_changed(now);
        } else if changed || !self.queue.contains(id) {
            self.queue_if_ready(id, view);
        }
    }

    fn forget(&mut self, key: &Key, now: Timestamp) {
        let Some(id) = self.pods.find(key) else { return };
        self.vacate(id);
        self.queue.remove(id);
        let Some(pod) = self.pods.remove(id) else { return };
        self.leave_class(pod.class);
        if let Some(group) = pod.group {
            self.groups.leave(group);
            self.group_changed(group);
        }
        self.queue.something_changed(now);
    }

    /// Gives back the room a pod takes up.
    pub(super) fn vacate(&mut self, id: u64) {
        let Some(pod) = self.pods.get(id) else { return };
        let Some(slot) = pod.place.slot() else { return };
        let counted = !matches!(pod.place, Place::Nominated(_));
        let class = self.classes.get(pod.class).clone();
        self.nodes.release(slot, &class);
        if counted {
            self.place_changed(id, -1);
        }
    }

    /// Tells groups and policies that a pod got a place (1) or lost it (-1).
    pub(crate) fn place_changed(&mut self, id: u64, by: i32) {
        self.moment.places += 1;
        let Some(pod) = self.pods.get(id) else { return };
        let seen = (by > 0).then(|| pod.for_policy());
        let group = pod.group;
        for rater in raters(&mut self.profiles) {
            rater.mirror.pod_changed(id, seen);
        }
        if let Some(group) = group {
            self.groups.placed(group, by);
            self.group_changed(group);
        }
    }

    fn group_changed(&mut self, group: u32) {
        self.moment.places += 1;
        raters(&mut self.profiles).for_each(|rater| rater.mirror.group_changed(group));
    }

    fn leave_class(&mut self, class: u32) {
        if self.classes.leave(class) {
            raters(&mut self.profiles).for_each(|rater| rater.class_forgotten(class));
        }
    }

    /// From now on pods are told apart by the manifest's keys too.
    pub(super) fn subscribe(&mut self, manifest: &Manifest) {
        let before = self.keys.clone();
        add_keys(&mut self.keys.labels, &manifest.pod_labels);
        add_keys(&mut self.keys.annotations, &manifest.pod_annotations);
        if self.keys == before {
            return;
        }
        for id in self.pods.ids() {
            let Some(stored) = self.pods.get(id).map(|pod| pod.stored.clone()) else { continue };
            let Some(view) = stored.view::<views::Pod>() else { continue };
            let class =
                self.classes.join(Class::of(stored.meta(), view, &self.keys, &mut self.nodes.dimensions));
            let Some(pod) = self.pods.get_mut(id) else { continue };
            let old = std::mem::replace(&mut pod.class, class);
            let seen = Some(pod.for_policy()).filter(|pod| pod.slot != crate::policy::NO_SLOT);
            if let Some(seen) = seen {
                raters(&mut self.profiles).for_each(|rater| rater.mirror.pod_changed(id, Some(seen)));
            }
            self.leave_class(old);
        }
    }
}

fn add_keys(keys: &mut Vec<String>, wanted: &[String]) {
    for key in wanted {
        if keys.len() < KEYS_MAX && !keys.contains(key) {
            keys.push(key.clone());
        }
    }
}

fn raters(profiles: &mut [super::Profile]) -> impl Iterator<Item = &mut crate::rating::Rater> {
    profiles.iter_mut().flat_map(|profile| profile.rater.iter_mut().chain(Some(&mut profile.spare)))
}
