//! The tutorial with real containers, and how they end.

use crate::{SOON, apply_example, cluster, contains, ready, serve};
use berth_tests::{eventually, holds};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const STATUS: [&str; 4] = ["rollout", "status", "deployment/my-app", "--timeout=90s"];

#[test]
fn the_tutorial_serves_pages() {
    let Some(berth) = cluster("containers::the_tutorial_serves_pages") else { return };
    apply_example(&berth, "my-app.yaml");
    berth.kubectl(&STATUS).ok();
    serve(&berth, 3, "v1");
    berth.kubectl(&["scale", "deployment", "my-app", "--replicas=5"]).ok();
    berth.kubectl(&STATUS).ok();
    serve(&berth, 5, "v1");
    berth.kubectl(&["set", "image", "deployment/my-app", "my-app=my-app:v2"]).ok();
    berth.kubectl(&STATUS).ok();
    serve(&berth, 5, "v2");
    berth.kubectl(&["rollout", "undo", "deployment/my-app"]).ok();
    berth.kubectl(&STATUS).ok();
    serve(&berth, 5, "v1");

    // Listed as kubectl describe lists those of one second.
    let events = berth.get(&["events", "--field-selector", "involvedObject.kind=Pod"]);
    let mut told = BTreeSet::new();
    for event in events["items"].as_array().unwrap() {
        let (pod, reason) = (event["involvedObject"]["name"].to_string(), event["reason"].as_str().unwrap());
        let is_first = told.insert(pod.clone());
        assert_eq!(is_first, reason == "Scheduled", "{pod} tells {reason} first: {events:#}");
    }
    let log = berth.kubectl(&["logs", "deployment/my-app"]).ok();
    contains(&log, &["my-app v1: my-app-", "listens on port 8080"]);
    assert_eq!(berth.kubectl(&["logs", "deployment/my-app", "--tail=1"]).ok().lines().count(), 1);
}

#[test]
fn a_container_is_asked_to_stop_before_it_is_killed() {
    let Some(berth) = cluster("containers::a_container_is_asked_to_stop_before_it_is_killed") else { return };
    berth.kubectl(&["run", "polite", "--image=my-app:v1"]).ok();
    ready(&berth, "polite");
    let log = berth.kubectl_beside(&["logs", "-f", "polite"]);
    eventually("the log is followed", SOON, || {
        let lines = log.lines();
        holds(lines.iter().any(|line| line.contains("listens on port 8080")), lines.join("\n"))
    });
    let begun = Instant::now();
    berth.kubectl(&["delete", "pod", "polite"]).ok();
    assert!(begun.elapsed() < Duration::from_secs(20), "it ends itself, well before its 30 s are over");
    eventually("its last words", SOON, || {
        let lines = log.lines();
        holds(lines.iter().any(|line| line == "my-app v1: stopping"), lines.join("\n"))
    });

    let stubborn = crate::busybox("stubborn", "trap '' TERM; while true; do sleep 1; done", "");
    berth.apply(&stubborn);
    ready(&berth, "stubborn");
    let begun = Instant::now();
    berth.kubectl(&["delete", "pod", "stubborn"]).ok();
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(3), "it had its 3 s: {took:?}");
    assert!(took < Duration::from_secs(20), "it was killed after them: {took:?}");
}
