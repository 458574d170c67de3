//! `ServiceAccount`.

use berth_json::Value;

use super::meta::{validate_meta, validate_meta_update};
use super::{Names, names};
use crate::resource::{Kind, Resource, Scope, Subresource, kind_of};
use crate::status::Problems;

const NAMES: Names =
    Names { group: "", version: "v1", kind: "ServiceAccount", plural: "serviceaccounts", short: &["sa"] };

const TOKEN: Subresource = Subresource {
    name: "token",
    kind: kind_of("authentication.k8s.io", "v1", "TokenRequest"),
    verbs: &["create"],
};

pub(super) fn resource() -> Resource {
    Resource { subresources: vec![TOKEN], ..super::resource(&NAMES, Scope::Namespaced, ServiceAccount) }
}

struct ServiceAccount;

impl Kind for ServiceAccount {
    fn validate(&self, object: &Value, problems: &mut Problems) {
        validate_meta(object, Scope::Namespaced, names::subdomain_1123, problems);
    }

    fn validate_update(&self, new: &Value, old: &Value, problems: &mut Problems) {
        validate_meta_update(new, old, problems);
        self.validate(new, problems);
    }
}
