//! `ServiceAccount`.

use berth_json::Value;

use super::meta::{validate_meta, validate_meta_update};
use super::{Names, names, plain};
use crate::resource::{Behaviour, Resource, Scope, Subresource};
use crate::status::Problems;

const NAMES: Names =
    Names { group: "", version: "v1", kind: "ServiceAccount", plural: "serviceaccounts", short: &["sa"] };

const TOKEN: Subresource =
    Subresource { name: "token", kind: ("authentication.k8s.io", "v1", "TokenRequest"), verbs: &["create"] };

pub(super) fn resource() -> Resource {
    let behaviour = Behaviour { validate, validate_update, ..plain() };
    Resource { subresources: vec![TOKEN], ..super::resource(&NAMES, Scope::Namespaced, behaviour) }
}

fn validate(object: &Value, problems: &mut Problems) {
    validate_meta(object, Scope::Namespaced, names::subdomain_1123, problems);
}

fn validate_update(new: &Value, old: &Value, problems: &mut Problems) {
    validate_meta_update(new, old, problems);
    validate(new, problems);
}
