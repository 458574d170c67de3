//! What decides where a pod may run: affinity, tolerations, topology spread.

use std::collections::BTreeMap;

use crate::kinds::cursor::Cursor;
use crate::kinds::meta::{one_of, reject};
use crate::kinds::names;
use crate::kinds::node::TAINT_EFFECTS;
use crate::kinds::selector::{refuse_operator, validate_requirement, validate_selector};
use crate::kinds::view::str_at;
use crate::status::Problems;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Checks a pod's `affinity`.
pub(super) fn validate_affinity(affinity: &Cursor<'_>, problems: &mut Problems) {
    validate_node_affinity(&affinity.child("nodeAffinity"), problems);
    for key in ["podAffinity", "podAntiAffinity"] {
        let terms = affinity.child(key);
        for term in terms.child(REQUIRED).items() {
            validate_pod_term(&term, problems);
        }
        for weighted in terms.child(PREFERRED).items() {
            validate_weight(&weighted.child("weight"), problems);
            validate_pod_term(&weighted.child("podAffinityTerm"), problems);
        }
    }
}

fn validate_node_affinity(affinity: &Cursor<'_>, problems: &mut Problems) {
    let required = affinity.child(REQUIRED);
    if required.exists() {
        let terms = required.child("nodeSelectorTerms");
        if terms.is_empty() {
            problems.required(terms, "must have at least one node selector term");
        }
        for term in terms.items() {
            validate_node_term(&term, problems);
        }
    }
    for preferred in affinity.child(PREFERRED).items() {
        validate_weight(&preferred.child("weight"), problems);
        validate_node_term(&preferred.child("preference"), problems);
    }
}

fn validate_weight(weight: &Cursor<'_>, problems: &mut Problems) {
    let value = weight.int().unwrap_or_default();
    if !(1..=100).contains(&value) {
        problems.invalid(weight, &value.into(), "must be in the range 1-100");
    }
}

fn validate_node_term(term: &Cursor<'_>, problems: &mut Problems) {
    for requirement in term.child("matchExpressions").items() {
        let values = requirement.child("values");
        match requirement.child("operator").text() {
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            "Gt" | "Lt" if values.list().len() != 1 => {
                problems.required(values, "must be specified single value when `operator` is 'Lt' or 'Gt'");
            }
            "Gt" | "Lt" => {}
            _ => refuse_operator(&requirement, problems),
        }
        validate_requirement(&requirement, problems);
    }
    for requirement in term.child("matchFields").items() {
        validate_node_field(&requirement, problems);
    }
}

/// Nodes can be selected by one field only: their name.
fn validate_node_field(requirement: &Cursor<'_>, problems: &mut Problems) {
    let (key, values) = (requirement.child("key"), requirement.child("values"));
    match requirement.child("operator").text() {
        "In" | "NotIn" if values.list().len() != 1 => {
            let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            problems.required(values, detail);
        }
        "In" | "NotIn" => {}
        _ => refuse_operator(requirement, problems),
    }
    if key.text() != "metadata.name" {
        problems.invalid(key, &key.text().into(), "not a valid field selector key");
        return;
    }
    for value in values.items() {
        reject(&value, names::subdomain_1123(value.text()), problems);
    }
}

fn validate_pod_term(term: &Cursor<'_>, problems: &mut Problems) {
    validate_selector(&term.child("labelSelector"), problems);
    validate_selector(&term.child("namespaceSelector"), problems);
    for namespace in term.child("namespaces").items() {
        for fault in names::label_1123(namespace.text()) {
            problems.invalid(term.child("namespace"), namespace.value(), &fault);
        }
    }
    let key = term.child("topologyKey");
    if key.is_empty() {
        problems.required(key, "can not be empty");
    }
    reject(&key, names::qualified_name(key.text()), problems);
}

/// Checks a pod's `topologySpreadConstraints`.
pub(super) fn validate_spread(constraints: &Cursor<'_>, problems: &mut Problems) {
    let pair = |constraint| (str_at(constraint, "topologyKey"), str_at(constraint, "whenUnsatisfiable"));
    let mut left = BTreeMap::new();
    constraints.list().iter().for_each(|constraint| *left.entry(pair(constraint)).or_insert(0) += 1);
    for constraint in constraints.items() {
        let (skew, key) = (constraint.child("maxSkew"), constraint.child("topologyKey"));
        let unsatisfiable = constraint.child("whenUnsatisfiable");
        if skew.int().is_none_or(|value| value <= 0) {
            problems.invalid(skew, &skew.int().unwrap_or_default().into(), "must be greater than zero");
        }
        if key.is_empty() {
            problems.required(key, "can not be empty");
        } else {
            reject(&key, names::qualified_name(key.text()), problems);
        }
        one_of(&unsatisfiable, &["DoNotSchedule", "ScheduleAnyway"], problems);
        // Of several it is the last that is right.
        let later = left.entry(pair(constraint.value())).or_insert(1);
        *later -= 1;
        if *later > 0 {
            let pair = format!("{{{}, {}}}", key.text(), unsatisfiable.text());
            problems.duplicate(constraint.child("{topologyKey, whenUnsatisfiable}"), &pair.into());
        }
        validate_min_domains(&constraint, problems);
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            if constraint.child(policy).exists() {
                one_of(&constraint.child(policy), &["Honor", "Ignore"], problems);
            }
        }
        validate_selector(&constraint.child("labelSelector"), problems);
    }
}

fn validate_min_domains(constraint: &Cursor<'_>, problems: &mut Problems) {
    let (domains, unsatisfiable) = (constraint.child("minDomains"), constraint.child("whenUnsatisfiable"));
    let Some(value) = domains.int() else { return };
    if value <= 0 {
        problems.invalid(domains, domains.value(), "must be greater than zero");
    }
    if unsatisfiable.text() != "DoNotSchedule" {
        let detail = format!(
            "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}",
            unsatisfiable.text()
        );
        problems.invalid(domains, domains.value(), &detail);
    }
}

/// Checks a pod's `tolerations`.
pub(super) fn validate_tolerations(tolerations: &Cursor<'_>, problems: &mut Problems) {
    for toleration in tolerations.items() {
        let (key, operator) = (toleration.child("key"), toleration.child("operator"));
        let (value, effect) = (toleration.child("value"), toleration.child("effect"));
        if !key.is_empty() {
            reject(&key, names::qualified_name(key.text()), problems);
        } else if operator.text() != "Exists" {
            let detail =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            problems.invalid(operator, &operator.text().into(), detail);
        }
        if toleration.child("tolerationSeconds").exists() && effect.text() != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            problems.invalid(effect, &effect.text().into(), detail);
        }
        match operator.text() {
            "" | "Equal" => {
                let faults = names::label_value(value.text());
                if !faults.is_empty() {
                    problems.invalid(operator, value.value(), &faults.join(";"));
                }
            }
            "Exists" if !value.is_empty() => {
                problems.invalid(operator, value.value(), "value must be empty when `operator` is 'Exists'");
            }
            "Exists" => {}
            // The numeric operators have names, and are off by default.
            "Gt" | "Lt" => {
                problems.not_supported(operator, operator.value(), &["Equal", "Exists", "Lt", "Gt"]);
            }
            _ => problems.not_supported(operator, operator.value(), &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            one_of(&effect, &TAINT_EFFECTS, problems);
        }
    }
}
