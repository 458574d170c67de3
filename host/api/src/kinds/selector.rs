//! `LabelSelector` as it stands in workloads, affinity terms and spread constraints.

use super::cursor::Cursor;
use super::meta::{reject, validate_labels};
use super::names;
use crate::status::Problems;

/// Checks a label selector; an absent one is fine here.
pub(super) fn validate_selector(selector: &Cursor<'_>, problems: &mut Problems) {
    validate_labels(&selector.child("matchLabels"), problems);
    for requirement in selector.child("matchExpressions").items() {
        match requirement.child("operator").text() {
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => refuse_operator(&requirement, problems),
        }
        validate_requirement(&requirement, problems);
    }
}

/// Checks key, number and form of the values of a requirement; `Gt` and `Lt` exist only for nodes.
pub(super) fn validate_requirement(requirement: &Cursor<'_>, problems: &mut Problems) {
    let (key, values) = (requirement.child("key"), requirement.child("values"));
    match requirement.child("operator").text() {
        "In" | "NotIn" if values.is_empty() => {
            problems.required(values, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            problems.forbidden(values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        _ => {}
    }
    reject(&key, names::qualified_name(key.text()), problems);
    for value in values.items() {
        reject(&value, names::label_value(value.text()), problems);
    }
}

/// Reports an operator that does not exist here.
pub(super) fn refuse_operator(requirement: &Cursor<'_>, problems: &mut Problems) {
    let operator = requirement.child("operator");
    problems.invalid(operator, &operator.text().into(), "not a valid selector operator");
}
