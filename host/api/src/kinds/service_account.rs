//! `ServiceAccount`.

use berth_json::Value;

use super::config_map::count;
use super::meta::{validate_meta, validate_meta_update};
use super::view::{age, name};
use super::{Names, age_column, column, name_column, names, plain};
use crate::resource::{Behaviour, Column, Resource, Scope, Subresource};
use crate::status::Problems;
use crate::time::Timestamp;

const NAMES: Names =
    Names { group: "", version: "v1", kind: "ServiceAccount", plural: "serviceaccounts", short: &["sa"] };

const TOKEN: Subresource =
    Subresource { name: "token", kind: ("authentication.k8s.io", "v1", "TokenRequest"), verbs: &["create"] };

pub(super) fn resource() -> Resource {
    let behaviour = Behaviour { validate, validate_update, columns, cells, ..plain() };
    Resource { subresources: vec![TOKEN], ..super::resource(&NAMES, Scope::Namespaced, behaviour) }
}

fn validate(object: &Value, problems: &mut Problems) {
    validate_meta(object, Scope::Namespaced, names::subdomain_1123, problems);
}

fn validate_update(new: &Value, old: &Value, problems: &mut Problems) {
    validate_meta_update(new, old, problems);
    validate(new, problems);
}

fn columns() -> Vec<Column> {
    vec![name_column(), column("Secrets", "string", 0, "How many secrets the account lists."), age_column()]
}

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object).into(), count(object, &["secrets"]).into(), age(object, now).into()]
}
