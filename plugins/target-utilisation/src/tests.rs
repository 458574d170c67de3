use berth_sdk::autoscaler::{Metric, Pod, Question, Source, TargetKind, ask};

use super::*;

const MINUTE: u64 = 60_000;

/// In what state a pod of a case is.
#[derive(Clone, Copy, PartialEq)]
enum Is {
    Ready,
    /// It started five minutes ago, and was ready before.
    Unready,
    /// It started half a minute ago, and was never ready.
    Starting,
    /// It became ready a second ago.
    New,
    /// It started long ago, and was never ready.
    NeverReady,
    Pending,
    Gone,
}
use Is::*;

/// A value for each pod, -1 for none.
fn asked(states: &[Is], current: u32, metric: Metric, values: &[i64]) -> Question {
    let mut question = Question::new(current, 0..=100);
    let now = question.now_ms;
    question.pods = states
        .iter()
        .map(|state| {
            let old = now - 60 * MINUTE;
            let (start_ms, ready_changed_ms) = match state {
                Ready => (old, old + MINUTE),
                Unready => (old, now - 6 * MINUTE),
                Starting => (now - MINUTE / 2, now - MINUTE / 2 + 1),
                New => (now - MINUTE, now - 1000),
                NeverReady => (old, old + 10_000),
                Pending => (0, 0),
                Gone => (old, old + MINUTE),
            };
            Pod {
                is_ready: matches!(state, Ready | New | Gone),
                is_pending: *state == Pending,
                is_ignored: *state == Gone,
                start_ms,
                ready_changed_ms,
            }
        })
        .collect();
    let mut metric = metric;
    metric.pod_values = values.iter().map(|value| Some(*value).filter(|value| *value >= 0)).collect();
    (metric.measured_ms, metric.window_ms) = (now, 30_000);
    question.with_metric(metric)
}

fn cpu(percent: i64) -> Metric {
    Metric::new(Source::Resource, "cpu", TargetKind::Utilization, percent)
}

/// What is recommended of pods that request a whole processor each.
fn of_cpu(states: &[Is], current: u32, percent: i64, values: &[i64]) -> Result<u32, String> {
    let requests = states.iter().map(|_| 1_000);
    replicas_of(&asked(states, current, cpu(percent).with_pod_requests(requests), values))
}

fn of_pods(states: &[Is], current: u32, target: i64, values: &[i64]) -> Result<u32, String> {
    let metric = Metric::new(Source::Pods, "qps", TargetKind::AverageValue, target);
    replicas_of(&asked(states, current, metric, values))
}

fn replicas_of(question: &Question) -> Result<u32, String> {
    let answer = ask::<TargetUtilisation>("", question).unwrap();
    assert!(answer.metric.is_some());
    answer.replicas.ok_or(answer.reason)
}

#[test]
fn processors() {
    for (what, states, current, percent, values, expected) in [
        ("up", &[Ready; 3][..], 3, 30, &[300, 500, 700][..], 5),
        ("up, one of them not ready", &[Starting, Ready, Ready], 3, 30, &[300, 500, 700], 4),
        (
            "up, one not believed as it has just become ready",
            &[New, Ready, Ready],
            3,
            30,
            &[300, 500, 700],
            4,
        ),
        ("up, one that was ready and is not", &[Ready, Ready, Unready], 3, 30, &[300, 500, 700], 5),
        ("up, one that never became ready", &[NeverReady, Ready, Ready], 3, 30, &[300, 500, 700], 4),
        (
            "up, all but one not ready: too little to be sure",
            &[Ready, Starting, Starting],
            3,
            30,
            &[400, 500, 700],
            3,
        ),
        ("up, some are gone", &[Ready, Ready, Ready, Gone], 3, 30, &[300, 500, 700, 1000], 5),
        ("up, one is pending", &[Ready, Ready, Pending], 3, 30, &[500, 700, -1], 4),
        ("down", &[Ready; 5], 5, 50, &[100, 300, 500, 250, 250], 3),
        (
            "down, not ready ones do not count",
            &[Ready, Ready, Ready, Starting, Starting],
            5,
            50,
            &[100, 300, 500, 250, 250],
            2,
        ),
        ("within tolerance", &[Ready; 3], 3, 100, &[1010, 1030, 1020], 3),
        ("at the edge of tolerance", &[Ready; 3], 3, 100, &[1100, 1100, 1100], 3),
        ("beyond it", &[Ready; 3], 3, 100, &[1110, 1110, 1110], 4),
        ("missing ones use everything on the way down", &[Ready; 4], 4, 50, &[100, 100, -1, -1], 4),
        (
            "missing ones use everything, and there is still too little",
            &[Ready; 5],
            5,
            50,
            &[100, 100, 100, 100, -1],
            3,
        ),
        ("missing ones use nothing on the way up", &[Ready; 5], 5, 30, &[500, 500, 500, 500, -1], 7),
        ("missing ones, and the direction would turn", &[Ready; 3], 3, 50, &[600, -1, -1], 3),
        ("missing ones use the target when it is above all", &[Ready; 3], 3, 200, &[100, 100, -1], 2),
        ("missing ones at the target: nothing", &[Ready; 3], 3, 50, &[500, 500, -1], 3),
    ] {
        assert_eq!(of_cpu(states, current, percent, values), Ok(expected), "{what}");
    }
}

#[test]
fn what_pods_say() {
    for (what, states, current, target, values, expected) in [
        ("up", &[Ready; 3][..], 3, 15_000, &[20_000, 10_000, 30_000][..], 4),
        (
            "readiness is for processors alone",
            &[Ready, Starting, NeverReady],
            3,
            15_000,
            &[50_000, 10_000, 30_000],
            6,
        ),
        (
            "pending ones use nothing on the way up",
            &[Ready, Ready, Pending],
            3,
            15_000,
            &[50_000, 40_000, -1],
            6,
        ),
        ("down", &[Ready; 5], 5, 20_000, &[12_000; 5], 3),
        (
            "missing ones are at the target on the way down",
            &[Ready; 4],
            4,
            20_000,
            &[10_000, 10_000, 10_000, -1],
            3,
        ),
        ("within tolerance", &[Ready; 2], 2, 20_000, &[21_000, 19_500], 2),
    ] {
        assert_eq!(of_pods(states, current, target, values), Ok(expected), "{what}");
    }
}

#[test]
fn values_of_objects_and_from_outside() {
    for (what, states, current, kind, target, value, expected) in [
        ("a value", &[Ready; 3][..], 3, TargetKind::Value, 15_000, 20_000, 4),
        ("ready ones count", &[Ready, Ready, Starting], 3, TargetKind::Value, 15_000, 30_000, 4),
        ("within tolerance", &[Ready; 3], 3, TargetKind::Value, 20_000, 21_666, 3),
        ("from nothing", &[], 0, TargetKind::Value, 15_000, 40_000, 3),
        ("to nothing", &[Ready; 3], 3, TargetKind::Value, 15_000, 0, 0),
        ("per pod", &[Ready; 5], 5, TargetKind::AverageValue, 50_000, 400_000, 8),
        ("per pod, within tolerance", &[Ready; 5], 5, TargetKind::AverageValue, 50_000, 260_000, 5),
        ("per pod, from nothing", &[], 0, TargetKind::AverageValue, 50_000, 1, 1),
        ("per pod, nothing at all", &[], 0, TargetKind::AverageValue, 50_000, 0, 0),
    ] {
        for source in [Source::Object, Source::External] {
            let metric = Metric::new(source, "queue", kind, target).with_value(value);
            assert_eq!(replicas_of(&asked(states, current, metric, &[])), Ok(expected), "{what}");
        }
    }
}

#[test]
fn other_tolerances() {
    let metric = || cpu(100).with_pod_requests([1_000; 10]);
    for (value, up, down, expected) in [
        (1040, 0.05, 0.1, 10),
        (1060, 0.05, 0.1, 11),
        (960, 0.1, 0.05, 10),
        (900, 0.1, 0.05, 9),
        (1010, 0.0, 0.0, 11),
    ] {
        let mut question = asked(&[Ready; 10], 10, metric(), &[value; 10]);
        (question.tolerance_up, question.tolerance_down) = (up, down);
        assert_eq!(replicas_of(&question), Ok(expected), "{value}");
    }
}

#[test]
fn troubles() {
    let unready =
        "failed to get cpu utilization: did not receive metrics for targeted pods (pods might be unready)";
    assert_eq!(of_cpu(&[Starting; 2], 2, 50, &[100, 100]), Err(unready.to_owned()));
    let mut metric = cpu(50);
    metric.trouble = "missing request for cpu in container c of Pod p".to_owned();
    let why = "failed to get cpu utilization: missing request for cpu in container c of Pod p";
    assert_eq!(replicas_of(&asked(&[Ready], 1, metric.clone(), &[100])), Err(why.to_owned()));
    let free = cpu(50).with_pod_requests([0]);
    let why = "failed to get cpu utilization: no metrics returned matched known pods";
    assert_eq!(replicas_of(&asked(&[Ready], 1, free, &[100])), Err(why.to_owned()));

    // Of several the one that wants most; with a silent one among them nobody goes down.
    let value = |value| Metric::new(Source::Object, "queue", TargetKind::Value, 10_000).with_value(value);
    let all = |metrics: &[Metric]| {
        let question = metrics
            .iter()
            .fold(Question::new(4, 1..=10), |question, metric| question.with_metric(metric.clone()));
        let answer = ask::<TargetUtilisation>("", &question).unwrap();
        (answer.replicas, answer.metric)
    };
    assert_eq!(all(&[value(5_000), value(20_000)]), (Some(8), Some(1)));
    assert_eq!(all(&[metric.clone(), value(20_000)]), (Some(8), Some(1)));
    assert_eq!(all(&[value(5_000), metric.clone()]), (None, Some(1)));
    assert_eq!(all(&[value(5_000), value(2_500)]), (Some(2), Some(0)));
    assert_eq!(all(&[]), (None, None));
    assert!(ask::<TargetUtilisation>("{}", &Question::new(1, 1..=2)).is_err());
}
