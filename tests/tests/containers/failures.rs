//! What goes wrong with a container is told where the user looks.

use crate::{SOON, busybox, cluster, contains, ready};
use berth_tests::{Berth, eventually, holds};
use serde_json::Value;
use std::net::TcpListener;

/// Waits until the pod's container waits for one of these reasons; its status.
#[track_caller]
fn waiting(berth: &Berth, pod: &str, reasons: &[&str]) -> Value {
    eventually(&format!("{pod} has {reasons:?}"), SOON, || {
        let status = berth.get(&["pod", pod])["status"]["containerStatuses"][0].clone();
        let reason = status["state"]["waiting"]["reason"].as_str().unwrap_or_default();
        holds(reasons.contains(&reason), &status).map(|()| status)
    })
}

#[test]
fn an_image_that_does_not_exist() {
    let Some(berth) = cluster("containers::an_image_that_does_not_exist") else { return };
    // Nobody listens on port 1.
    berth.kubectl(&["run", "nowhere", "--image=127.0.0.1:1/no/such:image"]).ok();
    berth.kubectl(&["run", "never", "--image=absent:v9", "--image-pull-policy=Never"]).ok();
    berth.apply(&busybox("misspelt", "true", "").replace("busybox:latest", "'Not:A:Reference'"));
    let status = waiting(&berth, "nowhere", &["ErrImagePull", "ImagePullBackOff"]);
    contains(&status["state"]["waiting"]["message"].to_string(), &["127.0.0.1:1/no/such:image"]);
    let status = waiting(&berth, "never", &["ErrImageNeverPull"]);
    contains(&status["state"]["waiting"]["message"].to_string(), &["absent:v9", "not present"]);
    waiting(&berth, "misspelt", &["InvalidImageName"]);
    let described = berth.kubectl(&["describe", "pod", "nowhere"]).ok();
    contains(&described, &["Warning  Failed", "Failed to pull image \"127.0.0.1:1/no/such:image\""]);
    berth.apply(&busybox("good", "sleep infinity", ""));
    ready(&berth, "good");
}

#[test]
fn a_host_port_that_somebody_has_is_told_with_who_it_is() {
    let Some(berth) = cluster("containers::a_host_port_that_somebody_has_is_told_with_who_it_is") else {
        return;
    };
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let taken = listener.local_addr().unwrap().port().to_string();
    let address = berth.address();
    let api = address.rsplit_once(':').unwrap().1;
    let port = |port: &str| format!("    ports: [{{containerPort: 80, hostPort: {port}}}]\n");
    berth.apply(&busybox("greedy", "sleep infinity", &port(api)));
    berth.apply(&busybox("patient", "sleep infinity", &port(&taken)));
    let told = |pod: &str, expected: &str| {
        eventually(&format!("{pod} is told"), SOON, || {
            let selector = format!("involvedObject.name={pod},reason=FailedCreatePodSandBox");
            let events = berth.kubectl(&["get", "events", "--field-selector", &selector]).ok();
            holds(events.contains(expected), events)
        });
    };
    told("greedy", &format!("host port {api}/TCP is already in use by this cluster's API server"));
    told("patient", &format!("host port {taken}/TCP is already in use by"));
    told("patient", &format!("(process {})", std::process::id()));
    drop(listener);
    ready(&berth, "patient");
    berth.kubectl(&["delete", "pod", "greedy", "patient", "--timeout=60s"]).ok();
}

#[test]
fn a_command_that_is_not_in_the_image() {
    let Some(berth) = cluster("containers::a_command_that_is_not_in_the_image") else { return };
    let run =
        ["run", "lost", "--image=busybox:latest", "--image-pull-policy=IfNotPresent", "--command", "--"];
    berth.kubectl(&[&run[..], &["/no/such/command"]].concat()).ok();
    let ended = eventually("it is told why", SOON, || {
        let status = berth.get(&["pod", "lost"])["status"]["containerStatuses"][0].clone();
        let states = [&status["state"]["terminated"], &status["lastState"]["terminated"]];
        let ended = states.into_iter().find(|state| !state.is_null()).cloned();
        ended.ok_or_else(|| status.to_string())
    });
    contains(&ended["message"].to_string(), &["/no/such/command", "no such file or directory"]);
    assert_eq!((&ended["reason"], &ended["exitCode"]), (&"StartError".into(), &127.into()), "{ended}");
}

#[test]
fn a_container_that_keeps_failing_waits_longer_each_time() {
    let Some(berth) = cluster("containers::a_container_that_keeps_failing_waits_longer_each_time") else {
        return;
    };
    berth.apply(&busybox("crash", "echo about to fail; exit 7", ""));
    let status = waiting(&berth, "crash", &["CrashLoopBackOff"]);
    contains(
        &status["state"]["waiting"]["message"].to_string(),
        &["back-off 10s restarting failed container=main pod=crash_default"],
    );
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 7);
    eventually("it is tried again", SOON, || {
        let status = berth.get(&["pod", "crash"])["status"]["containerStatuses"][0].clone();
        holds(status["restartCount"].as_u64() >= Some(2), status)
    });
    assert_eq!(berth.kubectl(&["logs", "crash", "--previous"]).ok(), "about to fail\n");
    // Not while it is being started once more.
    eventually("the table says so", SOON, || {
        let table = berth.kubectl(&["get", "pods"]).ok();
        holds(table.contains("CrashLoopBackOff") || table.contains("Error"), table)
    });
    contains(
        &berth.kubectl(&["describe", "pod", "crash"]).ok(),
        &["Last State:     Terminated", "Exit Code:    7", "Restart Count:"],
    );
    eventually("it is told", SOON, || {
        let described = berth.kubectl(&["describe", "pod", "crash"]).ok();
        let told = "Back-off restarting failed container main in pod crash_default(";
        holds(described.contains("Warning  BackOff") && described.contains(told), described)
    });
}

#[test]
fn a_container_that_takes_too_much_memory_is_ended_and_says_so() {
    let Some(berth) = cluster("containers::a_container_that_takes_too_much_memory_is_ended_and_says_so")
    else {
        return;
    };
    let more = "    resources: {limits: {memory: 32Mi}}\n  restartPolicy: Never\n";
    berth.apply(&busybox("hog", "exec tail -c 200m /dev/zero", more));
    let ended = eventually("it is ended", SOON, || {
        let ended =
            berth.get(&["pod", "hog"])["status"]["containerStatuses"][0]["state"]["terminated"].clone();
        holds(!ended.is_null(), &ended).map(|()| ended)
    });
    assert_eq!((&ended["reason"], &ended["exitCode"]), (&"OOMKilled".into(), &137.into()), "{ended}");
}
