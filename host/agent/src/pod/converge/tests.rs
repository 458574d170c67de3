use serde_json::{Value, json};

use super::*;
use crate::clock::plus_seconds;
use crate::container::termination::Termination;
use crate::pod::observed::{Deletion, FailureReason, Refusal, Remains, Running, StopStage};

const T0: Timestamp = Timestamp::from_seconds(1_000_000);

fn pod(spec: Value) -> Pod {
    Pod::from_value(json!({ "metadata": { "name": "p", "namespace": "d", "uid": "u" }, "spec": spec }))
        .unwrap()
}

fn at(seconds: i64) -> Timestamp {
    plus_seconds(T0, seconds)
}

/// The same on the clock that nobody sets.
fn moment(seconds: i64) -> Moment {
    Moment::default().plus_seconds(seconds)
}

fn by_both(now: Timestamp) -> Now {
    Now { wall: now, steady: moment(now.millis_since(T0) / 1000) }
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
    let plan = converge(pod, observed, Pauses::KUBELET, by_both(now));
    let words = plan.ops.iter().map(|op| match op {
        Op::MakeSandbox => "sandbox".to_owned(),
        Op::MakeVolumes => "volumes".to_owned(),
        Op::ResolveImage { container } => format!("image:{container}"),
        Op::Start { container } => format!("start:{container}"),
        Op::Stop { container, stop, .. } => {
            format!("stop:{container}@{}", stop.kill_at.after(moment(0)).as_secs())
        }
        Op::Signal { container } => format!("signal:{container}"),
        Op::Kill { container } => format!("kill:{container}"),
        Op::Fail(failure) => failure.reason.word().to_owned(),
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
fn a_pod_that_is_refused_fails_before_anything_of_it_is_begun() {
    let pod = two();
    let reason = FailureReason::SysctlForbidden;
    let refused = |observed: Observed| Observed {
        refusal: Some(Refusal { reason, message: String::new() }),
        ..observed
    };
    assert_eq!(ops(&pod, &refused(Observed::new(&pod, T0)), T0), "SysctlForbidden");
    let runs = refused(observed(&pod, Part::Ready, "a=started b=started"));
    assert_eq!(ops(&pod, &runs, T0), "", "it was begun by other rules");
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
    assert_eq!(
        converge(&pod, &failed, Pauses::KUBELET, by_both(T0)),
        Plan { ops: vec![], wake_at: Some(at(5)) }
    );
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
    assert_eq!(
        converge(&pod, &observed, Pauses::KUBELET, by_both(T0)),
        Plan { ops: vec![], wake_at: Some(at(10)) }
    );
    assert_eq!(ops(&pod, &observed, at(10)), "start:a");
    let waits = |observed: &Observed, container: &str, now| {
        backs_off(&pod, observed, container, Pauses::KUBELET, now)
    };
    assert!(waits(&observed, "a", T0) && !waits(&observed, "a", at(10)), "until its time has come");
    assert!(!waits(&observed, "b", T0), "it runs");
    assert!(!waits(&deleted(observed.clone(), 30), "a", T0), "the pod ends");
}

#[test]
fn a_grace_period_below_zero_is_a_second() {
    for (seconds, expected) in [(-5, "stop:a@1"), (0, "stop:a@1"), (7, "stop:a@7")] {
        let pod = pod(json!({ "terminationGracePeriodSeconds": seconds, "containers": [{ "name": "a" }] }));
        assert_eq!(pod.grace_seconds(), if seconds < 0 { 1 } else { seconds });
        let mut observed = observed(&pod, Part::Ready, "a=started");
        observed.failure = Some(end::deadline_exceeded(&pod, moment(0)));
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

/// Of a pod that was deleted with this grace at the beginning.
fn deleted(mut observed: Observed, grace_seconds: i64) -> Observed {
    observed.deletion = Some(Deletion { grace_seconds, deadline: moment(grace_seconds) });
    observed
}

#[test]
fn grace_counts_from_when_the_deletion_was_learned_and_can_only_be_shortened() {
    let mut pod = two();
    let mut observed = observed(&pod, Part::Ready, "a=started b=exited:0");
    let mut deadline_when = |grace_seconds: Option<i64>, now: i64| {
        // As the server's clock has it: long ago, and cut to whole seconds.
        pod.metadata.deletion_timestamp = Some(at(-5000).rfc3339());
        pod.metadata.deletion_grace_period_seconds = grace_seconds;
        let news = observed.note_deletion(&pod, moment(now));
        (news, observed.deletion.unwrap().deadline.after(moment(0)).as_secs())
    };
    assert_eq!(deadline_when(Some(30), 100), (true, 130));
    assert_eq!(deadline_when(Some(30), 110), (false, 130), "to hear of it again is no news");
    assert_eq!(deadline_when(Some(25), 120), (true, 130), "later than the first one: that holds");
    assert_eq!(deadline_when(Some(4), 121), (true, 125));
    assert_eq!(deadline_when(Some(0), 122), (true, 122));
    let mut silent = Observed::new(&two(), T0);
    assert!(!silent.note_deletion(&two(), moment(0)), "nobody has deleted it");
    pod.metadata.deletion_grace_period_seconds = None;
    assert!(silent.note_deletion(&pod, moment(0)));
    assert_eq!(silent.deletion.map(|deletion| deletion.grace_seconds), Some(30), "the pod's own");
}

#[test]
fn a_wall_clock_that_is_set_neither_cuts_nor_lengthens_a_grace() {
    let pod = two();
    let mut ends = deleted(observed(&pod, Part::Ready, "a=started b=exited:0"), 30);
    let Phase::Running(running) = &mut ends.containers.get_mut("a").unwrap().phase else { panic!() };
    running.stop = Some(Stop { begun_at: moment(0), kill_at: moment(30), stage: StopStage::Signalled });
    for hours in [-24, 24] {
        let wall = at(hours * 3600);
        let plan = |seconds| converge(&pod, &ends, Pauses::KUBELET, Now { wall, steady: moment(seconds) });
        let wake_at = Some(plus_seconds(wall, 1));
        assert_eq!(plan(29), Plan { ops: vec![], wake_at }, "{hours}");
        assert_eq!(plan(30).ops, [Op::Kill { container: "a".to_owned() }], "{hours}");
    }
}

#[test]
fn deletion_stops_containers_then_removes_sandbox_remains_and_object() {
    let pod = two();
    let mut observed = deleted(observed(&pod, Part::Ready, "a=started b=exited:0"), 30);
    assert_eq!(ops(&pod, &observed, T0), "stop:a@30");
    let record = observed.containers.get_mut("a").unwrap();
    let Phase::Running(running) = &mut record.phase else { panic!() };
    running.stop = Some(Stop { begun_at: moment(0), kill_at: moment(30), stage: StopStage::Due });
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
    let pod = two();
    let of = |grace_seconds, stop: Stop, seconds| {
        let mut observed = deleted(observed(&pod, Part::Ready, "a=started b=exited:0"), grace_seconds);
        let Phase::Running(running) = &mut observed.containers.get_mut("a").unwrap().phase else { panic!() };
        running.stop = Some(stop);
        ops(&pod, &observed, at(seconds))
    };
    let around = |stop: Stop, seconds: i64| (of(30, stop, seconds - 1), of(30, stop, seconds));
    let nothing_then = |op: &str| (String::new(), op.to_owned());
    let stop = Stop { begun_at: moment(0), kill_at: moment(30), stage: StopStage::Hook };
    assert_eq!(around(stop, 30), nothing_then("signal:a"));
    let signalled = end::signalled(stop, moment(3));
    assert_eq!(around(signalled, 30), nothing_then("kill:a"));
    assert_eq!(of(5, signalled, 5), "kill:a", "deleted again with less grace");
    let overdue = end::signalled(stop, moment(30));
    assert_eq!(around(overdue, 32), nothing_then("kill:a"));
    assert_eq!(of(5, overdue, 31), "", "its moment is its own");
    let killed = end::killed(overdue, moment(32));
    assert_eq!(around(killed, 42), nothing_then("kill:a"));
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
    assert_eq!(ops(&pod, &deleted(observed.clone(), 1), T0), "", "one after the other");
    observed.volumes = Part::Absent;
    assert_eq!(ops(&pod, &observed, T0), "");
    assert_eq!(ops(&pod, &deleted(observed, 1), T0), "remove-remains");
}

#[test]
fn a_pod_that_vanished_gets_a_second() {
    let pod = two();
    let mut observed = observed(&pod, Part::Ready, "a=started b=starting");
    observed.vanished = Some(moment(0));
    assert_eq!(ops(&pod, &observed, T0), "stop:a@1");
}

#[test]
fn sidecars_end_last_and_in_reverse() {
    let pod = pod(json!({
        "initContainers": [{ "name": "s", "restartPolicy": "Always" }, { "name": "t", "restartPolicy": "Always" }],
        "containers": [{ "name": "c" }],
    }));
    for (words, expected) in [
        ("s=started t=started c=started", "stop:c@30"),
        ("s=started t=started c=exited:0", "stop:t@30"),
        ("s=started t=exited:0 c=exited:0", "stop:s@30"),
        ("s=exited:0 t=exited:0 c=exited:0", "remove-sandbox"),
    ] {
        let ends = deleted(observed(&pod, Part::Ready, words), 30);
        assert_eq!(ops(&pod, &ends, T0), expected, "{words}");
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
    running.unhealthy =
        Some(crate::pod::observed::Unhealthy { message: "m".to_owned(), grace_seconds: Some(4) });
    assert_eq!(ops(&pod, &observed, T0), "stop:a@4");
}

#[test]
fn the_active_deadline_fails_the_pod() {
    let pod = pod(json!({ "activeDeadlineSeconds": 9, "containers": [{ "name": "c" }] }));
    let mut observed = observed(&pod, Part::Ready, "c=started");
    let plan = converge(&pod, &observed, Pauses::KUBELET, by_both(T0));
    assert_eq!(plan, Plan { ops: vec![], wake_at: Some(at(9)) });
    assert_eq!(ops(&pod, &observed, at(9)), "DeadlineExceeded");
    observed.failure = Some(end::deadline_exceeded(&pod, moment(9)));
    assert_eq!(ops(&pod, &observed, at(9)), "stop:c@39");
}
