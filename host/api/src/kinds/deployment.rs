//! `Deployment`.

use berth_json::{Value, json};

use super::cursor::Cursor;
use super::meta::{as_go, immutable, not_negative, reject, validate_meta, validate_meta_update};
use super::pod::default_template;
use super::view::{copy_field, int_at};
use super::workload::{validate_counters, validate_workload, warnings, wide_columns};
use super::{Names, SCALE, drop_status, fill, keep_status, names, scale_paths, status_of};
use crate::column::Column;
use crate::resource::{Kind, Resource, Scope};
use crate::status::Problems;

const NAMES: Names =
    Names { group: "apps", version: "v1", kind: "Deployment", plural: "deployments", short: &["deploy"] };

/// How many old ReplicaSets are kept for a rollback.
const REVISIONS_KEPT: i64 = 10;
/// How long a rollout may make no progress before its condition says so, in seconds.
const PROGRESS_DEADLINE_S: i64 = 600;

pub(super) fn resource() -> Resource {
    Resource {
        categories: vec!["all".to_owned()],
        subresources: vec![SCALE, status_of("apps", "v1", "Deployment")],
        has_generation: true,
        scale: scale_paths(),
        ..super::resource(&NAMES, Scope::Namespaced, Deployment)
    }
}

struct Deployment;

impl Kind for Deployment {
    fn default(&self, object: &mut Value) {
        let Some(spec) = fill::object_at(object, "spec") else { return };
        fill::absent(spec, "replicas", 1);
        fill::absent(spec, "revisionHistoryLimit", REVISIONS_KEPT);
        fill::absent(spec, "progressDeadlineSeconds", PROGRESS_DEADLINE_S);
        fill::absent(spec, "strategy", json!({}));
        if let Some(strategy) = fill::part(spec, "strategy") {
            fill::zero(strategy, "type", "RollingUpdate");
            if strategy["type"] == "RollingUpdate" {
                fill::absent(strategy, "rollingUpdate", json!({}));
                if let Some(rolling) = fill::part(strategy, "rollingUpdate") {
                    fill::absent(rolling, "maxSurge", "25%");
                    fill::absent(rolling, "maxUnavailable", "25%");
                }
            }
        }
        default_template(spec);
    }

    fn prepare_create(&self, object: &mut Value) {
        drop_status(object);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
    }

    /// `/status` leaves a Deployment's labels alone, unlike those of other kinds.
    fn prepare_status(&self, new: &mut Value, old: &Value) {
        copy_field(new, old, "spec");
        if let (Some(metadata), Some(before)) = (new.get_mut("metadata"), old.get("metadata")) {
            copy_field(metadata, before, "labels");
        }
    }

    fn kept_by_status(&self) -> &'static [&'static [&'static str]] {
        &[&["spec"], &["metadata", "labels"]]
    }

    fn validate(&self, object: &Value, problems: &mut Problems) {
        validate_meta(object, Scope::Namespaced, names::subdomain_1123, problems);
        validate_spec(object, problems);
    }

    fn validate_update(&self, new: &Value, old: &Value, problems: &mut Problems) {
        validate_meta_update(new, old, problems);
        validate_spec(new, problems);
        let (spec, before) = (Cursor::top(new, "spec"), Cursor::top(old, "spec"));
        immutable(&spec.child("selector"), &before.child("selector"), problems);
    }

    fn validate_status(&self, new: &Value, old: &Value, problems: &mut Problems) {
        validate_meta_update(new, old, problems);
        validate_counters(new, &["updatedReplicas", "readyReplicas", "availableReplicas"], problems);
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        warnings(object)
    }

    fn columns(&self) -> Vec<Column> {
        let ready = |object: &Value, _| {
            let count = |path: &str| int_at(object, path).unwrap_or_default();
            format!("{}/{}", count("status.readyReplicas"), count("spec.replicas")).into()
        };
        let (updated, available) = ("status.updatedReplicas", "status.availableReplicas");
        let columns = [
            Column::of_name(),
            Column::new("Ready", "string", 0, "How many of the wanted pods are ready.", ready),
            Column::number("Up-to-date", "string", 0, "How many pods run the newest template.", updated),
            Column::number(
                "Available",
                "string",
                0,
                "How many pods have been ready for long enough.",
                available,
            ),
            Column::of_age(),
        ];
        columns.into_iter().chain(wide_columns("deployment")).collect()
    }
}

fn validate_spec(object: &Value, problems: &mut Problems) {
    let spec = Cursor::top(object, "spec");
    not_negative(&spec.child("replicas"), problems);
    validate_workload(&spec, problems);
    validate_strategy(&spec.child("strategy"), problems);
    not_negative(&spec.child("minReadySeconds"), problems);
    not_negative(&spec.child("revisionHistoryLimit"), problems);
    let deadline = spec.child("progressDeadlineSeconds");
    not_negative(&deadline, problems);
    let ready_after = spec.child("minReadySeconds").int().unwrap_or_default();
    if deadline.int().is_some_and(|seconds| seconds <= ready_after) {
        problems.invalid(deadline, deadline.value(), "must be greater than minReadySeconds");
    }
}

fn validate_strategy(strategy: &Cursor<'_>, problems: &mut Problems) {
    let (kind, rolling) = (strategy.child("type"), strategy.child("rollingUpdate"));
    match kind.text() {
        "Recreate" if rolling.exists() => {
            problems.forbidden(rolling, "may not be specified when strategy `type` is 'Recreate'");
        }
        "Recreate" => {}
        "RollingUpdate" => validate_rolling(&rolling, problems),
        _ => {
            let shown = format!("{{\"Type\":{},\"RollingUpdate\":{}}}", kind.value(), as_go(rolling.value()));
            problems.not_supported_shown(strategy, &shown, &["Recreate", "RollingUpdate"]);
        }
    }
}

fn validate_rolling(rolling: &Cursor<'_>, problems: &mut Problems) {
    let (surge, unavailable) = (rolling.child("maxSurge"), rolling.child("maxUnavailable"));
    for part in [&unavailable, &surge] {
        match part.value().as_str() {
            Some(text) => reject(part, names::percent(text), problems),
            None => not_negative(part, problems),
        }
    }
    if share(&unavailable) == Some(0) && share(&surge) == Some(0) {
        problems.invalid(unavailable, unavailable.value(), "may not be 0 when `maxSurge` is 0");
    }
    let is_percent = unavailable.value().is_string();
    if is_percent && share(&unavailable).is_some_and(|percent| percent > 100) {
        problems.invalid(unavailable, unavailable.value(), "must not be greater than 100%");
    }
}

/// The number, absolute or in percent; `None` for a text that is no percentage.
fn share(part: &Cursor<'_>) -> Option<i64> {
    match part.value().as_str() {
        Some(text) => text.strip_suffix('%')?.parse().ok(),
        None => part.int(),
    }
}
