//! What becomes of policies that fail: statuses that tell the truth, and the way back.
#![allow(clippy::unwrap_used)] // a test may

use berth_tests::{Berth, Options, component, eventually, holds};
use serde_json::Value;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const BINDING: &str = "default-scheduler";

fn status(berth: &Berth) -> Value {
    berth.get(&["pluginbinding", BINDING])["status"].clone()
}

/// The status of the condition `Active`, and its reason.
fn active(status: &Value) -> (&str, &str) {
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let active = conditions.iter().find(|condition| condition["type"] == "Active");
    active.map_or(("", ""), |a| (a["status"].as_str().unwrap(), a["reason"].as_str().unwrap()))
}

/// Waits until a plugin serves the default profile, and the binding asks for it or not; returns the status.
#[track_caller]
fn served_by(berth: &Berth, plugin: &str, wanted: &str) -> Value {
    eventually(&format!("{plugin} serves"), SOON, || {
        let status = status(berth);
        let serves = status["activePlugin"] == plugin && active(&status).0 == wanted;
        holds(serves, &status).map(|()| status)
    })
}

/// A cluster in which the hostile plugin is installed, and one that comes with Berth serves.
fn cluster() -> Berth {
    let berth = Berth::start(Options::simulated(3));
    served_by(&berth, "spread", "True");
    let file = component("tests/policies/hostile");
    berth.berth(&["plugin", "install", file.to_str().unwrap()]).ok();
    berth
}

fn swap_to_hostile(berth: &Berth, fault: &str, failure_policy: &str) {
    let patch = format!(r#"{{"spec": {{"failurePolicy": "{failure_policy}"}}}}"#);
    berth.kubectl(&["patch", "pluginbinding", BINDING, "--type=merge", "-p", &patch]).ok();
    let swapped = berth.berth(&["plugin", "swap", "hostile", "--config", &format!("\"{fault}\"")]).ok();
    assert_eq!(swapped, "profile default-scheduler is served by plugin hostile\n");
}

fn run(berth: &Berth, pod: &str) {
    berth.kubectl(&["run", pod, "--image=my-app:v1"]).ok();
}

#[track_caller]
fn ready(berth: &Berth, pod: &str) {
    berth.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{pod}"), "--timeout=60s"]).ok();
}

#[test]
fn a_policy_that_traps_makes_way_for_the_one_before_also_after_a_restart() {
    let mut berth = cluster();
    swap_to_hostile(&berth, "panic", "LastGood");
    run(&berth, "first");
    ready(&berth, "first");
    let told = served_by(&berth, "spread", "False");
    assert_eq!(active(&told), ("False", "PolicyFailed"), "{told}");
    assert_eq!(
        (&told["failed"]["plugin"], &told["lastGood"]["plugin"]),
        (&"hostile".into(), &"spread".into())
    );
    let list = berth.berth(&["plugin", "ls"]).ok();
    let serving = |name: &str| list.lines().find(|line| line.starts_with(name)).unwrap().ends_with(BINDING);
    assert!(serving("spread") && !serving("hostile"), "{list}");
    let refused = berth.berth(&["plugin", "rm", "spread"]).fails();
    assert!(refused.contains("plugin spread serves profile default-scheduler"), "{refused}");

    berth.kill_9();
    berth.up();
    let after = served_by(&berth, "spread", "False");
    assert_eq!((&after["failed"], &after["swaps"]), (&told["failed"], &told["swaps"]), "{after}");
    run(&berth, "second");
    ready(&berth, "second");
    let rolled_back =
        berth.kubectl(&["get", "events", "--field-selector", "reason=PolicyRolledBack", "-o", "name"]);
    assert_eq!(rolled_back.ok().lines().count(), 1, "it was not started again");

    berth.berth(&["plugin", "swap", "binpack"]).ok();
    let mended = served_by(&berth, "binpack", "True");
    assert!(mended["failed"].is_null(), "{mended}");
}

#[test]
fn unusable_answers_leave_a_policy_in_its_place_until_they_are_too_many() {
    let berth = cluster();
    swap_to_hostile(&berth, "short-scores", "LastGood");
    run(&berth, "first");
    ready(&berth, "first");
    let told = eventually("it is told", SOON, || {
        let status = status(&berth);
        holds(status["message"].as_str().is_some_and(|m| m.contains("scores for")), &status).map(|()| status)
    });
    assert_eq!((active(&told), &told["activePlugin"]), (("True", "Installed"), &"hostile".into()), "{told}");
    for pod in ["second", "third", "fourth", "fifth", "sixth"] {
        run(&berth, pod);
        ready(&berth, pod);
    }
    let told = served_by(&berth, "spread", "False");
    assert!(told["message"].as_str().unwrap().contains("such answers within 60 s"), "{told}");
}

#[test]
fn pods_wait_for_a_policy_that_must_not_be_missed_also_during_a_restart() {
    let mut berth = cluster();
    swap_to_hostile(&berth, "panic", "Fail");
    run(&berth, "first");
    let waits = |berth: &Berth, pod: &str| {
        eventually("it is told why it waits", SOON, || {
            let pod = berth.get(&["pod", pod]);
            assert!(pod["spec"]["nodeName"].is_null(), "{pod}");
            let condition = pod["status"]["conditions"].as_array().and_then(|list| list.first()).cloned();
            let message = condition.map(|c| c["message"].to_string()).unwrap_or_default();
            holds(message.contains("policy"), message)
        });
    };
    waits(&berth, "first");
    run(&berth, "second");
    waits(&berth, "second");
    berth.kill_9();
    berth.up();
    run(&berth, "third");
    waits(&berth, "third");
    for pod in ["first", "second"] {
        assert!(berth.get(&["pod", pod])["spec"]["nodeName"].is_null(), "{pod} was placed by somebody else");
    }
    // The configuration is no part of another plugin's.
    berth.berth(&["plugin", "swap", "spread"]).ok();
    assert!(berth.get(&["pluginbinding", BINDING])["spec"]["config"].is_null());
    ["first", "second", "third"].iter().for_each(|pod| ready(&berth, pod));
}

#[test]
fn a_digest_comes_before_its_component() {
    let berth = cluster();
    let hostile = berth.get(&["plugin", "hostile"])["spec"]["digest"].as_str().unwrap().to_owned();
    let missing = format!("sha256:{}", "0".repeat(64));
    let plugin = |digest: &str| {
        format!(
            "apiVersion: berth.dev/v1alpha1\nkind: Plugin\nmetadata: {{name: named}}\nspec: {{digest: '{digest}'}}\n"
        )
    };
    berth.apply(&plugin(&missing));
    let refused = berth.berth(&["plugin", "swap", "named"]).fails();
    assert!(refused.contains(&format!("no component with the digest {missing} was uploaded")), "{refused}");
    served_by(&berth, "spread", "True");
    berth.apply(&plugin(&hostile));
    berth.berth(&["plugin", "swap", "named", "--config", "\"panic\""]).ok();
    served_by(&berth, "named", "True");
}

#[test]
fn a_component_replaced_under_its_name_serves_before_the_swap_says_so() {
    let berth = cluster();
    let install = |package: &str| {
        let file = component(package);
        berth.berth(&["plugin", "install", file.to_str().unwrap(), "--name", "mine"]).ok();
    };
    install("tests/policies/zone-spread");
    berth.berth(&["plugin", "swap", "mine"]).ok();
    let before = served_by(&berth, "mine", "True")["activeDigest"].clone();
    install("plugins/binpack");
    berth.berth(&["plugin", "swap", "mine"]).ok();
    let after = status(&berth);
    assert_eq!(after["activeDigest"], berth.get(&["plugin", "mine"])["spec"]["digest"], "{after}");
    assert_ne!(after["activeDigest"], before);
    assert_eq!(after["lastGood"]["digest"], before);
}

/// A component that is cheap to send and takes minutes to compile: one function of steps that need each other.
fn dear() -> Vec<u8> {
    let step = "(local.set 0 (i32.mul (i32.add (local.get 0) (local.get 1)) (i32.load (local.get 0))))";
    wat::parse_str(format!(
        "(component (core module (memory 1) (func (param i32 i32) {})))",
        step.repeat(300_000)
    ))
    .unwrap()
}

/// Processes of this cluster's berth that compile.
fn compilers(berth: &Berth) -> Vec<String> {
    let parent = format!("PPid:\t{}\n", berth.pid());
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let read =
        |path: &std::path::Path, file: &str| std::fs::read_to_string(path.join(file)).unwrap_or_default();
    processes
        .filter(|path| read(path, "status").contains(&parent))
        .map(|path| read(&path, "cmdline"))
        .filter(|command| command.starts_with("berth-compile\0"))
        .collect()
}

#[test]
fn a_compilation_ends_with_its_client_and_delays_no_failure() {
    let berth = cluster();
    swap_to_hostile(&berth, "panic", "LastGood");
    let file = berth.root().join("dear.wasm");
    std::fs::write(&file, dear()).unwrap();
    let client = berth.berth_beside(&["plugin", "install", file.to_str().unwrap()]);
    eventually("it is being compiled", SOON, || {
        let compilers = compilers(&berth);
        holds(compilers.len() == 1, format!("{compilers:?}"))
    });
    run(&berth, "first");
    ready(&berth, "first");
    served_by(&berth, "spread", "False");
    assert_eq!(compilers(&berth).len(), 1, "all that happened beside it");
    drop(client);
    eventually("nothing is compiled any more", SOON, || {
        let compilers = compilers(&berth);
        holds(compilers.is_empty(), format!("{compilers:?}"))
    });
    assert!(!berth.kubectl(&["get", "plugins", "-o", "name"]).ok().contains("dear"), "nothing was stored");
}
