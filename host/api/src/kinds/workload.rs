//! What Deployments and ReplicaSets have in common: a selector, a template, replicas.

use berth_json::Value;

use super::cursor::Cursor;
use super::meta::{NOT_NEGATIVE, not_negative};
use super::pod::{template_warnings, validate_template};
use super::selector::validate_selector;
use super::view::{at, list_at, str_at};
use crate::column::Column;
use crate::select::Selector;
use crate::status::Problems;

/// Checks a workload's selector, and its pod template against the selector and for itself.
pub(super) fn validate_workload(spec: &Cursor<'_>, problems: &mut Problems) {
    let (selector, template) = (spec.child("selector"), spec.child("template"));
    let before = problems.causes.len();
    if selector.exists() {
        validate_selector(&selector, problems);
        if selector.child("matchLabels").is_empty() && selector.child("matchExpressions").is_empty() {
            problems.invalid(selector, selector.value(), "empty selector is invalid for deployment");
            validate_own_template(&template, problems);
            return;
        }
    } else {
        problems.required(selector, "");
    }
    let is_faulty = selector.exists() && problems.causes.len() > before;
    match Selector::from_object(selector.value()) {
        Ok(parsed) if !is_faulty => {
            validate_template_labels(parsed.as_ref(), &template, problems);
            validate_own_template(&template, problems);
        }
        _ => problems.invalid(selector, selector.value(), "invalid label selector"),
    }
}

/// An absent selector selects nothing, so that no template suits it.
fn validate_template_labels(selector: Option<&Selector>, template: &Cursor<'_>, problems: &mut Problems) {
    let metadata = template.child("metadata");
    let labels = metadata.child("labels");
    let matches = selector.is_some_and(|selector| match labels.map() {
        Some(labels) => selector.matches(labels),
        None => selector.is_empty(),
    });
    if !matches {
        problems.invalid(labels, labels.value(), "`selector` does not match template `labels`");
    }
}

fn validate_own_template(template: &Cursor<'_>, problems: &mut Problems) {
    validate_template(template, problems);
    let pod = template.child("spec");
    let policy = pod.child("restartPolicy");
    if ["OnFailure", "Never"].contains(&policy.text()) {
        problems.not_supported(policy, policy.value(), &["Always"]);
    }
    if pod.child("activeDeadlineSeconds").exists() {
        let detail = "activeDeadlineSeconds in ReplicaSet is not Supported";
        problems.forbidden(pod.child("activeDeadlineSeconds"), detail);
    }
}

/// What is hardly meant in a workload's pod template.
pub(super) fn warnings(object: &Value) -> Vec<String> {
    let spec = Cursor::top(object, "spec");
    let template = spec.child("template");
    template_warnings(&template.child("metadata"), &template.child("spec"))
}

/// Checks counters that can be neither negative nor larger than `status.replicas`.
pub(super) fn validate_counters(object: &Value, counters: &[&str], problems: &mut Problems) {
    let status = Cursor::top(object, "status");
    let replicas = status.child("replicas").int().unwrap_or_default();
    not_negative(&status.child("replicas"), problems);
    for key in counters {
        let counter = status.child(key);
        match counter.int() {
            Some(value) if value < 0 => problems.invalid(counter, counter.value(), NOT_NEGATIVE),
            Some(value) if value > replicas => {
                problems.invalid(counter, counter.value(), "cannot be greater than status.replicas");
            }
            _ => {}
        }
    }
    not_negative(&status.child("observedGeneration"), problems);
}

/// The wide columns: names and images of the containers, and the selector.
pub(super) fn wide_columns(workload: &str) -> [Column; 3] {
    let containers = |name, description, key: &'static str| {
        let cell = move |object: &Value, _| {
            let containers = list_at(object, "spec.template.spec.containers");
            containers.iter().map(|c| str_at(c, key)).collect::<Vec<_>>().join(",").into()
        };
        Column::new(name, "string", 1, description, cell)
    };
    [
        containers("Containers", "Names of the template's containers.", "name"),
        containers("Images", "Images of the template's containers.", "image"),
        Column::new("Selector", "string", 1, format!("Which pods belong to the {workload}."), |object, _| {
            selector_text(object).into()
        }),
    ]
}

fn selector_text(object: &Value) -> String {
    match Selector::from_object(at(object, "spec.selector").unwrap_or(&Value::Null)) {
        Ok(Some(selector)) if !selector.is_empty() => selector.to_string(),
        Ok(_) => "<none>".to_owned(),
        Err(_) => "<error>".to_owned(),
    }
}
