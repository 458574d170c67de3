//! Where pods are: never two nodes for one pod, never more on a node than it offers.

use std::collections::BTreeMap;

use berth_api::Quantity;
use berth_json::Value;
use berth_state::{Change, Key, Stored};

/// CPU in thousandths, memory in bytes, number of pods.
pub(crate) type Amounts = [i64; 3];
const NAMES: [&str; 3] = ["cpu", "memory", "pods"];

/// The room that pods take up on nodes.
#[derive(Default)]
pub(crate) struct Placements {
    offered: BTreeMap<String, Amounts>,
    used: BTreeMap<String, Amounts>,
    /// By pod: its node and what it takes up there.
    taking: BTreeMap<Key, (String, Amounts)>,
    /// By uid: the one node it was ever bound to.
    bound: BTreeMap<String, String>,
}

impl Placements {
    pub(crate) fn took(&mut self, change: &Change) {
        match &*change.key.resource {
            "nodes" => self.node_changed(change),
            "pods" => self.pod_changed(change),
            _ => {}
        }
    }

    fn node_changed(&mut self, change: &Change) {
        let name = change.key.name.to_string();
        match &change.new {
            Some(node) => self.offered.insert(name, allocatable(&value(node))),
            None => self.offered.remove(&name),
        };
    }

    fn pod_changed(&mut self, change: &Change) {
        if let Some((node, amounts)) = self.taking.remove(&change.key) {
            self.add(&node, amounts, -1);
        }
        let Some(pod) = &change.new else { return };
        let node = pod.field("spec.nodeName").unwrap_or("").to_owned();
        let uid = pod.meta().uid.to_string();
        if let Some(before) = self.bound.get(&uid) {
            assert_eq!(*before, node, "pod {} moved from one node to another", change.key);
        }
        if node.is_empty() {
            return;
        }
        self.bound.insert(uid, node.clone());
        if is_finished(pod) {
            return;
        }
        let amounts = requests(&value(pod));
        self.add(&node, amounts, 1);
        self.check(&node, &change.key);
        self.taking.insert(change.key.clone(), (node, amounts));
    }

    fn add(&mut self, node: &str, amounts: Amounts, sign: i64) {
        let used = self.used.entry(node.to_owned()).or_default();
        used.iter_mut().zip(amounts).for_each(|(used, amount)| *used += sign * amount);
    }

    fn check(&self, node: &str, because: &Key) {
        let Some(offered) = self.offered.get(node) else { return };
        let used = self.used.get(node).copied().unwrap_or_default();
        for (at, name) in NAMES.iter().enumerate() {
            assert!(
                used[at] <= offered[at],
                "with {because} node {node} has {name} {} of {} taken",
                used[at],
                offered[at]
            );
        }
    }
}

/// Addresses and node ports of Services: each has one holder.
#[derive(Default)]
pub(crate) struct Holdings(BTreeMap<String, Key>);

impl Holdings {
    pub(crate) fn took(&mut self, change: &Change) {
        if &*change.key.resource != "services" {
            return;
        }
        self.0.retain(|_, holder| *holder != change.key);
        let Some(service) = change.new.as_ref().map(|stored| value(stored)) else { return };
        let address = service["spec"]["clusterIP"].as_str().filter(|address| !address.is_empty());
        let ports = service["spec"]["ports"].as_array().into_iter().flatten();
        let ports =
            ports.filter_map(|port| Some(format!("{} {}", port["protocol"], port["nodePort"].as_i64()?)));
        for what in address.map(str::to_owned).into_iter().chain(ports) {
            if let Some(holder) = self.0.insert(what.clone(), change.key.clone()) {
                panic!("{} gets {what}, which {holder} has", change.key);
            }
        }
    }
}

/// Who leads, and that nobody else does a leader's work.
#[derive(Default)]
pub(crate) struct Leadership {
    /// By lease.
    holders: BTreeMap<String, String>,
    pub(crate) changes: u64,
}

impl Leadership {
    /// A pod that waited gets its node, and one of a ReplicaSet is made, by the process that has the lease: an earlier leader
    /// that still believes in itself is held off by the store.
    pub(crate) fn check(&self, change: &Change, writer: &str) {
        if &*change.key.resource != "pods" {
            return;
        }
        let Some(new) = &change.new else { return };
        let is_bound = |pod: &Stored| pod.field("spec.nodeName").is_some_and(|node| !node.is_empty());
        let lease = match &change.old {
            Some(old) if !is_bound(old) && is_bound(new) => "berth-scheduler",
            None if new.controller().is_some() => "berth-controllers",
            _ => return,
        };
        let holder = self.holders.get(lease).map_or("nobody", String::as_str);
        assert_eq!(writer, holder, "{} was written by one who does not hold {lease}", change.key);
    }

    pub(crate) fn took(&mut self, change: &Change) {
        let is_lease =
            &*change.key.resource == "leases.coordination.k8s.io" && change.key.name.starts_with("berth-");
        let Some(new) = change.new.as_ref().filter(|_| is_lease) else { return };
        let holder = value(new)["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
        if self.holders.insert(change.key.name.to_string(), holder.clone()) != Some(holder) {
            self.changes += 1;
        }
    }
}

pub(crate) fn is_finished(pod: &Stored) -> bool {
    matches!(pod.field("status.phase"), Some("Succeeded" | "Failed"))
}

pub(crate) fn value(stored: &Stored) -> Value {
    serde_json::from_slice(stored.bytes()).expect("stored objects are JSON")
}

/// What a node offers.
pub(crate) fn allocatable(node: &Value) -> Amounts {
    let of = |name: &str| node["status"]["allocatable"][name].as_str().unwrap_or("0").to_owned();
    [milli(&of("cpu")), milli(&of("memory")) / 1000, milli(&of("pods")) / 1000]
}

/// What a pod requests; the simulation's pods have no init containers.
pub(crate) fn requests(pod: &Value) -> Amounts {
    let mut sum = [0, 0, 1];
    for container in pod["spec"]["containers"].as_array().into_iter().flatten() {
        let of = |name: &str| container["resources"]["requests"][name].as_str().unwrap_or("0").to_owned();
        sum[0] += milli(&of("cpu"));
        sum[1] += milli(&of("memory")) / 1000;
    }
    sum
}

fn milli(quantity: &str) -> i64 {
    Quantity::parse(quantity).expect("stored quantities are valid").milli_value()
}
