use serde_json::json;

use super::*;
use crate::container::termination::Termination;
use crate::pod::observed::{ImageState, Running};

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
const FACTS: Facts =
    Facts { host_ip: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), crash: Pauses::KUBELET };

fn pod(spec: Value) -> Pod {
    Pod::from_value(json!({ "metadata": { "name": "p", "namespace": "d", "uid": "u" }, "spec": spec }))
        .unwrap()
}

fn end(exit_code: i32) -> Termination {
    Termination {
        id: "x".to_owned(),
        exit_code,
        signal: 0,
        reason: "Error".to_owned(),
        message: String::new(),
        started_at: NOW,
        finished_at: NOW,
    }
}

fn running() -> Phase {
    Phase::Running(Running {
        id: "x".to_owned(),
        started_at: NOW,
        hooked: true,
        started: true,
        ready: true,
        unhealthy: None,
        stop: None,
    })
}

fn ready(pod: &Pod, phase: Phase) -> Observed {
    let mut observed = Observed::new(pod, NOW);
    (observed.sandbox, observed.volumes) = (Part::Ready, Part::Ready);
    observed.ip = Some([10, 1, 0, 2].into());
    observed.initialized = true;
    observed.containers.get_mut("c").unwrap().phase = phase;
    observed
}

fn of(pod: &Pod, observed: &Observed, now: Timestamp) -> Value {
    Value::Object(status(pod, observed, FACTS, &Fields::new(), now))
}

fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    status["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == kind).unwrap()
}

#[test]
fn a_running_pod_is_ready_and_has_its_addresses() {
    let pod = pod(json!({ "containers": [{ "name": "c", "image": "i" }] }));
    let status = of(&pod, &ready(&pod, running()), NOW);
    assert_eq!(status["phase"], "Running");
    assert_eq!(status["podIPs"], json!([{ "ip": "10.1.0.2" }]));
    assert_eq!(condition(&status, "Ready")["status"], "True");
    assert_eq!(status["containerStatuses"][0]["containerID"], "berth://x");
}

#[test]
fn a_waiting_pod_names_what_it_waits_for() {
    let pod = pod(json!({ "initContainers": [{ "name": "i" }], "containers": [{ "name": "c" }] }));
    let status = of(&pod, &Observed::new(&pod, NOW), NOW);
    assert_eq!(status["phase"], "Pending");
    assert_eq!(condition(&status, "Initialized")["message"], "containers with incomplete status: [i]");
    assert_eq!(condition(&status, "Ready")["message"], "containers with unready status: [c]");
    assert_eq!(status["containerStatuses"][0]["state"]["waiting"]["reason"], "PodInitializing");
}

#[test]
fn a_crash_loop_is_worded_as_the_kubelet_does() {
    let pod = pod(json!({ "containers": [{ "name": "c" }] }));
    let mut observed = ready(&pod, Phase::Exited(end(1)));
    observed.containers.get_mut("c").unwrap().backoff.step(NOW, Pauses::KUBELET);
    let container = of(&pod, &observed, NOW)["containerStatuses"][0].clone();
    let message = "back-off 10s restarting failed container=c pod=p_d(u)";
    assert_eq!(
        container["state"],
        json!({ "waiting": { "reason": "CrashLoopBackOff", "message": message } })
    );
    assert_eq!(container["lastState"]["terminated"]["exitCode"], 1);
    assert_eq!(of(&pod, &observed, NOW)["phase"], "Running");
}

#[test]
fn a_failed_pull_becomes_a_back_off() {
    let pod = pod(json!({ "containers": [{ "name": "c", "image": "no/such" }] }));
    let mut observed = ready(&pod, Phase::Waiting);
    observed.containers.get_mut("c").unwrap().image = ImageState::Failed {
        reason: "ErrImagePull",
        message: "not found".to_owned(),
        failed_at: NOW,
        retry_at: NOW.plus_millis(10_000),
    };
    let waiting = |now| of(&pod, &observed, now)["containerStatuses"][0]["state"]["waiting"].clone();
    assert_eq!(waiting(NOW), json!({ "reason": "ErrImagePull", "message": "not found" }));
    let message = "Back-off pulling image \"no/such\": ErrImagePull: not found";
    assert_eq!(waiting(NOW.plus_millis(3000)), json!({ "reason": "ImagePullBackOff", "message": message }));
}

#[test]
fn phases() {
    for (policy, phase, expected) in [
        ("Never", Phase::Exited(end(0)), "Succeeded"),
        ("Never", Phase::Exited(end(3)), "Failed"),
        ("OnFailure", Phase::Exited(end(3)), "Running"),
        ("Always", Phase::Exited(end(0)), "Running"),
        ("Always", Phase::Starting, "Pending"),
    ] {
        let pod = pod(json!({ "restartPolicy": policy, "containers": [{ "name": "c" }] }));
        assert_eq!(of(&pod, &ready(&pod, phase.clone()), NOW)["phase"], expected, "{policy} {phase:?}");
    }
}

#[test]
fn only_what_changed_is_sent_and_transition_times_stay() {
    let pod = pod(json!({ "containers": [{ "name": "c" }] }));
    let waiting = status(&pod, &ready(&pod, Phase::Waiting), FACTS, &Fields::new(), NOW);
    let later = NOW.plus_millis(5000);
    let after = status(&pod, &ready(&pod, running()), FACTS, &waiting, later);
    let patch = patch(&pod, &waiting, &after).unwrap();
    let sent: Vec<_> = patch["status"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(sent, ["conditions", "containerStatuses", "phase"]);
    let kinds: Vec<_> =
        patch["status"]["conditions"].as_array().unwrap().iter().map(|c| &c["type"]).collect();
    assert_eq!(kinds, ["Ready", "ContainersReady"]);
    assert_eq!(patch["status"]["conditions"][0]["lastTransitionTime"], later.rfc3339());
    assert_eq!(patch["status"]["conditions"][0]["reason"], Value::Null);
    assert!(super::patch(&pod, &after, &after).is_none());
}
