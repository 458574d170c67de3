//! How rules are written; what they mean is judged elsewhere.

use berth_api::Problems;
use berth_api::kinds::cursor::Cursor;

use crate::field_path;
use crate::structural::Structural;

/// The causes that a rule may name, in the order in which messages list them.
const REASONS: [&str; 4] =
    ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

pub(super) fn validate(schema: &Cursor<'_>, parsed: Option<&Structural>, problems: &mut Problems) {
    let rules = schema.child("x-kubernetes-validations");
    if rules.is_empty() {
        return;
    }
    for rule in rules.items() {
        texts(&rule, problems);
        let reason = rule.child("reason");
        if reason.exists() && !REASONS.contains(&reason.text()) {
            problems.not_supported(reason, reason.value(), &REASONS);
        }
        let path = rule.child("fieldPath");
        if path.is_empty() {
            continue;
        }
        if path.text().trim().is_empty() {
            problems.invalid(path, path.value(), "must be non-empty if specified");
        }
        if has_newline(path.text()) {
            problems.invalid(path, path.value(), "must not contain line breaks");
        }
        if parsed.is_some_and(|schema| field_path::follow(path.text(), schema, true).is_err()) {
            problems.invalid(path, path.value(), "must be a valid path");
        }
    }
}

fn texts(rule: &Cursor<'_>, problems: &mut Problems) {
    let (source, message) = (rule.child("rule"), rule.child("message"));
    let (trimmed, said) = (source.text().trim(), message.text().trim());
    if trimmed.is_empty() {
        problems.required(source, "rule is not specified");
    } else if !message.text().is_empty() && said.is_empty() {
        problems.invalid(message, message.value(), "must be non-empty if specified");
    } else if has_newline(said) {
        problems.invalid(message, message.value(), "must not contain line breaks");
    } else if has_newline(trimmed) && said.is_empty() {
        problems.required(message, "message must be specified if rule contains line breaks");
    }
    let expression = rule.child("messageExpression");
    if !expression.text().is_empty() && expression.text().trim().is_empty() {
        problems.required(expression, "messageExpression must be non-empty if specified");
    }
}

fn has_newline(text: &str) -> bool {
    text.contains(['\n', '\r'])
}
