//! Nodes taken out of service.

use crate::{contains, row, with_my_app};

#[test]
fn a_cordoned_node_gets_no_pods() {
    let berth = with_my_app();
    assert_eq!(berth.kubectl(&["cordon", "simulated-00001"]).ok(), "node/simulated-00001 cordoned\n");
    let nodes = berth.kubectl(&["get", "nodes"]).ok();
    assert_eq!(row(&nodes, "simulated-00001")[1], "Ready,SchedulingDisabled");
    berth.kubectl(&["scale", "deployment", "my-app", "--replicas=9"]).ok();
    berth.kubectl(&["rollout", "status", "deployment/my-app", "--timeout=60s"]).ok();
    let on = |node: &str| {
        let selector = format!("spec.nodeName={node}");
        berth.kubectl(&["get", "pods", "-o", "name", "--field-selector", &selector]).ok().lines().count()
    };
    assert_eq!(on("simulated-00001"), 1, "the pod that was there stays");
    assert_eq!((on("simulated-00002"), on("simulated-00003")), (4, 4));

    for node in ["simulated-00002", "simulated-00003"] {
        berth.kubectl(&["cordon", node]).ok();
    }
    berth.kubectl(&["run", "waiting", "--image=my-app:v1"]).ok();
    let met = "--for=jsonpath={.status.conditions[?(@.type==\"PodScheduled\")].reason}=Unschedulable";
    berth.kubectl(&["wait", met, "pod/waiting", "--timeout=60s"]).ok();
    let why = berth.kubectl(&["describe", "pod", "waiting"]).ok();
    contains(&why, &["FailedScheduling", "0/3 nodes are available: 3 node(s) were unschedulable"]);

    assert_eq!(berth.kubectl(&["uncordon", "simulated-00003"]).ok(), "node/simulated-00003 uncordoned\n");
    berth.kubectl(&["wait", "--for=condition=Ready", "pod/waiting", "--timeout=60s"]).ok();
    let node = berth.kubectl(&["get", "pod", "waiting", "-o", "jsonpath={.spec.nodeName}"]).ok();
    assert_eq!(node, "simulated-00003");
}

#[test]
fn a_drained_node_hands_its_pods_over() {
    let berth = with_my_app();
    let drained = berth.kubectl(&["drain", "simulated-00001", "--timeout=60s"]).ok();
    contains(
        &drained,
        &["node/simulated-00001 cordoned", "evicting pod default/my-app-", "node/simulated-00001 drained"],
    );
    berth.kubectl(&["rollout", "status", "deployment/my-app", "--timeout=60s"]).ok();
    let left = ["get", "pods", "-o", "name", "--field-selector", "spec.nodeName=simulated-00001"];
    assert_eq!(berth.kubectl(&left).ok(), "");
}
