//! `kubectl top`, of what simulated nodes say that they and their pods use.

use crate::{cluster, contains, row, words};
use berth_tests::{Berth, eventually, holds};
use std::time::Duration;

/// Two rounds of questions to the nodes, on a busy machine.
const MEASURED: Duration = Duration::from_secs(60);

const WORKLOAD: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
      annotations: {berth.dev/usage-cpu-shared: '3', berth.dev/usage-memory: '0s=64Mi; 1h=64Mi'}
    spec:
      containers: [{name: a, image: x}, {name: b, image: x}]
---
apiVersion: v1
kind: Pod
metadata: {name: little, labels: {app: little}, annotations: {berth.dev/usage-cpu: 10m}}
spec:
  containers: [{name: c, image: x}]
---
apiVersion: v1
kind: Pod
metadata: {name: wrong, annotations: {berth.dev/usage-cpu: lots}}
spec:
  containers: [{name: c, image: x}]
";

/// What `kubectl top pods` says of the workload, pod by pod: CPU and memory.
fn web(berth: &Berth) -> Vec<String> {
    let top = berth.kubectl(&["top", "pods", "-l", "app=web", "--no-headers"]).stdout;
    top.lines().map(|line| words(line)[1..].join(" ")).collect()
}

/// Waits until that many pods of the workload each use so much.
fn share(berth: &Berth, pods: usize, each: &str) {
    eventually("the pods share the load", MEASURED, || {
        let seen = web(berth);
        holds(seen == vec![each; pods], seen.join(", "))
    });
}

#[test]
fn pods_and_nodes_use_what_annotations_say() {
    let berth = cluster();
    let early = berth.kubectl(&["top", "nodes"]).stderr;
    berth.apply(WORKLOAD);
    share(&berth, 2, "1500m 64Mi");
    if !early.is_empty() {
        contains(&early, &["metrics not available yet"]);
    }

    let nodes = berth.kubectl(&["top", "nodes", "--no-headers"]).ok();
    let cpu = |line: &str| words(line)[1].trim_end_matches('m').parse::<u32>().unwrap();
    assert_eq!(nodes.lines().map(cpu).sum::<u32>(), 3_010, "{nodes}");
    let sorted = berth.kubectl(&["top", "pods", "-A", "--sort-by=cpu", "--no-headers"]).ok();
    let last = words(sorted.lines().last().unwrap());
    assert_eq!(last, ["default", "little", "10m", "0Mi"], "{sorted}");
    let containers = berth.kubectl(&["top", "pods", "-l", "app=web", "--containers", "--no-headers"]).ok();
    let mut of: Vec<Vec<&str>> = containers.lines().map(|line| words(line)[1..].to_vec()).collect();
    of.sort();
    assert_eq!(
        of,
        [["a", "750m", "32Mi"], ["a", "750m", "32Mi"], ["b", "750m", "32Mi"], ["b", "750m", "32Mi"]]
    );

    let wrong = berth.kubectl(&["top", "pod", "wrong"]).fails();
    contains(&wrong, &[r#"pods.metrics.k8s.io "wrong" not found"#]);
    let events = berth.kubectl(&["describe", "pod", "wrong"]).ok();
    contains(&events, &["InvalidUsage", r#"annotation berth.dev/usage-cpu: "lots" is no quantity"#]);

    berth.kubectl(&["scale", "deployment", "web", "--replicas=4"]).ok();
    share(&berth, 4, "750m 64Mi");
}

#[test]
fn metrics_are_read_and_nothing_else() {
    let berth = cluster();
    berth.apply(WORKLOAD);
    share(&berth, 2, "1500m 64Mi");
    let table = berth.kubectl(&["get", "pods.metrics.k8s.io"]).ok();
    assert_eq!(words(table.lines().next().unwrap()), ["NAME", "CPU", "MEMORY", "WINDOW"]);
    assert_eq!(row(&table, "little"), ["little", "10m", "0", "15s"]);
    let one = berth.get(&["pods.metrics.k8s.io", "little"]);
    assert_eq!(one["metadata"]["labels"]["app"], "little");
    assert_eq!((&one["apiVersion"], &one["kind"]), (&"metrics.k8s.io/v1beta1".into(), &"PodMetrics".into()));
    let named = |selector: &str| {
        let args = ["get", "pods.metrics.k8s.io", "-o", "name", "-A", "--field-selector", selector];
        berth.kubectl(&args).ok()
    };
    assert_eq!(named("metadata.name=little"), "podmetrics.metrics.k8s.io/little\n");
    assert_eq!(named("metadata.name=none"), "");
    let resources = berth.kubectl(&["api-resources", "--api-group=metrics.k8s.io", "--no-headers"]).ok();
    assert_eq!(row(&resources, "pods"), ["pods", "metrics.k8s.io/v1beta1", "true", "PodMetrics"]);
    let explained =
        berth.kubectl(&["explain", "--api-version=metrics.k8s.io/v1beta1", "pods.containers.usage"]).ok();
    contains(&explained, &["PodMetrics", "map[string]Quantity"]);
    for (args, why) in [
        (
            vec!["get", "pods.metrics.k8s.io", "-w"],
            "watch is not supported on resources of kind \"pods.metrics.k8s.io\"",
        ),
        (vec!["delete", "pods.metrics.k8s.io", "little"], "the server does not allow this method"),
        (vec!["get", "pods.metrics.k8s.io", "--as=somebody"], "pods.metrics.k8s.io is forbidden"),
        (vec!["top", "nodes", "--as=somebody"], "forbidden"),
    ] {
        contains(&berth.kubectl(&args).fails(), &[why]);
    }
    berth.kubectl(&["delete", "pod", "little", "--wait"]).ok();
    berth.kubectl(&["get", "pods.metrics.k8s.io", "little"]).fails();
}
