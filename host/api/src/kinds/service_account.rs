//! `ServiceAccount`.

use super::{Names, plain};
use crate::resource::{Resource, Scope, Subresource};

const NAMES: Names =
    Names { group: "", version: "v1", kind: "ServiceAccount", plural: "serviceaccounts", short: &["sa"] };

pub(super) fn resource() -> Resource {
    Resource {
        subresources: vec![Subresource {
            name: "token",
            kind: ("authentication.k8s.io", "v1", "TokenRequest"),
            verbs: &["create"],
        }],
        ..super::resource(&NAMES, Scope::Namespaced, plain())
    }
}
