use serde_json::{Value, json};

use super::*;
use crate::clock::plus_seconds;
use crate::observed::{Remains, Running, StopStage, Termination};

const T0: Timestamp = Timestamp::from_seconds(1_000_000);

fn pod(spec: Value) -> Pod {
    Pod::from_value(json!({ "metadata": { "name": "p", "namespace": "d", "uid": "u" }, "spec": spec }))
        .unwrap()
}

fn at(seconds: i64) -> Timestamp {
    plus_seconds(T0, seconds)
}

/// A pod's state in few words: `web=running`, `i=exited:1`, `web=ready`.
fn observed(pod: &Pod, parts: Part, words: &str) -> Observed {
    let mut observed = Observed::new(pod, T0);
    (observed.sandbox, observed.volumes) = (parts.clone(), parts);
    for (name, word) in words.split_whitespace().filter_map(|word| word.split_once('=')) {
        let record = observed.containers.get_mut(name).unwrap();
        record.image = ImageState::Present;
        record.phase = match word.split_once(':') {
            None if word == "waiting" => Phase::Waiting,
            None if word == "starting" => Phase::Starting,
            None => Phase::Running(running(word == "started")),
            Some((_, code)) => Phase::Exited(termination(code.parse().unwrap())),
        };
    }
    observed.initialized = has_initialized(pod, &observed);
    observed
}

fn running(started: bool) -> Running {
    Running {
        id: "x".to_owned(),
        started_at: T0,
        hooked: true,
        started,
        ready: started,
        unhealthy: None,
        stop: None,
    }
}

fn termination(exit_code: i32) -> Termination {
    Termination {
        id: "x".to_owned(),
        exit_code,
        signal: 0,
        reason: String::new(),
        message: String::new(),
        started_at: T0,
        finished_at: T0,
    }
}

/// The plan's operations in few words.
fn ops(pod: &Pod, observed: &Observed, now: Timestamp) -> String {
    let plan = converge(pod, observed, Pauses::KUBELET, now);
    let words = plan.ops.iter().map(|op| match op {
        Op::MakeSandbox => "sandbox".to_owned(),
        Op::MakeVolumes => "volumes".to_owned(),
        Op::ResolveImage { container } => format!("image:{container}"),
        Op::Start { container } => format!("start:{container}"),
        Op::Stop { container, stop, .. } => {
            format!("stop:{container}@{}", stop.kill_at.millis_since(T0) / 1000)
        }
        Op::Signal { container } => format!("signal:{container}"),
        Op::Kill { container } => format!("kill:{container}"),
        Op::Fail(failure) => failure.reason.clone(),
        Op::RemoveSandbox => "remove-sandbox".to_owned(),
        Op::RemoveVolumes => "remove-volumes".to_owned(),
        Op::RemoveRemains => "remove-remains".to_owned(),
        Op::DeleteObject => "delete".to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn two() -> Pod {
    pod(json!({ "containers": [{ "name": "a" }, { "name": "b" }] }))
}

#[test]
fn everything_a_new_pod_needs_is_begun_at_once() {
    let pod = two();
    assert_eq!(ops(&pod, &Observed::new(&pod, T0), T0), "sandbox volumes image:a image:b");
    let ready = observed(&pod, Part::Ready, "a=waiting b=waiting");
    assert_eq!(ops(&pod, &ready, T0), "start:a start:b");
}

#[test]
fn a_container_of_another_image_is_ended() {
    let pod = |image: &str| pod(json!({ "containers": [{ "name": "a", "image": image }] }));
    let mut runs = observed(&pod("web:1"), Part::Ready, "a=started");
    assert_eq!(ops(&pod("web:2"), &runs, T0), "", "what it was made from is not known");
    runs.containers.get_mut("a").unwrap().image_ref = "docker.io/library/web:1".to_owned();
    assert_eq!(ops(&pod("web:1"), &runs, T0), "");
    assert_eq!(ops(&pod("web:2"), &runs, T0), "stop:a@30");
}

#[test]
fn nothing_is_started_before_its_parts_are_there() {
    let pod = two();
    assert_eq!(ops(&pod, &observed(&pod, Part::Making, "a=waiting b=waiting"), T0), "");
    let mut failed = observed(&pod, Part::Ready, "a=waiting b=starting");
    failed.sandbox = Part::Failed { message: String::new(), retry_at: at(5) };
    assert_eq!(converge(&pod, &failed, Pauses::KUBELET, T0), Plan { ops: vec![], wake_at: Some(at(5)) });
    assert_eq!(ops(&pod, &failed, at(5)), "sandbox");
}

#[test]
fn init_containers_run_in_order_and_sidecars_before_what_follows() {
    let pod = pod(json!({
        "initContainers": [{ "name": "i" }, { "name": "s", "restartPolicy": "Always" }, { "name": "j" }],
        "containers": [{ "name": "c" }],
    }));
    for (words, expected) in [
        ("i=waiting s=waiting j=waiting c=waiting", "start:i"),
        ("i=running s=waiting j=waiting c=waiting", ""),
        ("i=exited:0 s=waiting j=waiting c=waiting", "start:s"),
        ("i=exited:0 s=running j=waiting c=waiting", ""),
        ("i=exited:0 s=started j=waiting c=waiting", "start:j"),
        ("i=exited:0 s=started j=exited:0 c=waiting", "start:c"),
        ("i=exited:0 s=exited:0 j=running c=waiting", "start:s"),
    ] {
        assert_eq!(ops(&pod, &observed(&pod, Part::Ready, words), T0), expected, "{words}");
    }
    // Once initialised, only the sidecar is looked after.
    let mut later = observed(&pod, Part::Ready, "i=exited:0 s=exited:1 j=exited:0 c=running");
    later.initialized = true;
    assert_eq!(ops(&pod, &later, T0), "start:s");
}

#[test]
fn restart_policies() {
    for (policy, words, expected) in [
        ("Always", "a=exited:0 b=running", "start:a"),
        ("OnFailure", "a=exited:0 b=running", ""),
        ("OnFailure", "a=exited:1 b=running", "start:a"),
        ("Never", "a=exited:1 b=running", ""),
        ("Never", "a=exited:1 b=exited:0", "remove-sandbox"),
        ("OnFailure", "a=exited:0 b=exited:0", "remove-sandbox"),
    ] {
        let mut pod = two();
        pod.spec.restart_policy = serde_json::from_value(json!(policy)).unwrap();
        assert_eq!(ops(&pod, &observed(&pod, Part::Ready, words), T0), expected, "{policy} {words}");
    }
}

#[test]
fn a_crash_loop_waits() {
    let pod = two();
    let mut observed = observed(&pod, Part::Ready, "a=exited:1 b=running");
    observed.containers.get_mut("a").unwrap().backoff.step(T0, Pauses::KUBELET);
    assert_eq!(converge(&pod, &observed, Pauses::KUBELET, T0), Plan { ops: vec![], wake_at: Some(at(10)) });
    assert_eq!(ops(&pod, &observed, at(10)), "start:a");
    let waits = |pod: &Pod, container: &str, now| backs_off(pod, &observed, container, Pauses::KUBELET, now);
    assert!(waits(&pod, "a", T0) && !waits(&pod, "a", at(10)), "until its time has come");
    assert!(!waits(&pod, "b", T0), "it runs");
    assert!(!waits(&deleted(two(), 30), "a", T0), "the pod ends");
}

#[test]
fn a_grace_period_below_zero_is_a_second() {
    for (seconds, expected) in [(-5, "stop:a@1"), (0, "stop:a@1"), (7, "stop:a@7")] {
        let pod = pod(json!({ "terminationGracePeriodSeconds": seconds, "containers": [{ "name": "a" }] }));
        assert_eq!(pod.grace_seconds(), if seconds < 0 { 1 } else { seconds });
        let mut observed = observed(&pod, Part::Ready, "a=started");
        observed.failure = Some(end::deadline_exceeded(T0));
        assert_eq!(ops(&pod, &observed, T0), expected, "{seconds}");
    }
}

#[test]
fn a_failed_init_container_ends_a_pod_that_is_never_restarted() {
    let pod = pod(json!({
        "restartPolicy": "Never", "initContainers": [{ "name": "i" }], "containers": [{ "name": "c" }],
    }));
    assert_eq!(ops(&pod, &observed(&pod, Part::Ready, "i=exited:2 c=waiting"), T0), "remove-sandbox");
}

#[test]
fn the_loss_of_its_sandbox_does_not_revive_a_pod_that_has_ended() {
    let lost = |policy: &str, words: &str| {
        let pod = pod(json!({
            "restartPolicy": policy, "initContainers": [{ "name": "i" }], "containers": [{ "name": "c" }],
        }));
        let mut observed = observed(&pod, Part::Ready, words);
        observed.lose_sandbox(&pod, T0, |_| termination(137));
        observed.sandbox = Part::Ready;
        ops(&pod, &observed, at(60))
    };
    assert_eq!(lost("Never", "i=exited:2 c=waiting"), "remove-sandbox");
    assert_eq!(lost("Never", "i=exited:0 c=started"), "remove-sandbox");
    assert_eq!(lost("OnFailure", "i=exited:0 c=started"), "start:i");
}

fn deleted(mut pod: Pod, grace_seconds: i64) -> Pod {
    pod.metadata.deletion_timestamp = Some(at(grace_seconds).rfc3339());
    pod
}

#[test]
fn deletion_stops_containers_then_removes_sandbox_remains_and_object() {
    let pod = deleted(two(), 30);
    let mut observed = observed(&pod, Part::Ready, "a=started b=exited:0");
    assert_eq!(ops(&pod, &observed, T0), "stop:a@30");
    let record = observed.containers.get_mut("a").unwrap();
    let Phase::Running(running) = &mut record.phase else { panic!() };
    running.stop = Some(Stop { begun_at: T0, kill_at: at(30), stage: StopStage::Due });
    assert_eq!(ops(&pod, &observed, T0), "signal:a");
    observed.containers.get_mut("a").unwrap().end(termination(143));
    assert_eq!(ops(&pod, &observed, at(2)), "remove-sandbox");
    observed.sandbox = Part::Absent;
    assert_eq!(ops(&pod, &observed, at(2)), "remove-remains");
    observed.remains = Remains::Gone;
    assert_eq!(ops(&pod, &observed, at(2)), "delete");
    observed.remains = Remains::Done;
    assert_eq!(ops(&pod, &observed, at(2)), "");
}

#[test]
fn every_container_has_its_signal_before_it_is_killed_and_is_killed_until_it_is_gone() {
    let (pod, sooner) = (deleted(two(), 30), deleted(two(), 5));
    let of = |pod: &Pod, stop: Stop, now| {
        let mut observed = observed(pod, Part::Ready, "a=started b=exited:0");
        let Phase::Running(running) = &mut observed.containers.get_mut("a").unwrap().phase else { panic!() };
        running.stop = Some(stop);
        ops(pod, &observed, now)
    };
    let stop = Stop { begun_at: T0, kill_at: at(30), stage: StopStage::Hook };
    assert_eq!((of(&pod, stop, at(29)).as_str(), of(&pod, stop, at(30)).as_str()), ("", "signal:a"));
    let signalled = end::signalled(stop, at(3));
    assert_eq!((of(&pod, signalled, at(29)).as_str(), of(&pod, signalled, at(30)).as_str()), ("", "kill:a"));
    assert_eq!(of(&sooner, signalled, at(5)), "kill:a", "deleted again with less grace");
    let overdue = end::signalled(stop, at(30));
    assert_eq!((of(&pod, overdue, at(31)).as_str(), of(&pod, overdue, at(32)).as_str()), ("", "kill:a"));
    assert_eq!(of(&sooner, overdue, at(31)), "", "its moment is its own");
    let killed = end::killed(overdue, at(32));
    assert_eq!((of(&pod, killed, at(41)).as_str(), of(&pod, killed, at(42)).as_str()), ("", "kill:a"));
}

#[test]
fn a_pod_that_has_ended_gives_its_volumes_back() {
    let pod = pod(json!({ "restartPolicy": "Never", "containers": [{ "name": "c" }] }));
    let mut observed = observed(&pod, Part::Ready, "c=exited:0");
    assert_eq!(ops(&pod, &observed, T0), "remove-sandbox", "first what uses them");
    observed.sandbox = Part::Absent;
    assert_eq!(ops(&pod, &observed, T0), "remove-volumes");
    observed.volumes = Part::Broken { retry_at: at(5) };
    assert_eq!(
        (ops(&pod, &observed, T0), ops(&pod, &observed, at(5))),
        (String::new(), "remove-volumes".into())
    );
    observed.volumes = Part::Removing;
    assert_eq!(ops(&pod, &observed, T0), "");
    assert_eq!(ops(&deleted(pod.clone(), 1), &observed, T0), "", "one after the other");
    observed.volumes = Part::Absent;
    assert_eq!(ops(&pod, &observed, T0), "");
    assert_eq!(ops(&deleted(pod, 1), &observed, T0), "remove-remains");
}

#[test]
fn a_pod_that_vanished_gets_a_second() {
    let pod = two();
    let mut observed = observed(&pod, Part::Ready, "a=started b=starting");
    observed.vanished = Some(T0);
    assert_eq!(ops(&pod, &observed, T0), "stop:a@1");
}

#[test]
fn sidecars_end_last_and_in_reverse() {
    let pod = deleted(
        pod(json!({
            "initContainers": [{ "name": "s", "restartPolicy": "Always" }, { "name": "t", "restartPolicy": "Always" }],
            "containers": [{ "name": "c" }],
        })),
        30,
    );
    for (words, expected) in [
        ("s=started t=started c=started", "stop:c@30"),
        ("s=started t=started c=exited:0", "stop:t@30"),
        ("s=started t=exited:0 c=exited:0", "stop:s@30"),
        ("s=exited:0 t=exited:0 c=exited:0", "remove-sandbox"),
    ] {
        assert_eq!(ops(&pod, &observed(&pod, Part::Ready, words), T0), expected, "{words}");
    }
}

#[test]
fn sidecars_do_not_keep_a_finished_pod() {
    let pod = pod(json!({
        "restartPolicy": "Never",
        "initContainers": [{ "name": "s", "restartPolicy": "Always" }], "containers": [{ "name": "c" }],
    }));
    assert_eq!(ops(&pod, &observed(&pod, Part::Ready, "s=started c=exited:0"), T0), "stop:s@30");
}

#[test]
fn an_unhealthy_container_is_stopped_within_its_grace() {
    let pod = two();
    let mut observed = observed(&pod, Part::Ready, "a=started b=started");
    let Phase::Running(running) = &mut observed.containers.get_mut("a").unwrap().phase else { panic!() };
    running.unhealthy = Some(crate::observed::Unhealthy { message: "m".to_owned(), grace_seconds: Some(4) });
    assert_eq!(ops(&pod, &observed, T0), "stop:a@4");
}

#[test]
fn the_active_deadline_fails_the_pod() {
    let pod = pod(json!({ "activeDeadlineSeconds": 9, "containers": [{ "name": "c" }] }));
    let mut observed = observed(&pod, Part::Ready, "c=started");
    let plan = converge(&pod, &observed, Pauses::KUBELET, T0);
    assert_eq!(plan, Plan { ops: vec![], wake_at: Some(at(9)) });
    assert_eq!(ops(&pod, &observed, at(9)), "DeadlineExceeded");
    observed.failure = Some(end::deadline_exceeded(at(9)));
    assert_eq!(ops(&pod, &observed, at(9)), "stop:c@39");
}
