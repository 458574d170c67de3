//! Built-in policy: so many replicas from so much of a metric on.

use berth_sdk::autoscaler::{Autoscaler, Manifest, Metric, Question, Recommendation};
use serde::Deserialize;

/// What its configuration says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Config {
    #[serde(default)]
    metric: String,
    #[serde(default)]
    per_pod: bool,
    steps: Vec<Step>,
    #[serde(default)]
    margin_percent: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    from: f64,
    replicas: u32,
}

const SCHEMA: &str = r#"{
  "type": "object",
  "required": ["steps"],
  "properties": {
    "metric": {"description": "The name of one of the autoscaler's metrics; by default the first one.", "type": "string"},
    "perPod": {"description": "The mean over the pods counts, not their sum.", "type": "boolean"},
    "steps": {
      "description": "From which value on, in the metric's unit, there are how many replicas; in rising order.",
      "type": "array", "minItems": 1, "maxItems": 64,
      "items": {
        "type": "object", "required": ["from", "replicas"],
        "properties": {
          "from": {"type": "number", "minimum": 0},
          "replicas": {"type": "integer", "minimum": 0, "maximum": 100000}
        }
      }
    },
    "marginPercent": {
      "description": "How far below a step the value must be before it is left downwards.",
      "type": "number", "minimum": 0, "maximum": 99
    }
  }
}"#;

/// The policy.
#[derive(Debug)]
pub struct Steps(Config);

impl Autoscaler for Steps {
    fn describe(config: &[u8]) -> Result<(Self, Manifest), String> {
        let config: Config = berth_sdk::config(config)?;
        if config.steps.is_empty() {
            return Err("steps: there must be at least one".to_owned());
        }
        if let Some(pair) = config.steps.windows(2).find(|pair| pair[0].from >= pair[1].from) {
            return Err(format!("steps: {} comes after {}, and is not above it", pair[1].from, pair[0].from));
        }
        if !(0.0..100.0).contains(&config.margin_percent) {
            return Err(format!("marginPercent: {} is not between 0 and 99", config.margin_percent));
        }
        Ok((Self(config), Manifest::new("step", env!("CARGO_PKG_VERSION"))))
    }

    fn recommend(&self, question: &Question) -> Recommendation {
        let Config { metric: name, per_pod, steps, .. } = &self.0;
        let named = |metric: &Metric| name.is_empty() || metric.name == *name;
        let Some(index) = question.metrics.iter().position(named) else {
            return Recommendation::unable(format!("the autoscaler has no metric {name}"));
        };
        let metric = &question.metrics[index];
        let name = &metric.name;
        let value = match value(metric, *per_pod) {
            Ok(value) => value,
            Err(why) => return Recommendation::unable(format!("{name}: {why}")).by(index),
        };
        let at = |value: f64| steps.iter().rposition(|step| value >= step.from);
        // Going down it must be clearly below the step that there is now.
        let now = steps.iter().position(|step| step.replicas == question.current);
        let down = value / (1.0 - self.0.margin_percent / 100.0);
        let chosen = match now {
            Some(now) if at(value) < Some(now) => at(down).min(Some(now)),
            _ => at(value),
        };
        match chosen.map(|chosen| &steps[chosen]) {
            Some(Step { from, replicas }) => Recommendation::to(*replicas)
                .by(index)
                .because(format!("{name} is {value}: from {from} on {replicas}")),
            None => Recommendation::to(question.min_replicas)
                .by(index)
                .because(format!("{name} is {value}, below all steps")),
        }
    }

    fn schema() -> Option<&'static str> {
        Some(SCHEMA)
    }
}

/// What a metric is now, in its unit.
fn value(metric: &Metric, per_pod: bool) -> Result<f64, &str> {
    if !metric.trouble.is_empty() {
        return Err(&metric.trouble);
    }
    let measured: Vec<i64> = metric.pod_values.iter().flatten().copied().chain(metric.value).collect();
    if measured.is_empty() {
        return Err("it was not measured");
    }
    let sum: f64 = measured.iter().map(|value| *value as f64).sum();
    let pods = if per_pod { measured.len() as f64 } else { 1.0 };
    Ok(sum / pods / 1000.0)
}

berth_sdk::export!(Steps as autoscaler);

#[cfg(test)]
mod tests;
