//! What must be true once faults have stopped and everybody has had time.

use std::collections::BTreeMap;

use berth_json::Value;
use berth_state::{State, Stored};

use crate::invariants::{Amounts, allocatable, is_finished, requests, value};

/// Everything that is not as it should be; empty when the cluster has settled.
pub(crate) fn complaints(state: &State) -> Vec<String> {
    let mut found = Vec::new();
    let free = free_room(state);
    let mut stuck = Vec::new();
    for pod in state.list("pods", "") {
        check_pod(state, pod, &free, &mut found, &mut stuck);
    }
    for deployment in state.list("deployments.apps", "") {
        check_deployment(state, deployment, &stuck, &mut found);
    }
    for set in state.list("replicasets.apps", "") {
        check_set(state, set, &stuck, &mut found);
    }
    for binding in state.list("pluginbindings.berth.dev", "") {
        check_binding(state, binding, &mut found);
    }
    for object in state.iter() {
        if object.meta().deletion_timestamp.is_some() {
            found.push(format!("{} is still being deleted", object.key));
        }
        check_owners(state, object, &mut found);
    }
    found
}

/// A binding is served by the component that its plugin names now, and says so.
fn check_binding(state: &State, binding: &Stored, found: &mut Vec<String>) {
    let object = value(binding);
    let plugin = object["spec"]["plugin"].as_str().unwrap_or_default();
    let plugin =
        state.get(&berth_state::Key::new("plugins.berth.dev", "", plugin)).map(|stored| value(stored));
    let wanted = plugin.map(|plugin| plugin["spec"]["digest"].clone()).unwrap_or_default();
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let is_active = conditions.into_iter().any(|c| c["type"] == "Active" && c["status"] == "True");
    if !is_active || object["status"]["activeDigest"] != wanted {
        found.push(format!("{} asks for {wanted} and says {}", binding.key, object["status"]));
    }
}

fn free_room(state: &State) -> BTreeMap<String, Amounts> {
    let mut free = BTreeMap::new();
    for node in state.list("nodes", "") {
        let node_value = value(node);
        let taints = node_value["spec"]["taints"].as_array().map_or(0, Vec::len);
        if taints > 0 || node_value["spec"]["unschedulable"] == true {
            continue;
        }
        let mut room = allocatable(&node_value);
        for pod in state.by_field("pods", "spec.nodeName", &node.key.name).filter(|pod| !is_finished(pod)) {
            room.iter_mut().zip(requests(&value(pod))).for_each(|(room, amount)| *room -= amount);
        }
        free.insert(node.key.name.to_string(), room);
    }
    free
}

/// `stuck` collects the owners of pods that fit nowhere: those cannot come to rest.
fn check_pod(
    state: &State,
    pod: &Stored,
    free: &BTreeMap<String, Amounts>,
    found: &mut Vec<String>,
    stuck: &mut Vec<String>,
) {
    if is_finished(pod) {
        return;
    }
    let key = &pod.key;
    let pod_value = value(pod);
    let node = pod.field("spec.nodeName").unwrap_or("");
    if node.is_empty() {
        let wanted = requests(&pod_value);
        let fits =
            |(_, room): &(&String, &Amounts)| room.iter().zip(wanted).all(|(room, amount)| *room >= amount);
        match free.iter().find(fits) {
            Some((node, _)) => found.push(format!("{key} waits although it fits on {node}")),
            None => stuck.extend(pod.controller().map(|owner| owner.uid.to_string())),
        }
    } else if state.get(&berth_state::Key::new("nodes", "", node)).is_none() {
        found.push(format!("{key} is on node {node}, which is gone"));
    } else if pod_value["status"]["phase"] != "Running" {
        found.push(format!("{key} is on {node} and {}", pod_value["status"]["phase"]));
    }
}

fn check_deployment(state: &State, deployment: &Stored, stuck: &[String], found: &mut Vec<String>) {
    let object = value(deployment);
    let number = |path: &str| object.pointer(path).and_then(Value::as_i64).unwrap_or(0);
    let sets: Vec<_> = state.dependents(&deployment.meta().uid).collect();
    if sets.iter().any(|set| stuck.iter().any(|uid| **uid == *set.meta().uid)) {
        return;
    }
    let wanted = number("/spec/replicas");
    let counts = ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"]
        .map(|n| number(&format!("/status/{n}")));
    let observed = number("/status/observedGeneration");
    if observed != deployment.meta().generation || counts != [wanted; 4] {
        let generation = deployment.meta().generation;
        found.push(format!(
            "{} wants {wanted} replicas, has replicas, updated, ready, available {counts:?}; observed generation \
             {observed} of {generation}",
            deployment.key
        ));
    }
    let limit = number("/spec/revisionHistoryLimit");
    let filled = sets.iter().filter(|set| value(set)["spec"]["replicas"] != 0).count() as i64;
    if filled > 1 || sets.len() as i64 - filled.max(1) > limit {
        found.push(format!("{} has {} sets, {filled} of them with pods", deployment.key, sets.len()));
    }
}

fn check_set(state: &State, set: &Stored, stuck: &[String], found: &mut Vec<String>) {
    let object = value(set);
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(0);
    let pods =
        state.dependents(&set.meta().uid).filter(|pod| &*pod.key.resource == "pods" && !is_finished(pod));
    let there = pods.count() as i64;
    let counted = object["status"]["replicas"].as_i64().unwrap_or(0);
    if there != wanted || counted != wanted {
        found.push(format!("{} wants {wanted} pods, has {there} and counts {counted}", set.key));
    }
    let available = object["status"]["availableReplicas"].as_i64().unwrap_or(0);
    if available != wanted && !stuck.iter().any(|uid| **uid == *set.meta().uid) {
        found.push(format!("{} wants {wanted} pods, {available} are available", set.key));
    }
}

fn check_owners(state: &State, object: &Stored, found: &mut Vec<String>) {
    let owners = &object.meta().owner_references;
    let there = owners.iter().filter(|owner| state.by_uid(&owner.uid).is_some()).count();
    if there < owners.len() {
        found.push(format!("{} names {} owners, of which {there} are there", object.key, owners.len()));
    }
    let namespace = &object.key.namespace;
    if !namespace.is_empty()
        && state.get(&berth_state::Key::new("namespaces", "", namespace.clone())).is_none()
    {
        found.push(format!("{} is in a namespace that is gone", object.key));
    }
}
