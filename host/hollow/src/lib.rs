//! Hollow nodes exist only as objects: they report ready, "run" every pod they are given, and let go of deleted ones.
//!
//! Pure, like a controller: the simulation drives them under virtual time, `berth up --simulate-nodes` under real time.

mod course;
mod load;
mod measured;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use berth_api::views::Pod;
use berth_api::{Catalogue, Timestamp};
use berth_control::{EventKind, EventNote, LEASE_NAMESPACE, Recorder, Writer};
use berth_json::{Value, json};
use berth_pipeline::Request;
use berth_state::{Change, Key, State, Stored};

pub use crate::course::Course;
pub use crate::load::{Circumstances, Container, Load};
pub use crate::measured::NodeLoad;

/// Whose writes and events these are.
const COMPONENT: &str = "berth-simulated-node";

/// How often a hollow node renews its lease: often enough for the node controller's 40 s, seldom enough that
/// thousands of them leave the store to others.
const RENEW_MS: i64 = 20_000;

/// What each hollow node offers.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Name and quantity of each resource.
    pub capacity: BTreeMap<String, String>,
    /// Labels beside the usual ones.
    pub labels: BTreeMap<String, String>,
}

impl Default for Shape {
    fn default() -> Self {
        let capacity = [("cpu", "32"), ("memory", "256Gi"), ("ephemeral-storage", "100Gi"), ("pods", "110")];
        let capacity = capacity.map(|(name, quantity)| (name.to_owned(), quantity.to_owned())).into();
        Self { capacity, labels: BTreeMap::new() }
    }
}

struct Node {
    shape: Shape,
    registered: bool,
    renew_at: Timestamp,
    silent: bool,
}

/// A set of hollow nodes.
pub struct HollowNodes {
    writer: Writer,
    catalogue: Arc<Catalogue>,
    recorder: Recorder,
    /// What was last said to be wrong with a pod's annotations, so that it is said once.
    told: BTreeMap<Key, Vec<String>>,
    nodes: BTreeMap<Arc<str>, Node>,
    /// Pods of these nodes that something must be done about.
    dirty: BTreeSet<Key>,
    renewals: BTreeSet<(Timestamp, Arc<str>)>,
}

impl HollowNodes {
    /// No nodes yet.
    pub fn new(catalogue: Arc<Catalogue>) -> Self {
        Self {
            writer: Writer::new(COMPONENT, catalogue.clone()),
            recorder: Recorder::new(COMPONENT, catalogue.clone()),
            catalogue,
            told: BTreeMap::new(),
            nodes: BTreeMap::new(),
            dirty: BTreeSet::new(),
            renewals: BTreeSet::new(),
        }
    }

    /// Adds a node, which registers itself at the next step. `spread_ms` shifts its renewals, so that not all come at once.
    pub fn add(&mut self, name: &str, shape: Shape, now: Timestamp, spread_ms: i64) {
        let name: Arc<str> = name.into();
        let renew_at = now.plus_millis(spread_ms.rem_euclid(RENEW_MS));
        self.renewals.insert((now, name.clone()));
        self.nodes.insert(name, Node { shape, registered: false, renew_at, silent: false });
    }

    /// A silent node does and says nothing, as if it had lost its power or its network.
    pub fn set_silent(&mut self, name: &str, silent: bool, state: &State, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        node.silent = silent;
        if !silent {
            let name: Arc<str> = name.into();
            self.renewals.insert((now, name.clone()));
            self.dirty.extend(state.by_field("pods", "spec.nodeName", &name).map(|pod| pod.key.clone()));
        }
    }

    /// Takes in all pods of a state: at the start, and when the change feed was lost.
    pub fn resync(&mut self, state: &State) {
        self.dirty.extend(state.list("pods", "").map(|pod| pod.key.clone()));
        self.told.retain(|key, _| state.get(key).is_some());
    }

    /// Takes in one change.
    pub fn on_change(&mut self, change: &Change) {
        if &*change.key.resource != "pods" {
            return;
        }
        match change.new {
            Some(_) => _ = self.dirty.insert(change.key.clone()),
            None => _ = self.told.remove(&change.key),
        }
    }

    /// A write about this object did not succeed: what the object needs is looked at again. Leases and nodes wait for their
    /// next renewal.
    pub fn retry(&mut self, key: &Key) {
        if &*key.resource == "pods" {
            self.dirty.insert(key.clone());
        }
    }

    /// When there is something to do without a further change.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        if self.dirty.is_empty() { self.renewals.first().map(|(at, _)| *at) } else { Some(now) }
    }

    /// At most `limit` writes that are due now; [`HollowNodes::retry`] is told of those that fail.
    pub fn step(&mut self, state: &State, now: Timestamp, limit: usize) -> Vec<Request> {
        let mut requests = Vec::new();
        while requests.len() < limit {
            let Some((at, name)) = self.renewals.first().cloned().filter(|(at, _)| *at <= now) else { break };
            self.renewals.remove(&(at, name.clone()));
            self.renew(&name, state, now, &mut requests);
        }
        while requests.len() < limit {
            let Some(key) = self.dirty.pop_first() else { break };
            let Some(pod) = state.get(&key) else { continue };
            requests.extend(self.serve(pod, now));
            requests.extend(self.complain(pod, now));
        }
        requests
    }

    fn renew(&mut self, name: &Arc<str>, state: &State, now: Timestamp, requests: &mut Vec<Request>) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        if node.silent {
            return;
        }
        let present = state.get(&Key::new("nodes", "", name.clone()));
        if present.is_none() || !node.registered {
            node.registered = true;
            if present.is_none() {
                requests.push(self.writer.create("nodes", "", node_object(name, &node.shape, now)));
            }
        } else if present.is_some_and(|stored| !is_ready(&self.writer.value(stored))) {
            let status = json!({"status": {"conditions": ready_conditions(now)}});
            requests.push(self.writer.merge(&Key::new("nodes", "", name.clone()), "status", &status));
        }
        let lease = Key::new("leases.coordination.k8s.io", LEASE_NAMESPACE, name.clone());
        let spec =
            json!({"holderIdentity": &**name, "leaseDurationSeconds": 40, "renewTime": now.rfc3339_micro()});
        requests.push(match state.get(&lease) {
            Some(_) => self.writer.merge(&lease, "", &json!({"spec": spec})),
            None => {
                let object =
                    json!({"metadata": {"name": &**name, "namespace": LEASE_NAMESPACE}, "spec": spec});
                self.writer.create("leases.coordination.k8s.io", LEASE_NAMESPACE, object)
            }
        });
        let mut next = node.renew_at;
        while next <= now {
            next = next.plus_millis(RENEW_MS);
        }
        node.renew_at = next;
        self.renewals.insert((next, name.clone()));
    }

    /// What a pod's node writes about it; nothing when the pod is on no node of ours, or is as it should be.
    fn serve(&self, pod: &Stored, now: Timestamp) -> Option<Request> {
        let node = self.nodes.get(pod.field("spec.nodeName")?)?;
        if node.silent {
            return None;
        }
        if pod.meta().deletion_timestamp.is_some() {
            return Some(self.writer.delete_at_once(pod));
        }
        let phase = pod.field("status.phase").unwrap_or("");
        (phase == "Pending" || phase.is_empty()).then(|| {
            let value = self.writer.value(pod);
            let status = running_status(&value, pod, now);
            self.writer.merge(
                &pod.key,
                "status",
                &json!({"metadata": {"uid": &*pod.meta().uid}, "status": status}),
            )
        })
    }
}

impl HollowNodes {
    /// Says what is wrong with what a pod is to use; nothing when that was said already.
    fn complain(&mut self, pod: &Stored, now: Timestamp) -> Option<Request> {
        let is_ours = pod.field("spec.nodeName").is_some_and(|name| self.nodes.contains_key(name));
        let faults = Load::read(&pod.view::<Pod>()?.annotations).err().filter(|_| is_ours);
        if self.told.get(&pod.key) == faults.as_ref() {
            return None;
        }
        let Some(faults) = faults else {
            self.told.remove(&pod.key);
            return None;
        };
        let message = format!("this simulated pod reports no usage: {}", faults.join("; "));
        self.told.insert(pod.key.clone(), faults);
        self.recorder.record(EventNote::new(pod, EventKind::Warning, "InvalidUsage", message), now)
    }
}

fn node_object(name: &str, shape: &Shape, now: Timestamp) -> Value {
    let mut labels = json!({
        "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        "berth.dev/simulated": "true",
    });
    for (key, value) in &shape.labels {
        labels[key] = value.as_str().into();
    }
    json!({
        "metadata": {"name": name, "labels": labels},
        "status": {
            "capacity": shape.capacity, "allocatable": shape.capacity, "conditions": ready_conditions(now),
            "addresses": [{"type": "Hostname", "address": name}],
            "nodeInfo": {
                "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "simulated://0", "kernelVersion": "",
                "kubeProxyVersion": "", "kubeletVersion": "simulated", "machineID": "", "operatingSystem": "linux",
                "osImage": "simulated", "systemUUID": "",
            },
        },
    })
}

fn ready_conditions(now: Timestamp) -> Value {
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": "simulated",
            "lastHeartbeatTime": now.rfc3339(), "lastTransitionTime": now.rfc3339(),
        })
    };
    json!([
        condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
        condition("PIDPressure", "False", "KubeletHasSufficientPID"),
        condition("Ready", "True", "KubeletReady"),
    ])
}

fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

fn running_status(pod: &Value, stored: &Stored, now: Timestamp) -> Value {
    let time = now.rfc3339();
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": time});
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let statuses: Vec<Value> = containers
        .map(|container| {
            json!({
                "name": container["name"], "image": container["image"], "imageID": "", "ready": true, "started": true,
                "restartCount": 0, "state": {"running": {"startedAt": time}},
                "containerID": format!("simulated://{}/{}", stored.meta().uid, container["name"].as_str().unwrap_or("")),
            })
        })
        .collect();
    let kinds = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
    json!({
        "phase": "Running", "startTime": time, "conditions": kinds.map(condition),
        "containerStatuses": statuses, "qosClass": pod["status"]["qosClass"],
    })
}
