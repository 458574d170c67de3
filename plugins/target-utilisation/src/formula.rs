//! The formula of Kubernetes' horizontal controller: the present number times the ratio of value and target, by those pods
//! whose values are believed.
//!
//! A pod without a value is taken for whatever speaks against a change: for one that uses all that it requests when there
//! would be fewer, for one that uses nothing when there would be more. A pod that is not ready is left out, and uses nothing
//! when there would be more.

use berth_sdk::autoscaler::{Metric, Pod, Question, Recommendation, Source, TargetKind};

/// Why a metric says nothing: a sentence.
pub(crate) type Unable = String;

const UNREADY: &str = "did not receive metrics for targeted pods (pods might be unready)";

/// What all metrics together recommend: what the one does that wants most. When some say nothing, nobody goes down. The
/// host has words for a change by a metric.
pub(crate) fn recommend(question: &Question) -> Recommendation {
    let mut most: Option<(usize, u32)> = None;
    let mut first: Option<(usize, Unable)> = None;
    for (index, metric) in question.metrics.iter().enumerate() {
        match replicas(question, metric) {
            Ok(replicas) if most.is_none_or(|(_, most)| replicas > most) => most = Some((index, replicas)),
            Ok(_) => {}
            Err(why) => {
                first.get_or_insert((index, why));
            }
        }
    }
    match (most, first) {
        (Some((index, replicas)), None) => Recommendation::to(replicas).by(index),
        (Some((index, replicas)), Some(_)) if replicas >= question.current => {
            Recommendation::to(replicas).by(index)
        }
        (_, Some((index, why))) => Recommendation::unable(why).by(index),
        (None, None) => Recommendation::unable("the autoscaler names no metric"),
    }
}

/// How many replicas one metric wants.
///
/// # Errors
/// When it was not measured, or of no pod that counts.
pub(crate) fn replicas(question: &Question, metric: &Metric) -> Result<u32, Unable> {
    let name = &metric.name;
    match (metric.source, metric.target_kind) {
        (Source::Resource | Source::ContainerResource, kind) => {
            let what = if kind == TargetKind::Utilization { "utilization" } else { "usage" };
            by_pods(question, metric).map_err(|why| format!("failed to get {name} {what}: {why}"))
        }
        (Source::Pods, _) => by_pods(question, metric),
        (Source::Object, _) => by_value(question, metric),
        (Source::External, _) => {
            by_value(question, metric).map_err(|why| format!("failed to get {name} external metric: {why}"))
        }
    }
}

/// What counts of one pod, in thousandths.
#[derive(Clone, Copy)]
struct Share {
    value: i64,
    request: i64,
}

/// The pods by what is known of them.
#[derive(Default)]
struct Groups {
    believed: Vec<Share>,
    /// What they request.
    unready: Vec<i64>,
    missing: Vec<i64>,
}

fn by_pods(question: &Question, metric: &Metric) -> Result<u32, Unable> {
    if !metric.trouble.is_empty() {
        return Err(metric.trouble.clone());
    }
    let Groups { believed, unready, missing } = groups(question, metric);
    if believed.is_empty() {
        return Err(UNREADY.to_owned());
    }
    let ratio = ratio(metric, &believed)?;
    let up_with_unready = !unready.is_empty() && ratio > 1.0;
    if !up_with_unready && missing.is_empty() {
        if is_tolerable(question, ratio) {
            return Ok(question.current);
        }
        return Ok(rounded_up(ratio * believed.len() as f64));
    }
    let assumed = |request: i64| Share { request, value: assumption(metric, ratio, request) };
    let mut all = believed;
    // At the target nothing is assumed of those that are missing: they stay out.
    if ratio != 1.0 {
        all.extend(missing.into_iter().map(assumed));
    }
    if up_with_unready {
        all.extend(unready.into_iter().map(|request| Share { value: 0, request }));
    }
    let again = self::ratio(metric, &all)?;
    let has_turned = (ratio < 1.0 && again > 1.0) || (ratio > 1.0 && again < 1.0);
    if is_tolerable(question, again) || has_turned {
        return Ok(question.current);
    }
    let replicas = rounded_up(again * all.len() as f64);
    let goes_astray =
        (again < 1.0 && replicas > question.current) || (again > 1.0 && replicas < question.current);
    Ok(if goes_astray { question.current } else { replicas })
}

/// What a pod without a value is taken to use.
fn assumption(metric: &Metric, ratio: f64, request: i64) -> i64 {
    match (ratio < 1.0, metric.target_kind) {
        (false, _) => 0,
        (true, TargetKind::Utilization) => {
            let percent = i128::from(metric.target.max(100));
            i64::try_from(i128::from(request) * percent / 100).unwrap_or(i64::MAX)
        }
        (true, _) => metric.target,
    }
}

fn groups(question: &Question, metric: &Metric) -> Groups {
    let mut groups = Groups::default();
    let is_relative = metric.target_kind == TargetKind::Utilization;
    for (index, pod) in question.pods.iter().enumerate().filter(|(_, pod)| !pod.is_ignored) {
        let request = match metric.pod_requests.get(index).copied().flatten() {
            Some(request) => request,
            // Who does not say what it requests is no part of a share.
            None if is_relative => continue,
            None => 0,
        };
        match metric.pod_values.get(index).copied().flatten() {
            _ if pod.is_pending => groups.unready.push(request),
            None => groups.missing.push(request),
            Some(_) if is_cpu(metric) && is_unready(question, metric, pod) => groups.unready.push(request),
            Some(value) => groups.believed.push(Share { value, request }),
        }
    }
    groups
}

fn is_cpu(metric: &Metric) -> bool {
    matches!(metric.source, Source::Resource | Source::ContainerResource) && metric.name == "cpu"
}

/// While it starts a pod must be ready, and for a whole window; later it must once have been.
fn is_unready(question: &Question, metric: &Metric, pod: &Pod) -> bool {
    if pod.start_ms == 0 || pod.ready_changed_ms == 0 {
        return true;
    }
    if pod.start_ms.saturating_add(question.initialization_ms) > question.now_ms {
        return !pod.is_ready || metric.measured_ms < pod.ready_changed_ms.saturating_add(metric.window_ms);
    }
    !pod.is_ready && pod.start_ms.saturating_add(question.readiness_delay_ms) > pod.ready_changed_ms
}

/// Value over target, with the integers that Kubernetes has on the way.
fn ratio(metric: &Metric, shares: &[Share]) -> Result<f64, Unable> {
    let sum = |of: fn(&Share) -> i64| shares.iter().map(|share| i128::from(of(share))).sum::<i128>();
    let values = sum(|share| share.value);
    let now = match metric.target_kind {
        TargetKind::Utilization => (values * 100)
            .checked_div(sum(|share| share.request))
            .ok_or("no metrics returned matched known pods")?,
        _ => values / shares.len().max(1) as i128,
    };
    Ok(now as f64 / metric.target.max(1) as f64)
}

fn by_value(question: &Question, metric: &Metric) -> Result<u32, Unable> {
    if !metric.trouble.is_empty() {
        return Err(metric.trouble.clone());
    }
    let value = metric.value.ok_or("it has no value")? as f64;
    let target = metric.target.max(1) as f64;
    if metric.target_kind == TargetKind::AverageValue {
        let ratio = value / (target * f64::from(question.current));
        // Of no replicas nothing is tolerable but nothing.
        let stays = if question.current == 0 { value == 0.0 } else { is_tolerable(question, ratio) };
        return Ok(if stays { question.current } else { rounded_up(value / target) });
    }
    let ratio = value / target;
    if question.current == 0 {
        return Ok(rounded_up(ratio));
    }
    if is_tolerable(question, ratio) {
        return Ok(question.current);
    }
    if question.pods.is_empty() {
        let why = "no pods returned by selector while calculating replica count";
        return Err(format!("unable to calculate ready pods: {why}"));
    }
    let ready = question.pods.iter().filter(|pod| pod.is_ready).count();
    Ok(rounded_up(ratio * ready as f64))
}

fn is_tolerable(question: &Question, ratio: f64) -> bool {
    (1.0 - question.tolerance_down..=1.0 + question.tolerance_up).contains(&ratio)
}

fn rounded_up(replicas: f64) -> u32 {
    // Beyond what a workload can have; the host has a bound.
    replicas.ceil().clamp(0.0, f64::from(i32::MAX)) as u32
}
