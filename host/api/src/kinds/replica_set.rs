//! `ReplicaSet`.

use berth_json::Value;

use super::cursor::Cursor;
use super::meta::{immutable, not_negative, validate_meta, validate_meta_update};
use super::pod::default_template;
use super::view::int_at;
use super::workload::{validate_counters, validate_workload, warnings, wide_columns};
use super::{Names, SCALE, drop_status, fill, keep_status, names, scale_paths, status_of, unowned};
use crate::column::Column;
use crate::resource::{Kind, Resource, Scope, Selectable};
use crate::status::Problems;

const NAMES: Names =
    Names { group: "apps", version: "v1", kind: "ReplicaSet", plural: "replicasets", short: &["rs"] };

pub(super) fn resource() -> Resource {
    Resource {
        categories: vec!["all".to_owned()],
        subresources: vec![SCALE, status_of("apps", "v1", "ReplicaSet")],
        has_generation: true,
        scale: scale_paths(),
        ..super::resource(&NAMES, Scope::Namespaced, ReplicaSet)
    }
}

struct ReplicaSet;

impl Kind for ReplicaSet {
    fn default(&self, object: &mut Value) {
        let Some(spec) = fill::object_at(object, "spec") else { return };
        fill::absent(spec, "replicas", 1);
        default_template(spec);
    }

    fn prepare_create(&self, object: &mut Value) {
        drop_status(object);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
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
        validate_counters(new, &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"], problems);
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        warnings(object)
    }

    fn fields(&self, object: &Value) -> Vec<Selectable> {
        let replicas = int_at(object, "status.replicas").unwrap_or_default();
        vec![Selectable::new("status.replicas", replicas.to_string()), unowned(object)]
    }

    fn columns(&self) -> Vec<Column> {
        let columns = [
            Column::of_name(),
            Column::number("Desired", "integer", 0, "How many pods are wanted.", "spec.replicas"),
            Column::number("Current", "integer", 0, "How many pods there are.", "status.replicas"),
            Column::number("Ready", "integer", 0, "How many pods are ready.", "status.readyReplicas"),
            Column::of_age(),
        ];
        columns.into_iter().chain(wide_columns("replica set")).collect()
    }
}

fn validate_spec(object: &Value, problems: &mut Problems) {
    let spec = Cursor::top(object, "spec");
    not_negative(&spec.child("replicas"), problems);
    not_negative(&spec.child("minReadySeconds"), problems);
    validate_workload(&spec, problems);
}
