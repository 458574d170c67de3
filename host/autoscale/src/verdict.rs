//! What becomes of an answer: how many replicas are written, what the status says, which events are told.

use berth_api::Timestamp;
use berth_api::views::Condition;
use berth_json::{Value, json};

use crate::memory::Memory;
use crate::policy::{Question, Recommendation};
use crate::question::{Scale, millis};
use crate::rates::{Said, hold};
use crate::shown::{compute_failure, current_metrics, metric_failure};
use crate::spec::{Autoscaler, MetricSpec};

/// A policy's sentence is shown up to here.
const REASON_BYTES_MAX: usize = 1_024;

const ABLE: &str = "AbleToScale";
const ACTIVE: &str = "ScalingActive";
const LIMITED: &str = "ScalingLimited";
const FAILED_TO_COMPUTE: &str = "FailedComputeMetricsReplicas";

/// What is known of how many replicas there should be.
#[derive(Debug)]
pub enum Answer {
    /// Nobody was asked: [`asks`] says so.
    Unasked,
    /// A policy's recommendation, and what it was asked.
    Recommended(Box<Question>, Recommendation),
    /// The policy failed: what it was asked, and its sentence.
    Failed(Box<Question>, String),
    /// There is nobody to ask, or nothing to ask about: why `ScalingActive` is false.
    Impossible(&'static str, String),
}

/// Something to tell about an autoscaler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether it is trouble.
    pub is_warning: bool,
    /// One word.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

impl Note {
    fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { is_warning: true, reason, message: message.into() }
    }
}

/// What is to be written, first the scale and then a report of that.
#[derive(Debug)]
pub struct Verdict {
    /// How many replicas the workload shall have from now on; `None`: as many as it has.
    pub rescale: Option<u32>,
    why: String,
    scale: Scale,
    /// What is wanted; `None`: what was wanted before.
    desired: Option<u32>,
    said: Vec<(&'static str, Said)>,
    metrics: Vec<Value>,
    notes: Vec<Note>,
}

/// A status to write and events to tell.
#[derive(Debug, PartialEq)]
pub struct Report {
    /// The fields of the status that are known anew; null for those that are gone.
    pub status: Value,
    /// What is to be told.
    pub notes: Vec<Note>,
}

/// Whether a policy is asked: a workload of zero replicas is left alone, and one outside the bounds is brought back first.
pub fn asks(autoscaler: &Autoscaler, scale: Scale) -> bool {
    let (least, most) = (autoscaler.min_replicas(), autoscaler.max_replicas());
    let is_off = scale.wanted == 0 && least != 0;
    !is_off && (least..=most).contains(&scale.wanted)
}

/// The report on an autoscaler whose workload's scale cannot be had.
pub fn without_scale(autoscaler: &Autoscaler, why: &str, now: Timestamp) -> Report {
    let message = format!("the HPA controller was unable to get the target's current scale: {why}");
    let said = [(ABLE, Said::new(false, "FailedGetScale", message))];
    Report {
        status: json!({"conditions": conditions(autoscaler, &said, now)}),
        notes: vec![Note::warning("FailedGetScale", why)],
    }
}

/// What is to be done about a workload, and remembered of it.
pub fn judge(
    autoscaler: &Autoscaler,
    scale: Scale,
    answer: Answer,
    memory: &mut Memory,
    now: Timestamp,
) -> Verdict {
    memory.begin(millis(now), scale.wanted);
    let got = "the HPA controller was able to get the target's current scale";
    let mut verdict = Verdict {
        rescale: None,
        why: String::new(),
        scale,
        desired: Some(scale.wanted),
        said: vec![(ABLE, Said::new(true, "SucceededGetScale", got))],
        metrics: Vec::new(),
        notes: Vec::new(),
    };
    let specs = &autoscaler.spec.metrics;
    match answer {
        Answer::Unasked => verdict.bring_back(autoscaler),
        Answer::Recommended(question, recommendation) => {
            verdict.metrics = current_metrics(&question, specs);
            // A policy that goes by the clock, say, misses no metric.
            if recommendation.replicas.is_none() || recommendation.metric.is_some() {
                verdict.tell_missing(&question, specs);
            }
            match recommendation.replicas {
                Some(replicas) => {
                    verdict.active(specs, &recommendation, replicas);
                    verdict.hold(autoscaler, memory, replicas, now);
                    // Of what comes of it: an earlier recommendation may have been higher than this one.
                    let is_more = verdict.rescale.is_some_and(|replicas| replicas > scale.wanted);
                    verdict.why = reason_of(specs, &recommendation, is_more);
                }
                None => verdict.unable(&question, specs, &recommendation),
            }
        }
        Answer::Failed(question, sentence) => {
            verdict.metrics = current_metrics(&question, specs);
            let sentence = shortened(&sentence);
            let text =
                format!("the autoscaling policy failed, and the replicas stay as they are: {sentence}");
            verdict.impossible("PolicyFailed", &text);
        }
        Answer::Impossible(reason, sentence) => verdict.impossible(reason, shortened(&sentence)),
    }
    verdict
}

impl Verdict {
    /// What to do without asking anybody.
    fn bring_back(&mut self, autoscaler: &Autoscaler) {
        let (least, most) = (autoscaler.min_replicas(), autoscaler.max_replicas());
        if self.scale.wanted == 0 && least != 0 {
            let text = "scaling is disabled since the replica count of the target is zero";
            self.said.push((ACTIVE, Said::new(false, "ScalingDisabled", text)));
        } else if self.scale.wanted > most {
            self.why = "Current number of replicas above Spec.MaxReplicas".to_owned();
            self.rescale = Some(most);
        } else if self.scale.wanted < least {
            self.why = "Current number of replicas below Spec.MinReplicas".to_owned();
            self.rescale = Some(least);
        }
    }

    /// Tells what was not measured.
    fn tell_missing(&mut self, question: &Question, specs: &[MetricSpec]) {
        for (metric, spec) in question.metrics.iter().zip(specs).filter(|(m, _)| !m.trouble.is_empty()) {
            self.notes.push(Note::warning(spec.source.trouble(), metric_failure(spec, &metric.trouble)));
        }
    }

    fn active(&mut self, specs: &[MetricSpec], recommendation: &Recommendation, replicas: u32) {
        let said = match recommendation.metric.and_then(|index| specs.get(index)) {
            Some(spec) => {
                let title = spec.title();
                let text = format!("the HPA was able to successfully calculate a replica count from {title}");
                Said::new(true, "ValidMetricFound", text)
            }
            None => {
                let reason = shortened(&recommendation.reason);
                let text =
                    format!("the autoscaling policy recommended a replica count of {replicas}: {reason}");
                Said::new(true, "PolicyRecommended", text)
            }
        };
        self.said.push((ACTIVE, said));
    }

    fn hold(&mut self, autoscaler: &Autoscaler, memory: &mut Memory, recommended: u32, now: Timestamp) {
        let current = self.scale.wanted;
        let held = hold(autoscaler, memory, current, recommended, millis(now));
        self.said.extend([(ABLE, held.able), (LIMITED, held.limited)]);
        self.rescale = Some(held.replicas).filter(|replicas| *replicas != current);
    }

    /// The policy can say nothing.
    fn unable(&mut self, question: &Question, specs: &[MetricSpec], recommendation: &Recommendation) {
        self.desired = None;
        let why = shortened(&recommendation.reason);
        let spec = recommendation.metric.and_then(|index| specs.get(index));
        let reason = spec.map_or("PolicyUnable", |spec| spec.source.trouble());
        let text = format!("the HPA was unable to compute the replica count: {why}");
        self.said.push((ACTIVE, Said::new(false, reason, text)));
        if !self.notes.iter().any(|note| note.reason == reason) {
            self.notes.push(Note::warning(reason, why));
        }
        let invalid = question.metrics.iter().filter(|metric| !metric.trouble.is_empty()).count().max(1);
        let text =
            spec.map_or_else(|| why.to_owned(), |spec| compute_failure(spec, why, invalid, specs.len()));
        self.notes.push(Note::warning(FAILED_TO_COMPUTE, text));
    }

    fn impossible(&mut self, reason: &'static str, text: &str) {
        self.desired = None;
        self.said.push((ACTIVE, Said::new(false, reason, text)));
        self.notes.push(Note::warning(reason, text));
    }

    /// The report, once the scale was written; an error says why it was not.
    pub fn report(
        mut self,
        autoscaler: &Autoscaler,
        written: Result<(), String>,
        memory: &mut Memory,
        now: Timestamp,
    ) -> Report {
        let before = autoscaler.status.desired_replicas;
        let mut desired = self.desired.map_or(before, i64::from);
        let mut status = json!({"currentReplicas": self.scale.wanted});
        if let Some(to) = self.rescale {
            let why = &self.why;
            match written {
                Ok(()) => {
                    memory.scaled(millis(now), self.scale.wanted, to);
                    let text = format!("the HPA controller was able to update the target scale to {to}");
                    self.said.push((ABLE, Said::new(true, "SucceededRescale", text)));
                    let message = format!("New size: {to}; reason: {why}");
                    self.notes.push(Note { is_warning: false, reason: "SuccessfulRescale", message });
                    status["lastScaleTime"] = now.rfc3339().into();
                    desired = i64::from(to);
                }
                Err(error) => {
                    let text = format!("the HPA controller was unable to update the target scale: {error}");
                    self.said.push((ABLE, Said::new(false, "FailedUpdateScale", text)));
                    let text = format!("New size: {to}; reason: {why}; error: {error}");
                    self.notes.push(Note::warning("FailedRescale", text));
                    desired = before;
                }
            }
        }
        status["desiredReplicas"] = desired.into();
        status["observedGeneration"] = autoscaler.metadata.generation.into();
        status["currentMetrics"] =
            if self.metrics.is_empty() { Value::Null } else { self.metrics.into_iter().collect() };
        status["conditions"] = conditions(autoscaler, &self.said, now);
        Report { status, notes: self.notes }
    }
}

impl Report {
    /// Whether it says anything that the status `present` does not say.
    pub fn is_news(&self, present: &Value) -> bool {
        let fields = self.status.as_object().into_iter().flatten();
        fields.into_iter().any(|(name, value)| present.get(name).unwrap_or(&Value::Null) != value)
    }
}

/// The conditions that there were, with what is said now; what is said last counts.
fn conditions(autoscaler: &Autoscaler, said: &[(&'static str, Said)], now: Timestamp) -> Value {
    let mut all = autoscaler.status.conditions.clone();
    for (kind, said) in said {
        let status = if said.holds { "True" } else { "False" };
        let before = autoscaler.status.conditions.iter().find(|condition| *condition.kind == **kind);
        let since = before.filter(|before| &*before.status == status);
        let since = since.and_then(|before| before.last_transition_time.clone());
        let condition = Condition {
            kind: (*kind).into(),
            status: status.into(),
            reason: said.reason.into(),
            message: said.message.as_str().into(),
            last_transition_time: since.or_else(|| Some(now.rfc3339().into())),
            last_update_time: None,
        };
        match all.iter_mut().find(|condition| *condition.kind == **kind) {
            Some(there) => *there = condition,
            None => all.push(condition),
        }
    }
    all.iter().map(Condition::to_value).collect()
}

/// Why there shall be more or fewer: what the policy says, or what Kubernetes says of the metric.
fn reason_of(specs: &[MetricSpec], recommendation: &Recommendation, is_more: bool) -> String {
    let spec = recommendation.metric.and_then(|index| specs.get(index));
    match (shortened(&recommendation.reason), spec, is_more) {
        ("", Some(spec), true) => format!("{} above target", spec.title()),
        ("", Some(_), false) => "All metrics below target".to_owned(),
        ("", None, _) => "the autoscaling policy says so".to_owned(),
        (reason, ..) => reason.to_owned(),
    }
}

/// As much of a sentence as is shown.
fn shortened(text: &str) -> &str {
    let mut end = text.len().min(REASON_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
