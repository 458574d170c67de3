//! Which work a change makes, and the one place where work is handed to its controller.

use std::collections::HashMap;
use std::sync::Arc;

use berth_api::{Catalogue, Timestamp};
use berth_pipeline::Kinds;
use berth_pipeline::kinds::DEFINITIONS;
use berth_state::{Change, Key, State, Stored};

use crate::outcome::Outcome;
use crate::queue::Queue;
use crate::requests::Writer;
use crate::{definition, deployment, events, eviction, garbage, namespace, node, replicaset};

/// The controllers of this issue. Each reconciles one object from the state alone; changes only wake it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Controller {
    /// Rolls out pod templates through ReplicaSets.
    Deployment,
    /// Keeps the number of pods.
    ReplicaSet,
    /// Furnishes new namespaces and empties those that are deleted.
    Namespace,
    /// Marks nodes whose lease ran out.
    NodeLifecycle,
    /// Deletes pods from nodes with `NoExecute` taints, and pods of nodes that are gone.
    Eviction,
    /// Deletes what has lost its owners; carries out foreground and orphan deletion.
    Garbage,
    /// Deletes old events.
    EventExpiry,
    /// Gives custom kinds their names, and lets definitions go after their objects.
    Definition,
}

impl Controller {
    const ALL: [Self; 8] = [
        Self::Deployment,
        Self::ReplicaSet,
        Self::Namespace,
        Self::NodeLifecycle,
        Self::Eviction,
        Self::Garbage,
        Self::EventExpiry,
        Self::Definition,
    ];

    /// The name under which the controller writes and tells events, kube-controller-manager's own.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deployment => "deployment-controller",
            Self::ReplicaSet => "replicaset-controller",
            Self::Namespace => "namespace-controller",
            Self::NodeLifecycle => "node-controller",
            Self::Eviction => "taint-eviction-controller",
            Self::Garbage => "garbage-collector-controller",
            Self::EventExpiry => "event-expiry-controller",
            Self::Definition => "crd-controller",
        }
    }
}

/// One object for one controller to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Work {
    /// Who looks.
    pub controller: Controller,
    /// At which object.
    pub key: Key,
}

/// What controllers must know of their cluster.
#[derive(Clone)]
pub struct Config {
    /// Which kinds are served.
    pub kinds: Arc<Kinds>,
    /// The cluster's CA certificate in PEM, for the ConfigMap `kube-root-ca.crt` of every namespace.
    pub ca_certificate: String,
}

/// The queue of work and the controllers.
pub struct Manager {
    config: Config,
    /// The kinds of the state that was looked at last, as the writers have them.
    catalogue: Arc<Catalogue>,
    writers: Vec<Writer>,
    queue: Queue<Work>,
    failures: HashMap<Work, String>,
    eviction: eviction::Memory,
}

impl Manager {
    /// A manager with nothing to do; call [`Manager::resync`] when the state is there.
    pub fn new(config: Config) -> Self {
        let config = Config { kinds: Arc::new(config.kinds.follower()), ..config };
        let catalogue = Arc::new(config.kinds.built_in().clone());
        let writers = Controller::ALL.iter().map(|c| Writer::new(c.name(), catalogue.clone())).collect();
        Self {
            config,
            catalogue,
            writers,
            queue: Queue::new(),
            failures: HashMap::new(),
            eviction: eviction::Memory::default(),
        }
    }

    /// Looks at everything once: after a start, or when the change feed was lost.
    pub fn resync(&mut self, state: &State) {
        for stored in state.iter() {
            self.concerns(state, stored);
        }
    }

    /// Queues the work that a change makes. `state` holds the change already.
    pub fn on_change(&mut self, state: &State, change: &Change) {
        if &*change.latest().key.resource == "nodes" {
            self.eviction.node_changed(change);
        }
        self.concerns(state, change.latest());
        if let (Some(old), Some(_)) = (&change.old, &change.new) {
            self.wake_owners(state, old); // a pod that was let go concerns the owner it had
        }
        if change.new.is_none() {
            self.gone(state, change.latest());
        }
    }

    /// The next thing to look at, if anything is due.
    pub fn next(&mut self, now: Timestamp) -> Option<Work> {
        self.queue.pop(now)
    }

    /// When [`Manager::next`] will have something without a further change; `None`: not before one.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        self.queue.next_due(now)
    }

    /// What the work's controller wants done.
    pub fn reconcile(&mut self, work: &Work, state: &State, now: Timestamp) -> Outcome {
        let Some(stored) = state.get(&work.key) else { return Outcome::default() };
        self.know_kinds(state);
        let writer = &self.writers[work.controller as usize];
        match work.controller {
            Controller::Deployment => deployment::reconcile(writer, state, stored, now),
            Controller::ReplicaSet => {
                let failure = self.failures.get(work).map(String::as_str);
                replicaset::reconcile(writer, state, stored, failure, now)
            }
            Controller::Namespace => namespace::reconcile(writer, state, stored, &self.config, now),
            Controller::NodeLifecycle => node::reconcile(writer, state, stored, now),
            Controller::Eviction => eviction::reconcile(writer, state, stored, &mut self.eviction, now),
            Controller::Garbage => garbage::reconcile(writer, state, stored),
            Controller::EventExpiry => events::expire(writer, stored, now),
            Controller::Definition => {
                let built_in = self.config.kinds.built_in().iter().cloned();
                definition::reconcile(writer, built_in, state, stored, now)
            }
        }
    }

    fn know_kinds(&mut self, state: &State) {
        let catalogue = self.config.kinds.at(state);
        if !Arc::ptr_eq(&catalogue, &self.catalogue) {
            self.writers.iter_mut().for_each(|writer| writer.know(catalogue.clone()));
            self.catalogue = catalogue;
        }
    }

    /// Reports that a work's steps were carried out, or why one failed, and when to look again.
    ///
    /// The state must hold the work's own writes by then, or the controller would make them a second time.
    pub fn done(
        &mut self,
        work: &Work,
        result: Result<(), String>,
        again_at: Option<Timestamp>,
        now: Timestamp,
    ) {
        self.queue.done(work, result.is_ok(), now);
        match result {
            Ok(()) => {
                self.failures.remove(work);
            }
            Err(why) => {
                self.failures.insert(work.clone(), why);
            }
        }
        if let Some(at) = again_at {
            self.queue.add_at(work.clone(), at);
        }
    }

    fn add(&mut self, controller: Controller, key: &Key) {
        self.queue.add(Work { controller, key: key.clone() });
    }

    fn concerns(&mut self, state: &State, stored: &Stored) {
        let key = &stored.key;
        match &*key.resource {
            "deployments.apps" => self.add(Controller::Deployment, key),
            "replicasets.apps" => self.add(Controller::ReplicaSet, key),
            "namespaces" => self.add(Controller::Namespace, key),
            "events" => self.add(Controller::EventExpiry, key),
            DEFINITIONS => self.add(Controller::Definition, key),
            "pods" if stored.field("spec.nodeName").is_some_and(|node| !node.is_empty()) => {
                self.add(Controller::Eviction, key);
            }
            "nodes" => self.node_concerns(state, key),
            "configmaps" if *key.name == *namespace::AUTHORITY => {
                self.add(Controller::Namespace, &Key::new("namespaces", "", key.namespace.clone()));
            }
            "leases.coordination.k8s.io" if *key.namespace == *node::LEASE_NAMESPACE => {
                self.add(Controller::NodeLifecycle, &Key::new("nodes", "", key.name.clone()));
            }
            _ => {}
        }
        self.wake_owners(state, stored);
        let meta = stored.meta();
        if !meta.owner_references.is_empty() || meta.deletion_timestamp.is_some() {
            self.add(Controller::Garbage, key);
        }
        if meta.owner_references.is_empty() && matches!(&*key.resource, "pods" | "replicasets.apps") {
            self.wake_adopters(state, key);
        }
    }

    fn node_concerns(&mut self, state: &State, key: &Key) {
        self.add(Controller::NodeLifecycle, key);
        for pod in state.by_field("pods", "spec.nodeName", &key.name) {
            self.queue.add(Work { controller: Controller::Eviction, key: pod.key.clone() });
        }
    }

    /// The controllers of an object's owners, and the garbage collector where an owner waits for it to go.
    fn wake_owners(&mut self, state: &State, stored: &Stored) {
        for owner in &stored.meta().owner_references {
            let Some(owner) = state.by_uid(&owner.uid) else { continue };
            match &*owner.key.resource {
                "deployments.apps" => self.add(Controller::Deployment, &owner.key),
                "replicasets.apps" => self.add(Controller::ReplicaSet, &owner.key),
                _ => {}
            }
            if owner.meta().deletion_timestamp.is_some() {
                self.add(Controller::Garbage, &owner.key);
            }
        }
    }

    /// An object without an owner may be what a workload of its namespace selects.
    fn wake_adopters(&mut self, state: &State, key: &Key) {
        let (resource, controller) = match &*key.resource {
            "pods" => ("replicasets.apps", Controller::ReplicaSet),
            _ => ("deployments.apps", Controller::Deployment),
        };
        for workload in state.list(resource, &key.namespace) {
            self.queue.add(Work { controller, key: workload.key.clone() });
        }
    }

    fn gone(&mut self, state: &State, stored: &Stored) {
        if &*stored.key.resource == DEFINITIONS {
            for other in definition::of_the_same_group(state, &stored.key.name) {
                self.queue.add(Work { controller: Controller::Definition, key: other.key.clone() });
            }
        }
        let definition = definition::key_of(&stored.key.resource);
        if state.get(&definition).is_some_and(|found| found.meta().deletion_timestamp.is_some()) {
            self.add(Controller::Definition, &definition);
        }
        for dependent in state.dependents(&stored.meta().uid) {
            self.queue.add(Work { controller: Controller::Garbage, key: dependent.key.clone() });
        }
        if !stored.key.namespace.is_empty() {
            self.add(Controller::Namespace, &Key::new("namespaces", "", stored.key.namespace.clone()));
        }
        if &*stored.key.resource == "nodes" {
            self.node_concerns(state, &stored.key);
        }
        if &*stored.key.resource == "pods" {
            // A deployment that recreates waits for the last pod of its old sets; the sets stopped counting it earlier.
            let owners = stored.meta().owner_references.iter();
            owners.filter_map(|owner| state.by_uid(&owner.uid)).for_each(|set| self.wake_owners(state, set));
        }
    }
}
