//! Changing things: edit, the three kinds of patch, labels and annotations.

use crate::{contains, row, with_my_app};
use berth_tests::{Berth, run};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

/// `kubectl edit` with a sed script in the editor's place.
pub(crate) fn edit(berth: &Berth, target: &str, script: &str) -> berth_tests::Output {
    let editor = berth.root().join("editor");
    std::fs::write(&editor, format!("#!/bin/sh\nexec sed -i '{script}' \"$1\"\n")).unwrap();
    std::fs::set_permissions(&editor, PermissionsExt::from_mode(0o755)).unwrap();
    run(berth.kubectl_command(&["edit", target]).env("KUBE_EDITOR", &editor), "", DEADLINE)
}

#[test]
fn edit_saves_what_the_editor_leaves() {
    let berth = with_my_app();
    assert_eq!(
        edit(&berth, "deployment/my-app", "s/replicas: 3/replicas: 4/").ok(),
        "deployment.apps/my-app edited\n"
    );
    berth.kubectl(&["rollout", "status", "deployment/my-app", "--timeout=60s"]).ok();
    assert_eq!(berth.kubectl(&["get", "pods", "-o", "name"]).ok().lines().count(), 4);
    let cancelled = edit(&berth, "deployment/my-app", "");
    contains(&(cancelled.stdout + &cancelled.stderr), &["Edit cancelled, no changes made."]);
}

#[test]
fn three_kinds_of_patch() {
    let berth = with_my_app();
    let patch = |kind: &str, patch: &str| {
        berth.kubectl(&["patch", "deployment", "my-app", "--type", kind, "-p", patch])
    };
    let strategic = r#"{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"side:1"}]}}}}"#;
    assert_eq!(patch("strategic", strategic).ok(), "deployment.apps/my-app patched\n");
    let containers = |berth: &Berth| {
        let deployment = berth.get(&["deployment", "my-app"]);
        let containers = deployment["spec"]["template"]["spec"]["containers"].as_array().unwrap().clone();
        containers.iter().map(|c| c["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(containers(&berth), ["side", "my-app"], "merged by name, the patch's first");
    let merge =
        r#"{"spec":{"replicas":2,"template":{"spec":{"containers":[{"name":"only","image":"only:1"}]}}}}"#;
    patch("merge", merge).ok();
    assert_eq!(containers(&berth), ["only"], "lists are replaced");
    let json = r#"[{"op":"test","path":"/spec/replicas","value":2},{"op":"replace","path":"/spec/replicas","value":1}]"#;
    patch("json", json).ok();
    assert_eq!(berth.get(&["deployment", "my-app"])["spec"]["replicas"], 1);
    let unchanged = patch("merge", r#"{"spec":{"replicas":1}}"#).ok();
    assert_eq!(unchanged, "deployment.apps/my-app patched (no change)\n");
    let failed = patch("json", json).fails();
    contains(&failed, &["The request is invalid: the server rejected our request"]);
    contains(
        &patch("merge", r#"{"spec":{"replicas":-1}}"#).fails(),
        &["spec.replicas", "must be greater than or equal to 0"],
    );
}

#[test]
fn labels_and_annotations() {
    let berth = with_my_app();
    let labelled = berth.kubectl(&["label", "node", "simulated-00001", "disk=fast"]).ok();
    assert_eq!(labelled, "node/simulated-00001 labeled\n");
    let nodes = berth.kubectl(&["get", "nodes", "-l", "disk=fast", "-o", "name"]).ok();
    assert_eq!(nodes, "node/simulated-00001\n");
    let columns = berth.kubectl(&["get", "nodes", "-L", "disk"]).ok();
    assert_eq!(row(&columns, "simulated-00001").last(), Some(&"fast"));
    contains(&berth.kubectl(&["label", "node", "simulated-00001", "disk=slow"]).fails(), &["--overwrite"]);
    berth.kubectl(&["label", "node", "simulated-00001", "disk=slow", "--overwrite"]).ok();
    assert_eq!(
        berth.kubectl(&["label", "node", "simulated-00001", "disk-"]).ok(),
        "node/simulated-00001 unlabeled\n"
    );
    contains(&berth.kubectl(&["label", "deployment", "my-app", "a=not valid"]).fails(), &["invalid"]);

    berth.kubectl(&["annotate", "deployment", "my-app", "kubernetes.io/change-cause=first"]).ok();
    let path = r"jsonpath={.metadata.annotations.kubernetes\.io/change-cause}";
    assert_eq!(berth.kubectl(&["get", "deployment", "my-app", "-o", path]).ok(), "first");
    contains(
        &berth.kubectl(&["annotate", "deployment", "my-app", "kubernetes.io/change-cause-"]).ok(),
        &["annotate"],
    );
}
