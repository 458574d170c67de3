//! `Namespace`.

use super::{Names, status_of, with_status};
use crate::resource::{Resource, Scope, Subresource};

const NAMES: Names =
    Names { group: "", version: "v1", kind: "Namespace", plural: "namespaces", short: &["ns"] };

pub(super) fn resource() -> Resource {
    Resource {
        verbs: vec!["create", "delete", "get", "list", "patch", "update", "watch"],
        subresources: vec![
            Subresource { name: "finalize", kind: ("", "v1", "Namespace"), verbs: &["update"] },
            status_of("", "v1", "Namespace"),
        ],
        ..super::resource(&NAMES, Scope::Cluster, with_status())
    }
}
