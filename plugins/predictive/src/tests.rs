use berth_sdk::autoscaler::{Metric, Question, Source, TargetKind, ask};

use super::*;

/// A metric of 100 a replica, with a past in replicas.
fn metric(kind: TargetKind, past: &[f64]) -> Metric {
    let metric = Metric::new(Source::Pods, "qps", kind, 100_000);
    metric.with_history(past.iter().map(|replicas| replicas * 100.0))
}

fn asked(question: &Question) -> u32 {
    ask::<Predictive>("", question).unwrap().replicas.unwrap()
}

#[test]
fn a_rise_is_met_before_it_comes() {
    let rising: Vec<f64> = (0..60).map(|step| 1.0 + f64::from(step) * 0.1).collect();
    let now = (rising[59] * 100_000.0 / 7.0) as i64;
    let question = |past: &[f64]| {
        Question::new(7, 1..=50).with_metric(metric(TargetKind::AverageValue, past).with_pod_values([now; 7]))
    };
    assert_eq!(asked(&question(&[])), 7, "without a past it is the formula");
    let answer = ask::<Predictive>("", &question(&rising)).unwrap();
    assert_eq!((answer.replicas, answer.metric), (Some(8), Some(0)));
    assert_eq!(answer.reason, "qps is expected to need 7.1 replicas in 2 minutes");
    let more = ask::<Predictive>(r#"{"marginPercent":50}"#, &question(&rising)).unwrap();
    assert_eq!(more.replicas, Some(11));
}

#[test]
fn it_is_never_less_than_what_is_needed_now() {
    let metric = metric(TargetKind::AverageValue, &[1.0; 60]).with_pod_values([400_000; 2]);
    assert_eq!(asked(&Question::new(2, 1..=50).with_metric(metric)), 8);
}

#[test]
fn it_goes_down_only_when_it_is_worth_while() {
    let at = |load: f64| {
        let value = (load * 10_000.0) as i64;
        let metric = metric(TargetKind::AverageValue, &[load; 60]).with_pod_values([value; 10]);
        asked(&Question::new(10, 1..=50).with_metric(metric))
    };
    assert_eq!((at(9.0), at(8.0), at(4.0)), (10, 10, 5));
}

#[test]
fn every_kind_of_target_has_a_past() {
    let half = Metric::new(Source::Resource, "cpu", TargetKind::Utilization, 50);
    let half = half.with_pod_requests([200; 3]).with_pod_values([90; 3]).with_history(vec![0.25; 60]);
    assert!((needs(&Question::new(3, 1..=9), &half).unwrap()[0] - 2.5).abs() < 1e-9);
    let value = Metric::new(Source::Object, "queue", TargetKind::Value, 30_000).with_history([60.0, 30.0]);
    let mut question = Question::new(3, 1..=9);
    question.history_replicas = vec![2, 4];
    assert_eq!(needs(&question, &value).unwrap(), [4.0, 4.0]);
    let nothing = Metric::new(Source::Resource, "cpu", TargetKind::Utilization, 50).with_history([1.0]);
    assert_eq!(needs(&question, &nothing), None);
}

#[test]
fn what_is_not_measured_is_not_guessed() {
    let mut silent = metric(TargetKind::AverageValue, &[5.0; 60]);
    silent.trouble = "nobody answers".to_owned();
    let answer = ask::<Predictive>("", &Question::new(2, 1..=50).with_metric(silent)).unwrap();
    assert_eq!((answer.replicas, &*answer.reason), (None, "nobody answers"));
    for config in
        [r#"{"leadMinutes":0}"#, r#"{"leadMinutes":61}"#, r#"{"marginPercent":-1}"#, r#"{"lead":1}"#]
    {
        assert!(ask::<Predictive>(config, &Question::new(1, 1..=2)).is_err(), "{config}");
    }
    assert!(serde_json::from_str::<serde_json::Value>(Predictive::schema().unwrap()).is_ok());
}
