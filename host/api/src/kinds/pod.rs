//! `Pod`.

use super::{Names, status_of, with_status};
use crate::resource::{Resource, Scope, Subresource};

const NAMES: Names = Names { group: "", version: "v1", kind: "Pod", plural: "pods", short: &["po"] };

pub(super) fn resource() -> Resource {
    Resource {
        categories: vec!["all".to_owned()],
        subresources: vec![
            Subresource { name: "binding", kind: ("", "v1", "Binding"), verbs: &["create"] },
            Subresource { name: "exec", kind: ("", "v1", "PodExecOptions"), verbs: &["create", "get"] },
            Subresource { name: "log", kind: ("", "v1", "Pod"), verbs: &["get"] },
            status_of("", "v1", "Pod"),
        ],
        has_generation: true,
        ..super::resource(&NAMES, Scope::Namespaced, with_status())
    }
}
