//! Deployments: scale, roll out, undo, pause, restart.

use crate::{contains, with_my_app, words};
use berth_tests::{Berth, eventually, holds};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
const STATUS: [&str; 4] = ["rollout", "status", "deployment/my-app", "--timeout=60s"];

fn images(berth: &Berth) -> Vec<String> {
    let pods = berth.get(&["pods", "-l", "app=my-app"]);
    let pods = pods["items"].as_array().unwrap().iter();
    let mut images: Vec<String> = pods
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .map(|pod| pod["spec"]["containers"][0]["image"].as_str().unwrap().to_owned())
        .collect();
    images.sort();
    images
}

fn revisions(berth: &Berth) -> Vec<String> {
    let history = berth.kubectl(&["rollout", "history", "deployment/my-app"]).ok();
    let lines = history.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    lines.map(|line| words(line)[0].to_owned()).collect()
}

#[test]
fn the_tutorial_runs_as_it_is() {
    let berth = with_my_app();
    let table = berth.kubectl(&["get", "deployment", "my-app"]).ok();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(words(lines[0]), ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]);
    assert_eq!(words(lines[1])[..4], ["my-app", "3/3", "3", "3"]);

    assert_eq!(
        berth.kubectl(&["scale", "deployment", "my-app", "--replicas=5"]).ok(),
        "deployment.apps/my-app scaled\n"
    );
    berth.kubectl(&STATUS).ok();
    assert_eq!(images(&berth), ["my-app:latest"; 5]);
    assert_eq!(revisions(&berth), ["1"], "a new size is no new revision");

    let set = berth.kubectl(&["set", "image", "deployment/my-app", "my-app=my-app:v2"]).ok();
    assert_eq!(set, "deployment.apps/my-app image updated\n");
    berth.kubectl(&STATUS).ok();
    assert_eq!(images(&berth), ["my-app:v2"; 5]);
    assert_eq!(revisions(&berth), ["1", "2"]);
    let second = berth.kubectl(&["rollout", "history", "deployment/my-app", "--revision=2"]).ok();
    contains(&second, &["with revision #2", "my-app:v2", "128Mi"]);

    let undone = berth.kubectl(&["rollout", "undo", "deployment/my-app"]).ok();
    assert_eq!(undone, "deployment.apps/my-app rolled back\n");
    berth.kubectl(&STATUS).ok();
    assert_eq!(images(&berth), ["my-app:latest"; 5]);
    assert_eq!(revisions(&berth), ["2", "3"], "the first revision is the third now");

    let back = berth.kubectl(&["rollout", "undo", "deployment/my-app", "--to-revision=2"]).ok();
    contains(&back, &["rolled back"]);
    berth.kubectl(&STATUS).ok();
    assert_eq!(images(&berth), ["my-app:v2"; 5]);
    assert_eq!(revisions(&berth), ["3", "4"]);
    let missing = berth.kubectl(&["rollout", "undo", "deployment/my-app", "--to-revision=99"]).fails();
    contains(&missing, &["unable to find specified revision 99 in history"]);
}

#[test]
fn a_paused_deployment_waits_until_it_is_resumed() {
    let berth = with_my_app();
    let paused = berth.kubectl(&["rollout", "pause", "deployment/my-app"]).ok();
    assert_eq!(paused, "deployment.apps/my-app paused\n");
    berth.kubectl(&["set", "image", "deployment/my-app", "my-app=my-app:v2"]).ok();
    // Seen by the controller, and no new set made.
    eventually("the change is seen", SOON, || {
        let deployment = berth.get(&["deployment", "my-app"]);
        let (seen, wanted) =
            (&deployment["status"]["observedGeneration"], &deployment["metadata"]["generation"]);
        holds(seen == wanted, seen)
    });
    assert_eq!(images(&berth), ["my-app:latest"; 3]);
    let refused = berth.kubectl(&["rollout", "restart", "deployment/my-app"]).fails();
    contains(&refused, &["can't restart paused deployment"]);
    berth.kubectl(&["rollout", "resume", "deployment/my-app"]).ok();
    berth.kubectl(&STATUS).ok();
    assert_eq!(images(&berth), ["my-app:v2"; 3]);
}

#[test]
fn a_restart_replaces_every_pod() {
    let berth = with_my_app();
    let before = berth.kubectl(&["get", "pods", "-o", "name"]).ok();
    assert_eq!(
        berth.kubectl(&["rollout", "restart", "deployment/my-app"]).ok(),
        "deployment.apps/my-app restarted\n"
    );
    berth.kubectl(&STATUS).ok();
    eventually("the old pods are gone", SOON, || {
        let after = berth.kubectl(&["get", "pods", "-o", "name"]).ok();
        let kept = before.lines().filter(|old| after.contains(old)).count();
        holds(kept == 0 && after.lines().count() == 3, after)
    });
}

#[test]
fn a_deleted_pod_is_replaced_and_a_deleted_deployment_takes_its_pods_along() {
    let berth = with_my_app();
    let pods = berth.kubectl(&["get", "pods", "-o", "name"]).ok();
    let victim = pods.lines().next().unwrap();
    let deleted = berth.kubectl(&["delete", victim]).ok();
    contains(&deleted, &["deleted"]);
    berth.kubectl(&["wait", "--for=condition=Available", "deployment/my-app", "--timeout=60s"]).ok();
    eventually("three pods without the deleted one", SOON, || {
        let now = berth.kubectl(&["get", "pods", "-o", "name"]).ok();
        holds(now.lines().count() == 3 && !now.contains(victim), now)
    });
    berth.kubectl(&["delete", "deployment", "my-app"]).ok();
    eventually("nothing is left", SOON, || {
        let left = berth.kubectl(&["get", "pods,replicasets", "-o", "name"]).ok();
        holds(left.is_empty(), left)
    });
}
