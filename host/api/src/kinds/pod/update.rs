//! What may change on a pod that exists.

use std::collections::BTreeSet;

use berth_json::{Map, Value};

use super::validate::validate_pod;
use crate::kinds::cursor::Cursor;
use crate::kinds::meta::{reject, validate_meta_update};
use crate::kinds::names;
use crate::status::Problems;

const MUTABLE: &str = "pod updates may not change fields other than \
    `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only \
    additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
    previously negative)";

/// How many changed fields a refusal shows; the first ones tell a user what is going on.
const CHANGES_SHOWN_MAX: usize = 8;

/// Checks a changed pod.
pub(super) fn validate_update(new: &Value, old: &Value, problems: &mut Problems) {
    validate_meta_update(new, old, problems);
    validate_pod(new, problems);
    let (spec, before) = (Cursor::top(new, "spec"), Cursor::top(old, "spec"));
    for list in ["containers", "initContainers"] {
        let (containers, old_containers) = (spec.child(list), before.child(list));
        if containers.list().len() != old_containers.list().len() {
            problems.forbidden(containers, "pod updates may not add or remove containers");
            return;
        }
    }
    if !validate_deadline(&spec, &before, problems) {
        return;
    }
    validate_added_tolerations(&spec.child("tolerations"), &before.child("tolerations"), problems);
    validate_removed_gates(&spec.child("schedulingGates"), &before.child("schedulingGates"), problems);
    let changes = immutable_changes(spec.value(), before.value());
    if !changes.is_empty() {
        problems.forbidden(spec, &format!("{MUTABLE}\n{}", changes.concat()));
    }
}

/// A deadline may be set and brought forward, never put off or removed. False when it is wrong in itself.
fn validate_deadline(spec: &Cursor<'_>, before: &Cursor<'_>, problems: &mut Problems) -> bool {
    let (deadline, old) = (spec.child("activeDeadlineSeconds"), before.child("activeDeadlineSeconds"));
    match (deadline.int(), old.int()) {
        (Some(seconds), _) if !(0..=i64::from(i32::MAX)).contains(&seconds) => {
            reject(&deadline, names::in_range(seconds, 0, i64::from(i32::MAX)), problems);
            return false;
        }
        (Some(seconds), Some(old)) if old < seconds => {
            problems.invalid(deadline, deadline.value(), "must be less than or equal to previous value");
            return false;
        }
        (None, Some(_)) => {
            let detail = "must not update from a positive integer to nil value";
            problems.invalid(deadline, deadline.value(), detail);
        }
        _ => {}
    }
    true
}

fn validate_added_tolerations(new: &Cursor<'_>, old: &Cursor<'_>, problems: &mut Problems) {
    // How long a NoExecute taint is borne may change, as those rely on who drain nodes.
    let key = |toleration: &Value| {
        let mut toleration = toleration.clone();
        toleration.as_object_mut().map(|fields| fields.remove("tolerationSeconds"));
        toleration.to_string()
    };
    let kept: BTreeSet<String> = new.list().iter().map(key).collect();
    if !old.list().iter().all(|toleration| kept.contains(&key(toleration))) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        problems.forbidden(new, detail);
    }
}

fn validate_removed_gates(new: &Cursor<'_>, old: &Cursor<'_>, problems: &mut Problems) {
    let before: BTreeSet<String> = old.list().iter().map(Value::to_string).collect();
    for gate in new.items().filter(|gate| !before.contains(&gate.value().to_string())) {
        let name = gate.child("name").text();
        let detail = format!("only deletion is allowed, but found new scheduling gate '{name}'");
        problems.forbidden(gate.child("name"), &detail);
    }
}

/// The changes that are not allowed, one text each.
fn immutable_changes(new: &Value, old: &Value) -> Vec<String> {
    let mut allowed = new.clone();
    for list in ["containers", "initContainers"] {
        restore_images(&mut allowed, old, list);
    }
    if let (Some(fields), Some(before)) = (allowed.as_object_mut(), old.as_object()) {
        for key in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
            restore(fields, before, key);
        }
        let grace = |spec: &Map| spec.get("terminationGracePeriodSeconds")?.as_i64();
        if grace(before).is_some_and(|seconds| seconds < 0) && grace(fields) == Some(1) {
            restore(fields, before, "terminationGracePeriodSeconds");
        }
        if before.get("schedulingGates").is_some_and(|gates| gates != &Value::Array(Vec::new())) {
            restore_grown_selector(fields, before);
        }
    }
    let mut changes = Vec::new();
    differences("spec", &allowed, old, &mut changes);
    changes
}

fn restore(fields: &mut Map, before: &Map, key: &str) {
    match before.get(key) {
        Some(value) => fields.insert(key.to_owned(), value.clone()),
        None => fields.remove(key),
    };
}

fn restore_images(spec: &mut Value, old: &Value, list: &str) {
    let Some(containers) = spec.get_mut(list).and_then(Value::as_array_mut) else { return };
    for (index, container) in containers.iter_mut().enumerate() {
        let before = old.get(list).and_then(|containers| containers.get(index)).and_then(Value::as_object);
        if let (Some(fields), Some(before)) = (container.as_object_mut(), before) {
            restore(fields, before, "image");
        }
    }
}

/// While gates hold a pod back its node selector may still become stricter.
fn restore_grown_selector(fields: &mut Map, before: &Map) {
    let empty = Map::new();
    let entries = |spec: &Map| spec.get("nodeSelector").and_then(Value::as_object).cloned();
    let (new, old) = (entries(fields).unwrap_or_default(), entries(before).unwrap_or(empty));
    if old.iter().all(|(key, value)| new.get(key) == Some(value)) {
        restore(fields, before, "nodeSelector");
    }
}

/// Collects where `new` differs from `old`, in the form of a diff.
fn differences(path: &str, new: &Value, old: &Value, changes: &mut Vec<String>) {
    if new == old || changes.len() >= CHANGES_SHOWN_MAX {
        return;
    }
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => {
            let added = new.keys().filter(|key| !old.contains_key(key));
            for key in old.keys().chain(added) {
                let part = |of: &Map| of.get(key).cloned().unwrap_or_default();
                differences(&format!("{path}.{key}"), &part(new), &part(old), changes);
            }
        }
        (Value::Array(new), Value::Array(old)) if new.len() == old.len() => {
            for (index, (new, old)) in new.iter().zip(old).enumerate() {
                differences(&format!("{path}[{index}]"), new, old, changes);
            }
        }
        _ => changes.push(format!("@@ {path} @@\n- {old}\n+ {new}\n")),
    }
}
