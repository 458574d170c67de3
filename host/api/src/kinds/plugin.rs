//! `Plugin` of `berth.dev/v1alpha1`: a policy's Wasm component, named, limited and described.

use super::{Names, status_of, with_status};
use crate::resource::{Resource, Scope, Subresource};

const NAMES: Names =
    Names { group: "berth.dev", version: "v1alpha1", kind: "Plugin", plural: "plugins", short: &["plug"] };

pub(super) fn resource() -> Resource {
    Resource {
        categories: vec!["berth".to_owned()],
        subresources: vec![
            Subresource {
                name: "component",
                kind: ("berth.dev", "v1alpha1", "Plugin"),
                verbs: &["get", "update"],
            },
            status_of("berth.dev", "v1alpha1", "Plugin"),
        ],
        has_generation: true,
        ..super::resource(&NAMES, Scope::Cluster, with_status())
    }
}
