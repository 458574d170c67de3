//! Looking: every form of output, selectors, watches, descriptions, events.

use crate::{cluster, contains, row, with_my_app, words};
use berth_tests::{eventually, holds};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

#[test]
fn what_the_server_is() {
    let berth = cluster();
    contains(&berth.kubectl(&["version"]).ok(), &["Client Version: v1.", "Server Version: v1."]);
    let info = berth.kubectl(&["cluster-info"]).ok();
    contains(&info, &["Kubernetes control plane", &format!("https://{}", berth.address())]);
    let resources = berth.kubectl(&["api-resources"]).ok();
    assert_eq!(row(&resources, "deployments"), ["deployments", "deploy", "apps/v1", "true", "Deployment"]);
    assert_eq!(row(&resources, "pods"), ["pods", "po", "v1", "true", "Pod"]);
    let kinds = [
        "namespaces",
        "nodes",
        "replicasets",
        "services",
        "configmaps",
        "secrets",
        "serviceaccounts",
        "events",
        "leases",
    ];
    for kind in kinds.into_iter().chain(["plugins", "pluginbindings"]) {
        row(&resources, kind);
    }
    let versions = berth.kubectl(&["api-versions"]).ok();
    let versions: Vec<&str> = versions.lines().collect();
    for version in ["v1", "apps/v1", "coordination.k8s.io/v1", "berth.dev/v1alpha1"] {
        assert!(versions.contains(&version), "{version}: {versions:?}");
    }
    assert_eq!(berth.kubectl(&["get", "--raw", "/readyz"]).ok(), "ok");
}

#[test]
fn every_form_of_output() {
    let berth = with_my_app();
    let pods = berth.kubectl(&["get", "pods"]).ok();
    let lines: Vec<&str> = pods.lines().collect();
    assert_eq!(words(lines[0]), ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
    assert_eq!(lines.len(), 4);
    assert!(lines[1..].iter().all(|line| words(line)[1..4] == ["1/1", "Running", "0"]), "{pods}");

    let wide = berth.kubectl(&["get", "pods", "-o", "wide"]).ok();
    assert_eq!(words(wide.lines().next().unwrap())[5..8], ["IP", "NODE", "NOMINATED"]);
    let used = wide.lines().skip(1).map(|line| words(line)[6]).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(used.len(), 3, "spread gives each node one pod:\n{wide}");

    let json = berth.get(&["pods", "-l", "app=my-app"]);
    assert_eq!(json["kind"], "List");
    let scheduled = json["items"][0]["status"]["conditions"].as_array().unwrap().iter();
    let scheduled: Vec<_> = scheduled.filter(|condition| condition["type"] == "PodScheduled").collect();
    assert_eq!(scheduled.len(), 1);
    assert_eq!(scheduled[0]["status"], "True");

    let yaml = berth.kubectl(&["get", "deployment", "my-app", "-o", "yaml"]).ok();
    contains(
        &yaml,
        &["apiVersion: apps/v1\n", "kind: Deployment\n", "    maxSurge: 25%\n", "image: my-app:latest\n"],
    );
    assert_eq!(berth.kubectl(&["get", "deployment", "-o", "name"]).ok(), "deployment.apps/my-app\n");
    let path = "jsonpath={.items[*].status.phase}";
    assert_eq!(berth.kubectl(&["get", "pods", "-o", path]).ok(), "Running Running Running");
    let columns = "custom-columns=N:.metadata.name,R:.spec.replicas";
    let table = berth.kubectl(&["get", "deployment", "-o", columns]).ok();
    assert_eq!(row(&table, "my-app"), ["my-app", "3"]);
    let all = berth.kubectl(&["get", "all"]).ok();
    contains(
        &all,
        &["pod/my-app-", "service/kubernetes", "deployment.apps/my-app", "replicaset.apps/my-app-"],
    );
}

#[test]
fn selectors_and_order() {
    let berth = with_my_app();
    let name = |args: &[&str]| berth.kubectl(&[&["get", "pods", "-o", "name"], args].concat()).ok();
    assert_eq!(name(&["-l", "app=my-app"]).lines().count(), 3);
    assert_eq!(name(&["-l", "app in (other, my-app),!gone"]).lines().count(), 3);
    assert_eq!(name(&["-l", "app!=my-app"]), "");
    assert_eq!(name(&["-A"]).lines().count(), 3);
    assert_eq!(name(&["-n", "kube-system"]), "");
    assert_eq!(name(&["--field-selector", "status.phase=Running"]).lines().count(), 3);
    assert_eq!(name(&["--field-selector", "status.phase=Pending"]), "");
    assert_eq!(name(&["--field-selector", "spec.nodeName=simulated-00002"]).lines().count(), 1);
    let refused = berth.kubectl(&["get", "pods", "--field-selector", "spec.colour=red"]).fails();
    contains(&refused, &["field label not supported: spec.colour"]);
    let nodes = berth.kubectl(&["get", "nodes", "-o", "name", "--sort-by=.metadata.name"]).ok();
    assert_eq!(nodes, "node/simulated-00001\nnode/simulated-00002\nnode/simulated-00003\n");
    let namespaces = berth.kubectl(&["get", "ns"]).ok();
    for namespace in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        assert_eq!(row(&namespaces, namespace)[1], "Active");
    }
    contains(
        &berth.kubectl(&["get", "pod", "absent"]).fails(),
        &[r#"Error from server (NotFound): pods "absent" not found"#],
    );
    contains(
        &berth.kubectl(&["get", "colours"]).fails(),
        &[r#"the server doesn't have a resource type "colours""#],
    );
}

#[test]
fn a_watch_shows_each_change() {
    let berth = cluster();
    let watch = berth.kubectl_beside(&["get", "configmaps", "-w", "--no-headers", "--output-watch-events"]);
    eventually("the watch runs", SOON, || {
        let lines = watch.lines();
        holds(lines.iter().any(|line| line.contains("kube-root-ca.crt")), lines.join("\n"))
    });
    berth.kubectl(&["create", "configmap", "seen", "--from-literal=a=1"]).ok();
    berth.kubectl(&["patch", "configmap", "seen", "-p", r#"{"data":{"b":"2"}}"#]).ok();
    berth.kubectl(&["delete", "configmap", "seen"]).ok();
    eventually("all three are seen", SOON, || {
        let lines = watch.lines();
        let seen = lines.iter().map(|line| words(line)).filter(|words| words.get(1) == Some(&"seen"));
        let seen: Vec<_> = seen.map(|words| (words[0].to_owned(), words[2].to_owned())).collect();
        let wanted =
            [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        holds(seen == wanted, lines.join("\n"))
    });
}

#[test]
fn descriptions_and_events() {
    let berth = with_my_app();
    let pods = berth.kubectl(&["get", "pods", "-o", "name"]).ok();
    let pod = pods.lines().next().unwrap().trim_start_matches("pod/");
    let described = berth.kubectl(&["describe", "pod", pod]).ok();
    contains(
        &described,
        &[
            "Controlled By:    ReplicaSet/my-app-",
            "QoS Class:                   Burstable",
            "PodScheduled",
            "True",
        ],
    );
    contains(
        &described,
        &["Successfully assigned default/my-app-", "default-scheduler", "memory:     128Mi"],
    );
    contains(&described, &["/var/run/secrets/kubernetes.io/serviceaccount from kube-api-access-"]);

    let deployment = berth.kubectl(&["describe", "deployment", "my-app"]).ok();
    contains(
        &deployment,
        &["3 desired | 3 updated | 3 total | 3 available | 0 unavailable", "25% max unavailable"],
    );
    contains(&deployment, &["NewReplicaSetAvailable", "ScalingReplicaSet", "Scaled up replica set my-app-"]);

    let node = berth.kubectl(&["describe", "node", "simulated-00001"]).ok();
    contains(
        &node,
        &["Allocatable:", "KubeletReady", "100m (0%)", "Non-terminated Pods:          (1 in total)"],
    );

    berth.kubectl(&["expose", "deployment", "my-app", "--port=80", "--target-port=8080"]).ok();
    let service = berth.kubectl(&["describe", "service", "my-app"]).ok();
    contains(&service, &["Selector:", "app=my-app", "Type:", "ClusterIP", "80/TCP", "8080/TCP"]);

    let events = berth.kubectl(&["events", "--for", &format!("pod/{pod}")]).ok();
    contains(&events, &["LAST SEEN", "Scheduled", &format!("Pod/{pod}")]);
    contains(&berth.kubectl(&["events"]).ok(), &["SuccessfulCreate", "ReplicaSet/my-app-"]);
    let warnings = berth.kubectl(&["events", "--types=Warning"]).ok();
    assert!(!warnings.contains("Normal"), "{warnings}");
}
