//! From an autoscaler and what was measured to its status, as Kubernetes' horizontal controller has it.
#![allow(clippy::unwrap_used)] // a test may

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use berth_api::{Timestamp, views};
use berth_autoscale::{
    Answer, Autoscaler, Look, Manifest, Memory, Question, Recommendation, Report, Scale, SeenPod, asks,
    judge, without_scale,
};
use berth_json::{Value, from_value, json};
use berth_metrics::{ContainerUsage, PodUsage};

const NOW: Timestamp = Timestamp::from_seconds(10_000);

fn autoscaler(metrics: Value) -> Autoscaler {
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let spec = json!({"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 10, "metrics": metrics});
    let conditions =
        json!([{"type": "AbleToScale", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let status = json!({"desiredReplicas": 3, "conditions": conditions});
    from_value(&json!({"metadata": {"generation": 4}, "spec": spec, "status": status})).unwrap()
}

fn cpu() -> Value {
    let target = json!({"type": "Utilization", "averageUtilization": 50});
    json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}])
}

fn scale(wanted: u32) -> Scale {
    Scale { wanted, present: wanted }
}

/// Three pods that use 100m of 200m, of which the third became ready only now.
fn question(autoscaler: &Autoscaler, memory: &mut Memory, requests: Value) -> Question {
    let pod = |since: i64| -> views::Pod {
        let time = Timestamp::from_seconds(since).rfc3339();
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": time.as_str()});
        let containers = json!([{"name": "c", "resources": {"requests": requests.clone()}}]);
        let status = json!({"phase": "Running", "startTime": time, "conditions": [ready]});
        from_value(&json!({"spec": {"containers": containers}, "status": status})).unwrap()
    };
    let views = [pod(9_000), pod(9_000), pod(9_995)];
    let seen = |(view, name)| SeenPod { name, uid: name, is_deleted: false, view };
    let pods: Vec<SeenPod<'_>> = views.iter().zip(["a", "b", "d"]).map(seen).collect();
    let usage = |_: &str| {
        let container = ContainerUsage { name: "c".to_owned(), cpu_nanos: 100_000_000, memory_bytes: 1 };
        let (at, window_ms) = (NOW.plus_millis(-1000), 15_000);
        Some(Arc::new(PodUsage { at, window_ms, containers: vec![container], values: BTreeMap::new() }))
    };
    let look = Look {
        namespace: "default",
        name: "web",
        autoscaler,
        scale: scale(3),
        pods: &pods,
        usages: &usage,
        described: &|_| Err("not asked".to_owned()),
        now: NOW,
    };
    let (window, step) = (Duration::from_secs(600), Duration::from_secs(60));
    let manifest = Manifest { name: "p".to_owned(), version: "1".to_owned(), window, step };
    look.question(Some(&manifest), memory, 1_000)
}

fn recommendation(replicas: Option<u32>, metric: Option<usize>, reason: &str) -> Recommendation {
    Recommendation { replicas, metric, reason: reason.to_owned() }
}

/// Status, reason and message of a condition.
fn said<'r>(report: &'r Report, kind: &str) -> [&'r str; 3] {
    let conditions = report.status["conditions"].as_array().unwrap();
    let condition = conditions.iter().find(|condition| condition["type"] == kind).unwrap();
    ["status", "reason", "message"].map(|field| condition[field].as_str().unwrap())
}

fn notes(report: &Report) -> Vec<(&str, &str)> {
    report.notes.iter().map(|note| (note.reason, &*note.message)).collect()
}

#[test]
fn a_question_says_what_was_measured() {
    let (autoscaler, mut memory) = (autoscaler(cpu()), Memory::default());
    let question = question(&autoscaler, &mut memory, json!({"cpu": "200m"}));
    assert_eq!((&*question.target, question.current, question.desired), ("Deployment/web", 3, 3));
    assert_eq!((question.min_replicas, question.max_replicas), (2, 10));
    let metric = &question.metrics[0];
    assert_eq!((metric.pod_values.as_slice(), metric.target), (&[Some(100); 3][..], 50));
    assert_eq!(
        (metric.history.as_slice(), question.history_replicas.as_slice()),
        (&[0.3_f32.into()][..], &[3][..])
    );
    assert_eq!((question.pods[2].start_ms, question.pods[2].state.0), (9_995_000, 1));
}

#[test]
fn a_recommendation_becomes_a_scale_a_status_and_an_event() {
    let (autoscaler, mut memory) = (autoscaler(cpu()), Memory::default());
    let question = question(&autoscaler, &mut memory, json!({"cpu": "200m"}));
    let answer = recommendation(Some(4), Some(0), "");
    let verdict =
        judge(&autoscaler, scale(3), Answer::Recommended(question.into(), answer), &mut memory, NOW);
    assert_eq!(verdict.rescale, Some(4));
    let report = verdict.report(&autoscaler, Ok(()), &mut memory, NOW);
    let reason = "New size: 4; reason: cpu resource utilization (percentage of request) above target";
    assert_eq!(notes(&report), [("SuccessfulRescale", reason)]);
    let text = "the HPA controller was able to update the target scale to 4";
    assert_eq!(said(&report, "AbleToScale"), ["True", "SucceededRescale", text]);
    let text = "the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)";
    assert_eq!(said(&report, "ScalingActive"), ["True", "ValidMetricFound", text]);
    let text = "the desired count is within the acceptable range";
    assert_eq!(said(&report, "ScalingLimited"), ["False", "DesiredWithinRange", text]);
    let status = &report.status;
    assert_eq!((&status["currentReplicas"], &status["desiredReplicas"]), (&json!(3), &json!(4)));
    assert_eq!((&status["lastScaleTime"], &status["observedGeneration"]), (&NOW.rfc3339().into(), &json!(4)));
    let current = json!({"averageUtilization": 50, "averageValue": "100m"});
    let shown = json!([{"type": "Resource", "resource": {"name": "cpu", "current": current}}]);
    assert_eq!(status["currentMetrics"], shown, "of the pods whose values are believed");
    let kept = status["conditions"][0]["lastTransitionTime"].as_str();
    assert_eq!(kept, Some("2026-01-01T00:00:00Z"), "it was able before");
    let present: Value = status.clone();
    assert!(!report.is_news(&present) && report.is_news(&json!({})));
}

#[test]
fn an_earlier_recommendation_that_was_held_back_scales_up_by_its_metric() {
    let (autoscaler, mut memory) = (autoscaler(cpu()), Memory::default());
    let mut ask = |wanted: u32, recommended: u32, now: Timestamp| {
        let question = question(&autoscaler, &mut memory, json!({"cpu": "200m"}));
        let answer = Answer::Recommended(question.into(), recommendation(Some(recommended), Some(0), ""));
        let verdict = judge(&autoscaler, scale(wanted), answer, &mut memory, now);
        let rescale = verdict.rescale;
        (rescale, verdict.report(&autoscaler, Ok(()), &mut memory, now).notes)
    };
    assert_eq!(ask(4, 10, NOW).0, Some(8), "twice as many at a time");
    let (rescale, notes) = ask(8, 8, NOW.plus_millis(15_000));
    assert_eq!(rescale, Some(10), "what was recommended within the window counts");
    let reason = "New size: 10; reason: cpu resource utilization (percentage of request) above target";
    assert_eq!(notes.iter().map(|note| &*note.message).collect::<Vec<_>>(), [reason]);
}

#[test]
fn a_scale_that_is_not_written_is_not_claimed() {
    let (autoscaler, mut memory) = (autoscaler(cpu()), Memory::default());
    let verdict = judge(&autoscaler, scale(12), Answer::Unasked, &mut memory, NOW);
    assert_eq!(verdict.rescale, Some(10));
    let report = verdict.report(&autoscaler, Err("no".to_owned()), &mut memory, NOW);
    let text = "the HPA controller was unable to update the target scale: no";
    assert_eq!(said(&report, "AbleToScale"), ["False", "FailedUpdateScale", text]);
    let text = "New size: 10; reason: Current number of replicas above Spec.MaxReplicas; error: no";
    assert_eq!(notes(&report), [("FailedRescale", text)]);
    assert_eq!(report.status["desiredReplicas"], 3);
    assert!(report.status.get("lastScaleTime").is_none());
}

#[test]
fn bounds_come_before_the_policy_and_zero_is_off() {
    let autoscaler = autoscaler(cpu());
    for (wanted, asked, to, why) in [
        (0, false, None, ""),
        (1, false, Some(2), "Current number of replicas below Spec.MinReplicas"),
        (2, true, None, ""),
        (10, true, None, ""),
        (11, false, Some(10), "Current number of replicas above Spec.MaxReplicas"),
    ] {
        assert_eq!(asks(&autoscaler, scale(wanted)), asked, "{wanted}");
        let mut memory = Memory::default();
        let verdict = judge(&autoscaler, scale(wanted), Answer::Unasked, &mut memory, NOW);
        assert_eq!(verdict.rescale, to, "{wanted}");
        let report = verdict.report(&autoscaler, Ok(()), &mut memory, NOW);
        let expected = to.map(|to| format!("New size: {to}; reason: {why}"));
        assert_eq!(notes(&report).first().map(|note| note.1), expected.as_deref());
        if wanted == 0 {
            let text = "scaling is disabled since the replica count of the target is zero";
            assert_eq!(said(&report, "ScalingActive"), ["False", "ScalingDisabled", text]);
        }
    }
    let mut to_zero = autoscaler;
    to_zero.spec = from_value(&json!({"minReplicas": 0, "maxReplicas": 3})).unwrap();
    assert!(asks(&to_zero, scale(0)));
}

#[test]
fn what_is_missing_is_said_in_the_words_of_kubernetes() {
    let (autoscaler, mut memory) = (autoscaler(cpu()), Memory::default());
    let question = question(&autoscaler, &mut memory, json!({}));
    let trouble = "missing request for cpu in container c of Pod a";
    assert_eq!(question.metrics[0].trouble, trouble);
    let inner = format!("failed to get cpu utilization: {trouble}");
    let answer = Answer::Recommended(question.into(), recommendation(None, Some(0), &inner));
    let verdict = judge(&autoscaler, scale(3), answer, &mut memory, NOW);
    assert_eq!(verdict.rescale, None);
    let report = verdict.report(&autoscaler, Ok(()), &mut memory, NOW);
    let text = format!("the HPA was unable to compute the replica count: {inner}");
    assert_eq!(said(&report, "ScalingActive"), ["False", "FailedGetResourceMetric", &text]);
    assert_eq!(said(&report, "AbleToScale")[1], "SucceededGetScale");
    let outer = format!(
        "invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: {inner}"
    );
    let expected = [("FailedGetResourceMetric", &*inner), ("FailedComputeMetricsReplicas", &*outer)];
    assert_eq!(notes(&report), expected);
    assert_eq!(
        (&report.status["desiredReplicas"], &report.status["currentReplicas"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(report.status["currentMetrics"], json!([{"type": ""}]));
}

#[test]
fn policies_that_fail_or_are_absent_leave_the_replicas() {
    let (autoscaler, mut memory) = (autoscaler(cpu()), Memory::default());
    let question = question(&autoscaler, &mut memory, json!({"cpu": "200m"}));
    for (answer, reason, message) in [
        (
            Answer::Failed(question.into(), "it trapped".to_owned()),
            "PolicyFailed",
            "the autoscaling policy failed, and the replicas stay as they are: it trapped",
        ),
        (Answer::Impossible("NoPolicy", "bind one".to_owned()), "NoPolicy", "bind one"),
    ] {
        let verdict = judge(&autoscaler, scale(3), answer, &mut memory, NOW);
        assert_eq!(verdict.rescale, None);
        let report = verdict.report(&autoscaler, Ok(()), &mut memory, NOW);
        assert_eq!(said(&report, "ScalingActive"), ["False", reason, message]);
        assert_eq!(notes(&report), [(reason, message)]);
        assert_eq!(report.status["desiredReplicas"], 3);
    }
}

#[test]
fn without_a_scale_nothing_else_is_said() {
    let report = without_scale(&autoscaler(cpu()), "deployments.apps \"web\" not found", NOW);
    let text =
        "the HPA controller was unable to get the target's current scale: deployments.apps \"web\" not found";
    assert_eq!(said(&report, "AbleToScale"), ["False", "FailedGetScale", text]);
    assert_eq!(notes(&report), [("FailedGetScale", "deployments.apps \"web\" not found")]);
    assert!(report.status.get("desiredReplicas").is_none(), "what was said of it before stays");
}

#[test]
fn several_metrics_have_several_targets_and_several_troubles() {
    let object = json!({"type": "Object", "object": {
        "metric": {"name": "queue"}, "describedObject": {"kind": "Service", "name": "web"},
        "target": {"type": "Value", "value": "30"},
    }});
    let mut metrics = cpu();
    metrics.as_array_mut().unwrap().push(object);
    let (autoscaler, mut memory) = (autoscaler(metrics), Memory::default());
    let mut question = question(&autoscaler, &mut memory, json!({"cpu": "200m"}));
    assert_eq!(question.metrics[1].trouble, "unable to get metric queue: Service/web: not asked");
    let answer = |question: &Question| {
        Answer::Recommended(question.clone().into(), recommendation(Some(5), Some(0), "cpu above"))
    };
    let verdict = judge(&autoscaler, scale(3), answer(&question), &mut memory, NOW);
    let report = verdict.report(&autoscaler, Ok(()), &mut memory, NOW);
    let trouble = "unable to get metric queue: Service/web: not asked";
    assert_eq!(
        notes(&report),
        [("FailedGetObjectMetric", trouble), ("SuccessfulRescale", "New size: 5; reason: cpu above")]
    );
    let by_the_clock =
        Answer::Recommended(question.clone().into(), recommendation(Some(6), None, "it is noon"));
    let verdict = judge(&autoscaler, scale(3), by_the_clock, &mut memory, NOW);
    let report = verdict.report(&autoscaler, Ok(()), &mut memory, NOW);
    assert_eq!(notes(&report), [("SuccessfulRescale", "New size: 6; reason: it is noon")]);
    let text = "the autoscaling policy recommended a replica count of 6: it is noon";
    assert_eq!(said(&report, "ScalingActive"), ["True", "PolicyRecommended", text]);
    (question.metrics[1].trouble, question.metrics[1].value) = (String::new(), Some(45_500));
    let verdict = judge(&autoscaler, scale(3), answer(&question), &mut memory, NOW);
    let report = verdict.report(&autoscaler, Ok(()), &mut memory, NOW);
    assert_eq!(report.status["currentMetrics"][1]["object"]["current"], json!({"value": "45500m"}));
}
