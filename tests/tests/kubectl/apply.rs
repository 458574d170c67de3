//! Applying from the server's side, alone and beside those who write otherwise.

use crate::edit::edit;
use crate::{cluster, contains};
use berth_tests::Berth;

/// A ConfigMap with this data, each a `key: value`.
fn map(data: &[&str]) -> String {
    let lines: String = data.iter().map(|line| format!("  {line}\n")).collect();
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: shared}}\ndata:\n{lines}")
}

fn apply(berth: &Berth, manager: &str, more: &[&str], manifest: &str) -> berth_tests::Output {
    let args = ["apply", "--server-side", "--field-manager", manager, "-f", "-"];
    berth.kubectl_with(&[&args[..], more].concat(), manifest)
}

fn data(berth: &Berth) -> String {
    berth.get(&["configmap", "shared"])["data"].to_string()
}

/// Who applied or updated, by name.
fn managers(berth: &Berth) -> Vec<String> {
    let object = berth.get(&["configmap", "shared", "--show-managed-fields"]);
    let entries = object["metadata"]["managedFields"].as_array().unwrap().clone();
    let name = |entry: &serde_json::Value| {
        format!("{} {}", entry["manager"].as_str().unwrap(), entry["operation"].as_str().unwrap())
    };
    let mut names: Vec<String> = entries.iter().map(name).collect();
    names.sort();
    names
}

#[test]
fn two_managers_share_an_object_until_they_want_different_things() {
    let berth = cluster();
    let applied = apply(&berth, "one", &[], &map(&["a: '1'", "b: '2'"])).ok();
    assert_eq!(applied, "configmap/shared serverside-applied\n");
    let version = berth.get(&["configmap", "shared"])["metadata"]["resourceVersion"].to_string();
    apply(&berth, "one", &[], &map(&["a: '1'", "b: '2'"])).ok();
    assert_eq!(berth.get(&["configmap", "shared"])["metadata"]["resourceVersion"].to_string(), version);

    apply(&berth, "two", &[], &map(&["a: '1'", "c: '3'"])).ok();
    let refused = apply(&berth, "two", &[], &map(&["a: '9'", "c: '3'"])).fails();
    contains(
        &refused,
        &["Apply failed with 1 conflict: conflict with \"one\": .data.a", "--force-conflicts"],
    );
    apply(&berth, "two", &["--force-conflicts"], &map(&["a: '9'", "c: '3'"])).ok();
    assert_eq!(data(&berth), r#"{"a":"9","b":"2","c":"3"}"#);
    apply(&berth, "two", &[], &map(&["c: '3'"])).ok();
    assert_eq!(data(&berth), r#"{"b":"2","c":"3"}"#, "nobody else owned what it gave up");

    let shown = apply(&berth, "three", &["--dry-run=server"], &map(&["d: '4'"])).ok();
    assert_eq!(shown, "configmap/shared serverside-applied (server dry run)\n");
    assert_eq!(data(&berth), r#"{"b":"2","c":"3"}"#);
    let mistaken =
        apply(&berth, "two", &[], "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shared}\ndatum: {}\n");
    contains(&mistaken.fails(), &[".datum: field not declared in schema"]);
}

#[test]
fn from_client_side_to_server_side_apply_and_what_comes_after() {
    let berth = cluster();
    berth.apply(&map(&["a: '1'", "b: '2'"]));
    assert_eq!(managers(&berth), ["kubectl-client-side-apply Update"]);
    // kubectl hands its own former ownership over; the server takes what the annotation shows to be its own.
    let moved = berth.kubectl_with(&["apply", "--server-side", "-f", "-"], &map(&["a: '8'"])).ok();
    assert_eq!(moved, "configmap/shared serverside-applied\n");
    assert_eq!(data(&berth), r#"{"a":"8"}"#, "what it gave up is gone");
    // The second one is kubectl's for its annotation alone, which stays for the way back.
    assert_eq!(managers(&berth), ["kubectl Apply", "kubectl-last-applied Apply"]);

    berth.kubectl(&["label", "configmap", "shared", "by=hand"]).ok();
    berth.kubectl(&["patch", "configmap", "shared", "-p", r#"{"data":{"a":"hand"}}"#]).ok();
    let refused = berth.kubectl_with(&["apply", "--server-side", "-f", "-"], &map(&["a: '8'"])).fails();
    contains(&refused, &["conflict with \"kubectl-patch\" using v1", ".data.a"]);
    let forced = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    berth.kubectl_with(&forced, &map(&["a: '8'"])).ok();
    let object = berth.get(&["configmap", "shared"]);
    assert_eq!((&object["data"]["a"], &object["metadata"]["labels"]["by"]), (&"8".into(), &"hand".into()));
    assert_eq!(managers(&berth), ["kubectl Apply", "kubectl-label Update", "kubectl-last-applied Apply"]);

    assert_eq!(edit(&berth, "configmap/shared", "s/a: .8./a: edited/").ok(), "configmap/shared edited\n");
    assert_eq!(data(&berth), r#"{"a":"edited"}"#);
    assert!(managers(&berth).contains(&"kubectl-edit Update".to_owned()));

    // And back again.
    assert_eq!(berth.apply(&map(&["a: '7'"])), "configmap/shared configured\n");
    assert_eq!(data(&berth), r#"{"a":"7"}"#);
}

#[test]
fn a_deployment_is_scaled_by_another_than_who_applies_it() {
    let berth = cluster();
    let manifest = |replicas: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d}}\nspec:\n{replicas}  selector: {{matchLabels: {{app: d}}}}\n  \
             template:\n    metadata: {{labels: {{app: d}}}}\n    spec:\n      containers: [{{name: c, image: i}}]\n"
        )
    };
    apply(&berth, "one", &[], &manifest("  replicas: 1\n")).ok();
    berth.kubectl(&["scale", "deployment", "d", "--replicas=2"]).ok();
    let refused = apply(&berth, "one", &[], &manifest("  replicas: 1\n")).fails();
    contains(
        &refused,
        &["conflict with \"kubectl\" with subresource \"scale\" using apps/v1: .spec.replicas"],
    );
    apply(&berth, "one", &[], &manifest("")).ok();
    assert_eq!(berth.get(&["deployment", "d"])["spec"]["replicas"], 2);
    berth.kubectl(&["rollout", "status", "deployment/d", "--timeout=60s"]).ok();
}
