//! Built-in policy: as many replicas as will be needed when those that are started now are ready.
//!
//! What will be needed follows from what was needed at the same time of other days, from where it is going now, and from how
//! wrong such a forecast has lately been. It is never less than what the formula of `target-utilisation` says of now.

mod forecast;
// The same source, and not the crate: a component exports the interface once.
#[path = "../../target-utilisation/src/formula.rs"]
mod formula;

use berth_sdk::autoscaler::{Autoscaler, Manifest, Metric, Question, Recommendation, TargetKind};
use serde::Deserialize;

use forecast::Expected;

/// How far apart samples are: a forecast is about minutes.
const STEP_S: u32 = 60;
/// A season is a day, of which seven are looked at.
const WINDOW_S: u32 = 7 * 24 * 3_600;

/// Replicas that would be needed again when so much more is needed than what is expected stay: each change costs a start.
const WORTH_WHILE: f64 = 1.15;

/// What its configuration says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Config {
    #[serde(default = "lead_minutes")]
    lead_minutes: u8,
    #[serde(default)]
    margin_percent: f64,
}

fn lead_minutes() -> u8 {
    2
}

const SCHEMA: &str = r#"{
  "type": "object",
  "properties": {
    "leadMinutes": {
      "description": "How long it takes from a change of the load to replicas that are ready: the age of measurements and the start of a pod. By default 2.",
      "type": "integer", "minimum": 1, "maximum": 60
    },
    "marginPercent": {
      "description": "How much is added to what is expected, beside what the forecast's past errors make add. By default 0.",
      "type": "number", "minimum": 0, "maximum": 1000
    }
  }
}"#;

/// The policy.
#[derive(Debug)]
pub struct Predictive(Config);

impl Autoscaler for Predictive {
    fn describe(config: &[u8]) -> Result<(Self, Manifest), String> {
        let config: Config = berth_sdk::config(config)?;
        if !(1..=60).contains(&config.lead_minutes) {
            return Err(format!("leadMinutes: {} is not between 1 and 60", config.lead_minutes));
        }
        if !(0.0..=1000.0).contains(&config.margin_percent) {
            return Err(format!("marginPercent: {} is not between 0 and 1000", config.margin_percent));
        }
        let manifest = Manifest::new("predictive", env!("CARGO_PKG_VERSION"));
        Ok((Self(config), manifest.with_history(WINDOW_S, STEP_S)))
    }

    fn recommend(&self, question: &Question) -> Recommendation {
        let now = formula::recommend(question);
        let Some(needed) = now.replicas else { return now };
        let metrics = question.metrics.iter().enumerate().filter(|(_, metric)| metric.trouble.is_empty());
        let wanted = metrics.filter_map(|(index, metric)| {
            let expected = self.expected(question, metric)?;
            Some((index, wanted(question.current, expected), expected))
        });
        let most = wanted.max_by_key(|(_, replicas, _)| *replicas);
        let Some((index, replicas, expected)) = most.filter(|(_, replicas, _)| *replicas > needed) else {
            return now;
        };
        let (name, lead) = (&question.metrics[index].name, self.0.lead_minutes);
        let reason = format!("{name} is expected to need {:.1} replicas in {lead} minutes", expected.soon);
        Recommendation::to(replicas).by(index).because(reason)
    }

    fn schema() -> Option<&'static str> {
        Some(SCHEMA)
    }
}

impl Predictive {
    /// How many replicas a metric will need, with its margin; `None` when its past says too little.
    fn expected(&self, question: &Question, metric: &Metric) -> Option<Expected> {
        let needs = needs(question, metric)?;
        let Expected { soon, later } = forecast::expected(&needs, self.0.lead_minutes.into())?;
        let more = 1.0 + self.0.margin_percent / 100.0;
        Some(Expected { soon: soon * more, later: later * more })
    }
}

/// How many replicas there shall be where there are `current`.
fn wanted(current: u32, Expected { soon, later }: Expected) -> u32 {
    let rounded_up = |replicas: f64| replicas.ceil().clamp(0.0, f64::from(i32::MAX)) as u32;
    let (soon, later) = (rounded_up(soon), rounded_up(later * WORTH_WHILE));
    if soon >= current { soon } else { soon.max(later).min(current) }
}

/// How many replicas would have met the target, at each step; NaN where nobody knows.
fn needs(question: &Question, metric: &Metric) -> Option<Vec<f64>> {
    let target = metric.target as f64 / 1000.0;
    let of_one = match metric.target_kind {
        TargetKind::AverageValue => target,
        TargetKind::Utilization => {
            let requests: Vec<f64> =
                metric.pod_requests.iter().flatten().map(|r| *r as f64 / 1000.0).collect();
            metric.target as f64 / 100.0 * requests.iter().sum::<f64>() / requests.len().max(1) as f64
        }
        TargetKind::Value => {
            // What all of them bear together: each of the replicas of that time bore its part.
            let replicas = question.history_replicas.iter();
            return Some(
                metric.history.iter().zip(replicas).map(|(v, r)| v / target * f64::from(*r)).collect(),
            );
        }
    };
    (of_one > 0.0).then(|| metric.history.iter().map(|value| value / of_one).collect())
}

berth_sdk::export!(Predictive as autoscaler);

#[cfg(test)]
mod tests;
