use berth_sdk::autoscaler::{Metric, Question, Source, TargetKind, ask};

use super::*;

fn question(current: u32, values: &[i64]) -> Question {
    let metric = Metric::new(Source::Pods, "qps", TargetKind::AverageValue, 1_000);
    let other =
        Metric::new(Source::Resource, "cpu", TargetKind::AverageValue, 1_000).with_pod_values([9_999_000]);
    let metric = metric.with_pod_values(values.iter().copied());
    Question::new(current, 1..=20).with_metric(other).with_metric(metric)
}

fn asked(more: &str, current: u32, values: &[i64]) -> Option<u32> {
    let steps = r#"[{"from":10,"replicas":2},{"from":100,"replicas":5},{"from":1000.5,"replicas":9}]"#;
    let config = format!(r#"{{"metric":"qps","steps":{steps}{more}}}"#);
    ask::<Steps>(&config, &question(current, values)).unwrap().replicas
}

#[test]
fn the_last_step_that_is_reached_counts() {
    for (values, expected) in [
        (&[5_000][..], 1),
        (&[10_000], 2),
        (&[50_000, 49_000], 2),
        (&[50_000, 50_000], 5),
        (&[1_000_000], 5),
        (&[1_000_500], 9),
    ] {
        assert_eq!(asked("", 3, values), Some(expected), "{values:?}");
    }
    assert_eq!(asked(r#","perPod":true"#, 2, &[100_000, 20_000]), Some(2));
    assert_eq!(asked("", 2, &[]), None, "nothing was measured");
}

#[test]
fn a_step_is_left_downwards_only_with_a_margin() {
    for (current, value, expected) in [
        (5, 99_000, 5),
        (5, 91_000, 5),
        (5, 89_000, 2),
        (2, 99_000, 2),
        (9, 99_000, 5),
        (9, 901_000, 9),
        (5, 8_000, 1),
    ] {
        assert_eq!(
            asked(r#","marginPercent":10"#, current, &[value]),
            Some(expected),
            "{current} at {value}"
        );
    }
}

#[test]
fn configurations_that_mean_nothing_are_refused() {
    for (config, why) in [
        ("", "missing field `steps`"),
        (r#"{"steps":[]}"#, "at least one"),
        (r#"{"steps":[{"from":2,"replicas":1},{"from":2,"replicas":2}]}"#, "is not above it"),
        (r#"{"steps":[{"from":2,"replicas":1}],"marginPercent":100}"#, "is not between"),
        (r#"{"steps":[{"from":2,"replicas":1}],"margin":1}"#, "unknown field"),
    ] {
        let error = ask::<Steps>(config, &question(1, &[])).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    let steps = r#"{"metric":"other","steps":[{"from":2,"replicas":1}]}"#;
    let answer = ask::<Steps>(steps, &question(1, &[1])).unwrap();
    assert_eq!((answer.replicas, &*answer.reason), (None, "the autoscaler has no metric other"));
    assert!(serde_json::from_str::<serde_json::Value>(Steps::schema().unwrap()).is_ok());
}
