//! `ReplicaSet`.

use berth_json::Value;

use super::cursor::Cursor;
use super::meta::{immutable, not_negative, validate_meta, validate_meta_update};
use super::pod::default_template;
use super::view::{age, int_at, name};
use super::workload::{validate_counters, validate_workload, warnings, wide_cells};
use super::{
    Names, SCALE, age_column, column, drop_status, fill, keep_status, name_column, names, scale_paths,
    status_of, unowned,
};
use crate::resource::{Column, Kind, Resource, Scope, Selectable};
use crate::status::Problems;
use crate::time::Timestamp;

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
        vec![
            name_column(),
            column("Desired", "integer", 0, "How many pods are wanted."),
            column("Current", "integer", 0, "How many pods there are."),
            column("Ready", "integer", 0, "How many pods are ready."),
            age_column(),
            column("Containers", "string", 1, "Names of the template's containers."),
            column("Images", "string", 1, "Images of the template's containers."),
            column("Selector", "string", 1, "Which pods belong to the replica set."),
        ]
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let count = |path: &str| Value::from(int_at(object, path).unwrap_or_default());
        let [containers, images, selector] = wide_cells(object);
        vec![
            name(object).into(),
            count("spec.replicas"),
            count("status.replicas"),
            count("status.readyReplicas"),
            age(object, now).into(),
            containers,
            images,
            selector,
        ]
    }
}

fn validate_spec(object: &Value, problems: &mut Problems) {
    let spec = Cursor::top(object, "spec");
    not_negative(&spec.child("replicas"), problems);
    not_negative(&spec.child("minReadySeconds"), problems);
    validate_workload(&spec, problems);
}
