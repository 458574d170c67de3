//! What a status and its events say of metrics.

use berth_api::quantity::Quantity;
use berth_json::{Value, json};

use crate::policy::{Metric, Question, Source, TargetKind};
use crate::spec::MetricSpec;

/// `status.currentMetrics`: one for each of the spec, an empty one where nothing was measured.
pub(crate) fn current_metrics(question: &Question, specs: &[MetricSpec]) -> Vec<Value> {
    let empty = || json!({"type": ""});
    let shown = |(spec, metric): (&MetricSpec, &Metric)| match current(question, metric) {
        Some(current) if metric.trouble.is_empty() => spec.status(current),
        _ => empty(),
    };
    specs.iter().zip(&question.metrics).map(shown).collect()
}

/// What a metric is now, averaged as Kubernetes' horizontal controller does; `None` when no pod's value is believed.
fn current(question: &Question, metric: &Metric) -> Option<Value> {
    let quantity = |milli: i64| Value::from(Quantity::from_milli(milli).to_string());
    if let Some(value) = metric.value {
        return Some(match metric.target_kind {
            TargetKind::AverageValue => {
                let pods = i64::from(question.current).max(1);
                json!({"averageValue": quantity(value.div_euclid(pods) + i64::from(value.rem_euclid(pods) > 0))})
            }
            _ => json!({"value": quantity(value)}),
        });
    }
    let (mut values, mut requests, mut count) = (0_i64, 0_i64, 0_i64);
    for (index, value) in question.counted(metric) {
        values = values.saturating_add(value);
        requests =
            requests.saturating_add(metric.pod_requests.get(index).copied().flatten().unwrap_or_default());
        count += 1;
    }
    if count == 0 {
        return None;
    }
    let mut current = json!({"averageValue": quantity(values / count)});
    if metric.target_kind == TargetKind::Utilization {
        current["averageUtilization"] = (i128::from(values) * 100)
            .checked_div(i128::from(requests))
            .map(|percent| i64::try_from(percent).unwrap_or(i64::MAX).min(i64::from(i32::MAX)))?
            .into();
    }
    Some(current)
}

/// Why there is no value of a metric, as its event says it.
pub(crate) fn metric_failure(spec: &MetricSpec, trouble: &str) -> String {
    let name = &spec.name;
    match (spec.source, spec.target_kind) {
        (Source::Resource | Source::ContainerResource, TargetKind::Utilization) => {
            format!("failed to get {name} utilization: {trouble}")
        }
        (Source::Resource | Source::ContainerResource, _) => format!("failed to get {name} usage: {trouble}"),
        (Source::External, _) => format!("failed to get {name} external metric: {trouble}"),
        (Source::Pods | Source::Object, _) => trouble.to_owned(),
    }
}

/// Why there is no recommendation, of which the first reason is `why`.
pub(crate) fn compute_failure(spec: &MetricSpec, why: &str, invalid: usize, metrics: usize) -> String {
    let name = &spec.name;
    let what = match spec.source {
        Source::Resource => format!("{name} resource metric"),
        Source::ContainerResource => format!("{name} container metric"),
        Source::Pods => "pods metric".to_owned(),
        Source::Object => "object metric".to_owned(),
        Source::External => format!("{name} external metric"),
    };
    format!(
        "invalid metrics ({invalid} invalid out of {metrics}), first error is: failed to get {what} value: {why}"
    )
}
