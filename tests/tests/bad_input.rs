//! What is wrong gets one clear sentence where the user looks, and the rest of the cluster does not notice.
#![allow(clippy::unwrap_used)] // a test may

use berth_tests::{Berth, Options, component, eventually, holds, run};
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

#[track_caller]
fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

/// That the cluster still places pods.
#[track_caller]
fn serves(berth: &Berth, pod: &str) {
    berth.kubectl(&["run", pod, "--image=my-app:v1"]).ok();
    berth.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{pod}"), "--timeout=60s"]).ok();
}

#[test]
fn manifests() {
    let berth = Berth::start(Options::simulated(1));
    let refused =
        |args: &[&str], text: &str| berth.kubectl_with(&[args, &["-f", "-"]].concat(), text).fails();
    let config_map =
        |rest: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: wrong}}\n{rest}\n");
    contains(&refused(&["apply"], "a: [1"), &["error converting YAML to JSON"]);
    contains(
        &refused(&["apply"], &config_map("colour: red")),
        &[r#"strict decoding error: unknown field "colour""#],
    );
    let nested = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i, imaeg: j}]}\n";
    contains(&refused(&["create"], nested), &[r#"unknown field "spec.containers[0].imaeg""#]);
    contains(
        &refused(&["create"], &config_map("data: {a: 1}")),
        &["cannot unmarshal number", "of type string"],
    );
    let replicas = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {replicas: many}\n";
    contains(&refused(&["create"], replicas), &["cannot unmarshal string", "replicas of type int32"]);
    contains(
        &refused(&["create"], &nested.replace("name: p", "name: Bad_Name").replace(", imaeg: j", "")),
        &[r#"metadata.name: Invalid value: "Bad_Name""#, "RFC 1123"],
    );
    // kubectl itself keeps one of two equal keys: the body goes to the server as it is.
    let file = berth.root().join("twice.json");
    let twice =
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"wrong"},"data":{"a":"1","a":"2"}}"#;
    std::fs::write(&file, twice).unwrap();
    let path = "/api/v1/namespaces/default/configmaps?fieldValidation=Strict";
    let duplicate = berth.kubectl(&["create", "--raw", path, "-f", file.to_str().unwrap()]).fails();
    contains(&duplicate, &[r#"duplicate field "data.a""#]);
    let left = berth.kubectl(&["get", "configmaps,pods,deployments", "-o", "name"]).ok();
    assert_eq!(left, "configmap/kube-root-ca.crt\n", "nothing of it was stored");

    let warned = berth.kubectl_with(&["apply", "--validate=warn", "-f", "-"], &config_map("colour: red"));
    contains(&warned.stderr, &[r#"Warning: unknown field "colour""#]);
    assert_eq!(warned.ok(), "configmap/wrong created\n");
    serves(&berth, "good");
}

#[test]
fn a_request_larger_than_any_node() {
    let berth = Berth::start(Options::simulated(3));
    let pod = |name: &str, requests: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n\
             spec: {{containers: [{{name: c, image: i, resources: {{requests: {{{requests}}}}}}}]}}\n"
        )
    };
    berth.apply(&pod("cpu", "cpu: 1000"));
    berth.apply(&pod("memory", "memory: 100Ti"));
    for (name, why) in [("cpu", "Insufficient cpu"), ("memory", "Insufficient memory")] {
        let told = eventually("it is told why", SOON, || {
            let described = berth.kubectl(&["describe", "pod", name]).ok();
            holds(described.contains("FailedScheduling"), &described).map(|()| described)
        });
        contains(&told, &[&format!("0/3 nodes are available: 3 {why}."), "Status:           Pending"]);
    }
    serves(&berth, "good");
}

#[test]
fn strangers_are_turned_away() {
    let berth = Berth::start(Options::simulated(0));
    for token in [None, Some("Authorization: Bearer no-such-token")] {
        let mut curl = Command::new("curl");
        curl.args(["-sk", "--noproxy", "*", "-w", " %{http_code}"])
            .args(token.iter().flat_map(|t| ["-H", t]));
        let answer = run(curl.arg(format!("https://{}/api/v1/pods", berth.address())), "", SOON).ok();
        // Indented, as whoever reads curl's output wants it.
        contains(&answer, &[r#""reason": "Unauthorized""#]);
        assert!(answer.ends_with(" 401"), "{answer}");
    }
}

#[test]
fn what_is_not_there_yet_says_so() {
    let berth = Berth::start(Options::simulated(1));
    serves(&berth, "one");
    let refused = |args: &[&str]| berth.kubectl(args).fails();
    contains(&refused(&["port-forward", "pod/one", "18080:80"]), &["pods/portforward is not supported"]);
    contains(&refused(&["get", "statefulsets"]), &["doesn't have a resource type"]);
    contains(
        &refused(&["debug", "pod/one", "--image=busybox"]),
        &["pods/ephemeralcontainers is not supported"],
    );
}

/// A cluster in which the policy that comes with Berth serves.
fn served() -> Berth {
    let berth = Berth::start(Options::simulated(3));
    eventually("spread serves", SOON, || {
        let binding = berth.kubectl(&[
            "get",
            "pluginbinding",
            "default-scheduler",
            "-o",
            "jsonpath={.status.activePlugin}",
        ]);
        holds(binding.stdout == "spread", binding.stdout + &binding.stderr)
    });
    berth
}

#[test]
fn files_that_are_no_plugins() {
    let berth = served();
    let wat = |text: &str| wat::parse_str(text).unwrap();
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("garbage", b"#!/bin/sh\necho no\n".to_vec(), "the file is not WebAssembly"),
        ("module", wat("(module)"), "the file is a core Wasm module, not a component"),
        ("empty", wat("(component)"), "it has no exports"),
        (
            "wasi",
            wat(r#"(component
                (import "wasi:filesystem/preopens@0.2.3" (instance))
                (import "wasi:sockets/tcp@0.2.3" (instance)))"#),
            "imports what no policy is granted: wasi:filesystem/preopens@0.2.3, wasi:sockets/tcp@0.2.3",
        ),
        (
            "future",
            wat(r#"(component (instance $i) (export "berth:policy/cluster@9.1.0" (instance $i)))"#),
            "was built for berth:policy/cluster@9.1.0",
        ),
    ];
    for (name, bytes, why) in cases {
        let file = berth.root().join(format!("{name}.wasm"));
        std::fs::write(&file, bytes).unwrap();
        contains(&berth.berth(&["plugin", "install", file.to_str().unwrap()]).fails(), &[why]);
    }
    let missing = berth.berth(&["plugin", "install", "/no/such/file.wasm"]).fails();
    contains(&missing, &["/no/such/file.wasm cannot be read"]);
    contains(&berth.berth(&["plugin", "swap", "absent"]).fails(), &["not found"]);
    let served = berth.get(&["pluginbinding", "default-scheduler"]);
    assert_eq!(served["status"]["activePlugin"], "spread");
    serves(&berth, "good");
}

/// When a plugin misbehaves.
#[derive(Clone, Copy)]
enum When {
    /// Before it serves: the swap itself fails.
    Loaded,
    /// As soon as there is a pod.
    Asked,
}

/// Swaps to a plugin that misbehaves in one way, and waits until the cluster has told about it.
fn hostile(fault: &str, when: When, words: &[&str]) {
    let berth = served();
    let file = component("tests/policies/hostile");
    berth.berth(&["plugin", "install", file.to_str().unwrap()]).ok();
    if fault == "eat" {
        // Its memory is over before its time, also on a slow machine.
        let longer = r#"{"spec": {"limits": {"deadline": "10s"}}}"#;
        berth.kubectl(&["patch", "plugin", "hostile", "--type=merge", "-p", longer]).ok();
    }
    let config = format!("\"{fault}\"");
    let swapped = berth.berth(&["plugin", "swap", "hostile", "--config", &config]);
    match when {
        When::Loaded => contains(&swapped.fails(), &[words, &["plugin spread goes on serving"]].concat()),
        When::Asked => contains(&swapped.ok(), &["profile default-scheduler is served by plugin hostile"]),
    }
    // Whatever it does, the pods get a node.
    for pod in ["first", "second", "third"] {
        serves(&berth, pod);
    }
    let told = |what: &str, args: &[&str]| {
        eventually(what, SOON, || {
            let text = berth.kubectl(args).ok();
            holds(words.iter().all(|word| text.contains(word)), text)
        });
    };
    told("an event tells why", &["get", "events", "--field-selector", "type=Warning"]);
    told("the status tells why", &["get", "pluginbindings,plugins", "-o", "jsonpath={.items[*].status}"]);
}

#[test]
fn a_plugin_that_loops_when_it_is_loaded() {
    hostile("loop-at-once", When::Loaded, &["used more than its", "ms"]);
}

#[test]
fn a_plugin_that_loops_when_it_is_asked() {
    hostile("loop", When::Asked, &["used more than its", "ms"]);
}

#[test]
fn a_plugin_that_eats_memory() {
    hostile("eat", When::Asked, &["the policy asked for more than its 134217728 bytes of memory"]);
}

#[test]
fn a_plugin_that_panics() {
    hostile("panic", When::Asked, &["the policy trapped: panicked at"]);
}
