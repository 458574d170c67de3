//! Components that recommend numbers of replicas.

use crate::bindings::{scaling, types};
use crate::component::{Component, Indices};
use crate::error::StartError;
use crate::instance::Instance;
use crate::limits::SETUP_DEADLINE;
use crate::pool::Pool;
use crate::sandbox::{first_line, one_line};
use berth_autoscale::{Manifest, Metric, Pod, PolicyError, Question, Recommendation, Recommender};
use berth_lifecycle::RoleName;
use std::time::Duration;

/// The longest history: a week, so that a policy can tell its days apart.
const WINDOW_SECONDS_MAX: u32 = 7 * 86_400;
/// The shortest and longest step: that in which autoscalers are looked at, and a day.
const STEP_SECONDS_MIN: u32 = 15;
const STEP_SECONDS_MAX: u32 = 86_400;
/// Samples of a history: a week of minutes.
const SAMPLES_MAX: u32 = 10_080;

/// An autoscaling policy: a pool of instances, each configured before it is asked.
pub struct WasmRecommender {
    pool: Pool<scaling::Guest>,
    manifest: Manifest,
}

impl WasmRecommender {
    pub(crate) fn start(component: &Component, name: &str, config: &[u8]) -> Result<Self, StartError> {
        let (component, name, config) = (component.clone(), name.to_owned(), config.to_vec());
        let (pool, described) = Pool::start(move || configured(&component, &name, &config))?;
        let manifest = decode(&described)?;
        Ok(Self { pool, manifest })
    }
}

fn configured(
    component: &Component,
    name: &str,
    config: &[u8],
) -> Result<(Instance<scaling::Guest>, scaling::Manifest), StartError> {
    let Indices::Autoscaler(indices) = component.indices() else {
        return Err(StartError::Role { role: component.role(), wanted: RoleName::Autoscaler });
    };
    let mut instance = Instance::start(component, name, |store, instance| indices.load(store, instance))?;
    let described = instance.call(SETUP_DEADLINE, |store, guest| guest.call_describe(store, config))?;
    described.map(|manifest| (instance, manifest)).map_err(|why| StartError::Config(first_line(&why)))
}

/// Gives a component's manifest its meaning.
fn decode(manifest: &scaling::Manifest) -> Result<Manifest, StartError> {
    let scaling::Manifest { name, version, window_s, step_s } = manifest;
    if *window_s > WINDOW_SECONDS_MAX {
        let why = format!("a window of {window_s} s is longer than the {WINDOW_SECONDS_MAX} s of a week");
        return Err(StartError::BadManifest(why));
    }
    if *window_s > 0 && !(STEP_SECONDS_MIN..=STEP_SECONDS_MAX).contains(step_s) {
        let why = format!("a step of {step_s} s is not between {STEP_SECONDS_MIN} and {STEP_SECONDS_MAX} s");
        return Err(StartError::BadManifest(why));
    }
    if *window_s > 0 && window_s / step_s > SAMPLES_MAX {
        let why = format!("{window_s} s in steps of {step_s} s are more than {SAMPLES_MAX} samples");
        return Err(StartError::BadManifest(why));
    }
    Ok(Manifest {
        name: one_line(name),
        version: one_line(version),
        window: Duration::from_secs((*window_s).into()),
        step: Duration::from_secs((*step_s).into()),
    })
}

impl Recommender for WasmRecommender {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn recommend(&self, question: &Question) -> Result<Recommendation, PolicyError> {
        let failed = |why: &dyn std::fmt::Display| PolicyError::Failed(why.to_string());
        let ctx = types::Ctx { seq: 0, now_ms: question.now_ms, seed: question.seed };
        let asked = wire(question);
        let answer = self.pool.with(|instance| {
            instance.call(instance.deadline(), |store, guest| guest.call_recommend(store, ctx, &asked))
        });
        let answer = answer.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        read(answer, question)
    }
}

fn read(answer: scaling::Recommendation, question: &Question) -> Result<Recommendation, PolicyError> {
    let scaling::Recommendation { able, replicas, metric, reason } = answer;
    let metric = match metric {
        0 => None,
        metric if metric as usize <= question.metrics.len() => Some(metric as usize - 1),
        metric => return Err(PolicyError::BadAnswer(format!("there is no metric {metric}"))),
    };
    let replicas = match able {
        0 => None,
        1 => Some(replicas),
        other => return Err(PolicyError::BadAnswer(format!("{other} is no known value of able"))),
    };
    Ok(Recommendation { replicas, metric, reason: one_line(&reason) })
}

fn wire(question: &Question) -> scaling::Question {
    let Question {
        now_ms: _,
        seed: _,
        namespace,
        name,
        target,
        current,
        desired,
        min_replicas,
        max_replicas,
        tolerance_up,
        tolerance_down,
        initialization_ms,
        readiness_delay_ms,
        pods,
        metrics,
        history_end_ms,
        history_replicas,
    } = question;
    scaling::Question {
        namespace: namespace.clone(),
        name: name.clone(),
        target: target.clone(),
        current: *current,
        desired: *desired,
        min_replicas: *min_replicas,
        max_replicas: *max_replicas,
        tolerance_up: *tolerance_up,
        tolerance_down: *tolerance_down,
        initialization_ms: *initialization_ms,
        readiness_delay_ms: *readiness_delay_ms,
        pods: pods.iter().map(wire_pod).collect(),
        metrics: metrics.iter().map(wire_metric).collect(),
        history_end_ms: *history_end_ms,
        history_replicas: history_replicas.clone(),
    }
}

fn wire_pod(pod: &Pod) -> scaling::Pod {
    let Pod { state, start_ms, ready_changed_ms } = *pod;
    scaling::Pod { state: state.0, start_ms, ready_changed_ms }
}

fn wire_metric(metric: &Metric) -> scaling::Metric {
    let known = |values: &[Option<i64>]| values.iter().map(|value| value.unwrap_or(-1)).collect();
    scaling::Metric {
        source: metric.source as u32,
        name: metric.name.clone(),
        target_kind: metric.target_kind as u32,
        target: metric.target,
        trouble: metric.trouble.clone(),
        measured_ms: metric.measured_ms,
        window_ms: metric.window_ms,
        pod_values: known(&metric.pod_values),
        pod_requests: known(&metric.pod_requests),
        value: metric.value.unwrap_or(-1),
        history: metric.history.clone(),
    }
}
