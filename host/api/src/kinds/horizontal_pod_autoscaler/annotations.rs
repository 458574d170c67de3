//! What `autoscaling/v1` has no fields for stands in annotations there.

use berth_json::{Map, Value, json};

use super::NAMES;
use super::legacy_metrics::{self, Side};
use crate::decode::{Budget, Expected, Finding, check, walk};
use crate::kinds::fill;
use crate::kinds::meta::ANNOTATIONS_BYTES_MAX;
use crate::schema::Schema;

pub(super) const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
pub(super) const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
pub(super) const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
pub(super) const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

/// All of them, and two of versions that are gone: neither is ever stored.
const ALL: [&str; 6] = [
    METRICS,
    BEHAVIOR,
    CURRENT_METRICS,
    CONDITIONS,
    "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
    "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
];

/// A behavior is written with the names that its fields have in Go, and with those that are not set.
const DIRECTIONS: [(&str, &str); 2] = [("ScaleUp", "scaleUp"), ("ScaleDown", "scaleDown")];
const RULES: [(&str, &str); 4] = [
    ("StabilizationWindowSeconds", "stabilizationWindowSeconds"),
    ("SelectPolicy", "selectPolicy"),
    ("Policies", "policies"),
    ("Tolerance", "tolerance"),
];
const POLICY: [(&str, &str); 3] = [("Type", "type"), ("Value", "value"), ("PeriodSeconds", "periodSeconds")];

const CONDITION: [&str; 6] =
    ["type", "status", "lastTransitionTime", "reason", "message", "observedGeneration"];

/// Drops the annotations that `keeps` does not keep, by name and text, and says which they were.
pub(super) fn drop_unreadable(object: &mut Value, keeps: impl Fn(&str, &str) -> bool) -> Vec<Finding> {
    let there = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    let Some(there) = there else { return Vec::new() };
    let is_lost =
        |name: &&str| there.get(name).is_some_and(|text| !keeps(name, text.as_str().unwrap_or_default()));
    let lost: Vec<&str> = ALL.into_iter().filter(is_lost).collect();
    for name in &lost {
        there.remove(name);
    }
    remove_if_empty(object);
    lost.into_iter().map(|name| Finding::Unknown(format!("metadata.annotations[{name}]"))).collect()
}

/// Takes the annotations out of an object.
pub(super) fn take(object: &mut Value) -> Texts {
    let there = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    let Some(there) = there else { return Texts::default() };
    let texts = ALL.into_iter().filter_map(|name| Some((name, there.remove(name)?))).collect();
    remove_if_empty(object);
    Texts(texts)
}

/// Annotations that were taken out of an object.
#[derive(Default)]
pub(super) struct Texts(Vec<(&'static str, Value)>);

impl Texts {
    /// What the annotation `name` stands for, in the form that its field has in `v2`.
    pub(super) fn read(&self, name: &str) -> Option<Value> {
        let (_, text) = self.0.iter().find(|(own, _)| *own == name)?;
        read(name, text.as_str()?)
    }
}

fn remove_if_empty(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if metadata.get("annotations").and_then(Value::as_object).is_some_and(Map::is_empty) {
        metadata.remove("annotations");
    }
}

/// Sets an annotation.
pub(super) fn put(object: &mut Value, name: &str, text: String) {
    if let Some(metadata) = fill::object_at(object, "metadata") {
        fill::absent(metadata, "annotations", json!({}));
        if let Some(annotations) = fill::part(metadata, "annotations") {
            annotations.insert(name, text.into());
        }
    }
}

/// What a text stands for; `None` when it is none that this server could have written.
pub(super) fn read(name: &str, text: &str) -> Option<Value> {
    // All annotations of an object are no longer than that together.
    if text.len() > ANNOTATIONS_BYTES_MAX {
        return None;
    }
    let (value, _) = walk::untyped(text.as_bytes(), &Budget::default()).ok()?;
    let (part, field, value) = match name {
        METRICS => ("spec", "metrics", legacy_metrics::read(&value, Side::Spec)?),
        CURRENT_METRICS => ("status", "currentMetrics", legacy_metrics::read(&value, Side::Status)?),
        CONDITIONS => ("status", "conditions", value),
        BEHAVIOR => ("spec", "behavior", behavior_of(&value)),
        _ => return None,
    };
    let expected = Expected {
        group: NAMES.group,
        version: NAMES.version,
        kind: NAMES.kind,
        schema_type: "autoscaling.v2.HorizontalPodAutoscaler",
    };
    let checked = check(Schema::builtin(), expected, json!({part: {field: value}})).ok()?;
    checked.value.get(part)?.get(field).cloned()
}

pub(super) fn write_conditions(conditions: &[Value]) -> String {
    let texts: Vec<String> = conditions.iter().map(|one| JsonObject::of(one, &CONDITION)).collect();
    format!("[{}]", texts.join(","))
}

pub(super) fn write_behavior(behavior: &Value) -> String {
    let policy = |policy: &Value| named(policy, &POLICY, |_, value| value.to_string());
    let rule = |name: &str, value: &Value| match (name, value.as_array()) {
        ("policies", Some(policies)) => {
            format!("[{}]", policies.iter().map(policy).collect::<Vec<_>>().join(","))
        }
        _ => value.to_string(),
    };
    named(behavior, &DIRECTIONS, |_, rules| named(rules, &RULES, rule))
}

/// An object under the names of `fields`, each written by `inner`; null where there is none.
fn named(object: &Value, fields: &[(&str, &str)], inner: impl Fn(&str, &Value) -> String) -> String {
    let mut text = JsonObject::default();
    for &(go, name) in fields {
        let value = object.get(name).filter(|value| !value.is_null());
        text.field(go, &value.map_or_else(|| "null".to_owned(), |value| inner(name, value)));
    }
    text.end()
}

/// The reverse. The API server does not mind whether names begin with a capital letter.
fn behavior_of(value: &Value) -> Value {
    let rules = |rules: &Value| {
        renamed(rules, &RULES, |value| match value.as_array() {
            Some(policies) => policies.iter().map(|policy| renamed(policy, &POLICY, Value::clone)).collect(),
            None => value.clone(),
        })
    };
    renamed(value, &DIRECTIONS, rules)
}

fn renamed(object: &Value, fields: &[(&str, &'static str)], inner: impl Fn(&Value) -> Value) -> Value {
    let Some(there) = object.as_object() else { return object.clone() };
    let value = |go: &str, name: &str| there.get(go).or_else(|| there.get(name));
    let known = fields.iter().filter_map(|&(go, name)| Some((name, inner(value(go, name)?))));
    known.collect::<Map>().into()
}

/// The text of a JSON object whose fields are written in an order of their own: that of the API server.
#[derive(Default)]
pub(super) struct JsonObject(String);

impl JsonObject {
    /// Adds a field whose value is the JSON text `value`.
    pub(super) fn field(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&format!("\"{name}\":{value}"));
    }

    pub(super) fn end(mut self) -> String {
        if self.0.is_empty() {
            self.0.push('{');
        }
        self.0.push('}');
        self.0
    }

    /// The text of those fields of `object` that are named, in their order.
    pub(super) fn of(object: &Value, order: &[&str]) -> String {
        let mut text = Self::default();
        for &name in order {
            if let Some(value) = object.get(name).filter(|value| !value.is_null()) {
                text.field(name, &value.to_string());
            }
        }
        text.end()
    }
}
