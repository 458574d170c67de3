//! `Lease`: who leads, and whether a node is alive.

use berth_json::Value;

use super::cursor::Cursor;
use super::meta::{not_negative, validate_meta, validate_meta_update};
use super::view::{age, int_at, name, str_at};
use super::{Names, age_column, column, name_column, names, plain};
use crate::resource::{Behaviour, Column, Resource, Scope};
use crate::status::Problems;
use crate::time::Timestamp;

const NAMES: Names =
    Names { group: "coordination.k8s.io", version: "v1", kind: "Lease", plural: "leases", short: &[] };

pub(super) fn resource() -> Resource {
    let behaviour = Behaviour { validate, validate_update, fields, columns, cells, ..plain() };
    Resource {
        create_on_update: true,
        unconditional_update: false,
        ..super::resource(&NAMES, Scope::Namespaced, behaviour)
    }
}

fn validate(object: &Value, problems: &mut Problems) {
    validate_meta(object, Scope::Namespaced, names::subdomain_1123, problems);
    let spec = Cursor::top(object, "spec");
    let duration = spec.child("leaseDurationSeconds");
    if duration.int().is_some_and(|seconds| seconds <= 0) {
        problems.invalid(duration, duration.value(), "must be greater than 0");
    }
    not_negative(&spec.child("leaseTransitions"), problems);
}

fn validate_update(new: &Value, old: &Value, problems: &mut Problems) {
    validate_meta_update(new, old, problems);
    validate(new, problems);
}

/// Beyond what the API server offers: commits are fenced by the holder and the number of transitions.
fn fields(object: &Value) -> Vec<(&'static str, String)> {
    let transitions = int_at(object, "spec.leaseTransitions").unwrap_or_default();
    vec![
        ("spec.holderIdentity", str_at(object, "spec.holderIdentity").to_owned()),
        ("spec.leaseTransitions", transitions.to_string()),
    ]
}

fn columns() -> Vec<Column> {
    vec![name_column(), column("Holder", "string", 0, "Who holds the lease."), age_column()]
}

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object).into(), str_at(object, "spec.holderIdentity").into(), age(object, now).into()]
}
