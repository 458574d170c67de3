//! `Deployment`.

use super::{Names, SCALE, status_of, with_status};
use crate::resource::{Resource, Scope};

const NAMES: Names =
    Names { group: "apps", version: "v1", kind: "Deployment", plural: "deployments", short: &["deploy"] };

pub(super) fn resource() -> Resource {
    Resource {
        categories: vec!["all".to_owned()],
        subresources: vec![SCALE, status_of("apps", "v1", "Deployment")],
        has_generation: true,
        ..super::resource(&NAMES, Scope::Namespaced, with_status())
    }
}
