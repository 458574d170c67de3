//! Making things: create, apply, expose, run; dry runs, diffs and waiting.

use crate::{cluster, contains, row, with_my_app};
use berth_tests::{eventually, holds};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

#[test]
fn create_makes_each_kind() {
    let berth = cluster();
    let create = |args: &[&str]| berth.kubectl(&[&["create"], args].concat()).ok();
    assert_eq!(create(&["namespace", "shop"]), "namespace/shop created\n");
    let made = create(&["deployment", "web", "--image=my-app:v1", "--replicas=2", "-n", "shop"]);
    assert_eq!(made, "deployment.apps/web created\n");
    create(&["configmap", "settings", "--from-literal=colour=red", "--from-literal=size=10"]);
    create(&["secret", "generic", "key", "--from-literal=password=s3cr3t"]);
    assert_eq!(create(&["service", "clusterip", "web", "--tcp=80:8080"]), "service/web created\n");
    create(&["serviceaccount", "robot"]);

    berth.kubectl(&["rollout", "status", "deployment/web", "-n", "shop", "--timeout=60s"]).ok();
    let pods = berth.get(&["pods", "-n", "shop", "-l", "app=web"]);
    assert_eq!(pods["items"].as_array().unwrap().len(), 2);
    assert_eq!(pods["items"][0]["spec"]["serviceAccountName"], "default");
    let settings = berth.get(&["configmap", "settings"]);
    assert_eq!(settings["data"], serde_json::json!({"colour": "red", "size": "10"}));
    let key = berth.kubectl(&["get", "secret", "key", "-o", "jsonpath={.data.password}"]).ok();
    assert_eq!(key, "czNjcjN0");
    let services = berth.kubectl(&["get", "services"]).ok();
    let web = row(&services, "web");
    assert_eq!((web[1], web[4]), ("ClusterIP", "80/TCP"));
    assert!(web[2].starts_with("10.96."), "{services}");
    let token = create(&["token", "robot"]);
    assert_eq!(token.trim().split('.').count(), 3, "a signed token: {token}");

    let twice = berth.kubectl(&["create", "namespace", "shop"]).fails();
    contains(&twice, &[r#"Error from server (AlreadyExists): namespaces "shop" already exists"#]);
    assert_eq!(
        berth.kubectl(&["delete", "namespace", "shop", "--timeout=60s"]).ok(),
        "namespace \"shop\" deleted\n"
    );
    contains(&berth.kubectl(&["get", "pods", "-n", "shop"]).stderr, &["No resources found"]);
    contains(&berth.kubectl(&["get", "ns", "shop"]).fails(), &["not found"]);
}

#[test]
fn apply_changes_only_what_changed() {
    let berth = cluster();
    let manifest =
        |data: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata:\n{data}");
    assert_eq!(berth.apply(&manifest("  a: '1'\n  b: '2'\n")), "configmap/settings created\n");
    assert_eq!(berth.apply(&manifest("  a: '1'\n  b: '2'\n")), "configmap/settings unchanged\n");

    let changed = manifest("  a: one\n");
    let diff = berth.kubectl_with(&["diff", "-f", "-"], &changed);
    assert_eq!(diff.code, 1, "{diff:?}");
    contains(&diff.stdout, &["-  a: \"1\"\n", "+  a: one\n", "-  b: \"2\"\n"]);
    let tried = berth.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &changed).ok();
    assert_eq!(tried, "configmap/settings configured (server dry run)\n");
    assert_eq!(berth.get(&["configmap", "settings"])["data"]["a"], "1", "a dry run changes nothing");
    assert_eq!(berth.apply(&changed), "configmap/settings configured\n");
    assert_eq!(berth.get(&["configmap", "settings"])["data"], serde_json::json!({"a": "one"}));
    assert_eq!(berth.kubectl_with(&["diff", "-f", "-"], &changed).code, 0);

    let dry = berth.kubectl(&["create", "configmap", "never", "--dry-run=server"]).ok();
    assert_eq!(dry, "configmap/never created (server dry run)\n");
    berth.kubectl(&["get", "configmap", "never"]).fails();
    assert_eq!(
        berth.kubectl_with(&["delete", "-f", "-"], &changed).ok(),
        "configmap \"settings\" deleted from default namespace\n"
    );
    assert_eq!(
        berth.kubectl_with(&["replace", "--force", "-f", "-"], &changed).ok(),
        "configmap/settings replaced\n"
    );
}

#[test]
fn run_makes_a_pod_and_wait_waits_for_it() {
    let berth = cluster();
    assert_eq!(berth.kubectl(&["run", "one", "--image=my-app:v1"]).ok(), "pod/one created\n");
    let met = berth.kubectl(&["wait", "--for=condition=Ready", "pod/one", "--timeout=60s"]).ok();
    assert_eq!(met, "pod/one condition met\n");
    berth.kubectl(&["wait", "--for=jsonpath={.status.phase}=Running", "pod/one", "--timeout=60s"]).ok();
    let late = berth.kubectl(&["wait", "--for=condition=Gone", "pod/one", "--timeout=1s"]).fails();
    contains(&late, &["timed out waiting for the condition on pods/one"]);
    let watches = || berth.open_watches();
    let before = watches();
    let gone = berth.kubectl_beside(&["wait", "--for=delete", "pod/one", "--timeout=60s"]);
    eventually("wait watches", SOON, || holds(watches() > before, format!("{} watches", watches())));
    berth.kubectl(&["delete", "pod", "one"]).ok();
    eventually("wait sees the deletion", SOON, || {
        let lines = gone.lines();
        holds(lines == ["pod/one condition met"], lines.join("\n"))
    });
}

#[test]
fn a_pod_behind_a_service_keeps_its_cluster_ip() {
    let berth = with_my_app();
    let exposed = berth.kubectl(&["expose", "deployment", "my-app", "--port=80", "--target-port=8080"]).ok();
    assert_eq!(exposed, "service/my-app exposed\n");
    let service = berth.get(&["service", "my-app"]);
    let spec = &service["spec"];
    assert_eq!(spec["selector"], serde_json::json!({"app": "my-app"}));
    assert_eq!((&spec["ports"][0]["port"], &spec["ports"][0]["targetPort"]), (&80.into(), &8080.into()));
    let patch = r#"{"spec":{"clusterIP":"10.96.200.200"}}"#;
    let refused = berth.kubectl(&["patch", "service", "my-app", "-p", patch]).fails();
    contains(&refused, &["spec.clusterIPs[0]", "may not change once set"]);
}
