//! Scheduling policies are swapped while pods are being placed.

use berth_tests::{Berth, Options, component, eventually, holds};
use serde_json::Value;
use std::collections::BTreeMap;

use super::{SOON, deploy, rolled_out};

const NODES: u32 = 10;
/// In one Deployment; as many as make the swap fall between them, and fit on one node of 110.
const PODS: u32 = 100;

/// How many pods with a label each node has; a pod without a node counts for "".
fn placement(berth: &Berth, label: &str) -> BTreeMap<String, u32> {
    let pods = berth.get(&["pods", "-l", label]);
    let mut nodes = BTreeMap::new();
    for pod in pods["items"].as_array().unwrap() {
        let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
        *nodes.entry(node.to_owned()).or_default() += 1;
    }
    nodes
}

fn binding(berth: &Berth) -> Value {
    berth.get(&["pluginbinding", "default-scheduler"])["status"].clone()
}

fn swap(berth: &Berth, plugin: &str, more: &[&str]) {
    berth.berth(&[&["plugin", "swap", plugin], more].concat()).ok();
    serves(berth, plugin);
}

fn serves(berth: &Berth, plugin: &str) {
    eventually("it serves", SOON, || {
        let status = binding(berth);
        holds(status["activePlugin"] == plugin, status)
    });
}

#[test]
fn a_swap_changes_the_placement_and_loses_no_pod() {
    let berth = Berth::start(Options::simulated(NODES));
    // Until its component is compiled, others place the pods.
    serves(&berth, "spread");
    deploy(&berth, "before", PODS);
    rolled_out(&berth, "before");
    let before = placement(&berth, "app=before");
    assert_eq!(before.len(), NODES as usize, "{before:?}");
    assert!(before.values().all(|pods| *pods == PODS / NODES), "spread evenly: {before:?}");
    berth.kubectl(&["delete", "deployment", "before", "--cascade=foreground"]).ok();

    // Pods come while the policy goes: ten Deployments, the swap in their midst.
    let names: Vec<String> = (0..10).map(|number| format!("during-{number}")).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| names.iter().for_each(|name| deploy(&berth, name, PODS / 10)));
        swap(&berth, "binpack", &[]);
    });
    for name in &names {
        rolled_out(&berth, name);
    }
    let during: u32 =
        names.iter().flat_map(|name| placement(&berth, &format!("app={name}")).into_values()).sum();
    assert_eq!(during, PODS, "none is lost");
    let unplaced = berth.kubectl(&["get", "pods", "-o", "name", "--field-selector", "spec.nodeName="]).ok();
    assert_eq!(unplaced, "");

    deploy(&berth, "after", PODS / 2);
    rolled_out(&berth, "after");
    let after = placement(&berth, "app=after");
    assert!(after.len() <= 2, "binpack fills one node before the next: {after:?}");
    let status = binding(&berth);
    assert_eq!(status["swaps"], 2, "the first policy of a profile counts: {status}");
}

#[test]
fn a_plugin_of_someone_elses_is_installed_and_serves() {
    let berth = Berth::start(Options::simulated(4));
    let file = component("examples/plugins/green-power");
    let installed = berth.berth(&["plugin", "install", file.to_str().unwrap()]).ok();
    assert!(installed.starts_with("plugin/green-power has the component sha256:"), "{installed}");
    berth.kubectl(&["label", "node", "simulated-00003", "example.com/power=wind"]).ok();
    swap(&berth, "green-power", &["--config", r#"{"prefer": "wind"}"#]);
    let listed = berth.berth(&["plugin", "ls"]).ok();
    let line = listed.lines().find(|line| line.starts_with("green-power ")).unwrap();
    assert!(line.contains("Ready") && line.ends_with("default-scheduler"), "{listed}");
    deploy(&berth, "green", 12);
    rolled_out(&berth, "green");
    assert_eq!(placement(&berth, "app=green"), BTreeMap::from([("simulated-00003".to_owned(), 12)]));

    let refused = berth.berth(&["plugin", "rm", "green-power"]).fails();
    assert!(refused.contains("plugin green-power serves profile default-scheduler"), "{refused}");
    swap(&berth, "spread", &[]);
    berth.berth(&["plugin", "rm", "green-power"]).ok();
    assert!(!berth.kubectl(&["get", "plugins", "-o", "name"]).ok().contains("green-power"));
}

#[test]
fn a_swap_survives_a_restart() {
    let mut berth = Berth::start(Options::simulated(3));
    swap(&berth, "binpack", &[]);
    berth.kill_9();
    berth.up();
    eventually("binpack serves again", SOON, || {
        let status = binding(&berth);
        holds(status["activePlugin"] == "binpack", status)
    });
    deploy(&berth, "packed", 10);
    rolled_out(&berth, "packed");
    assert_eq!(placement(&berth, "app=packed").len(), 1);
}
