//! `Service`.

use super::{Names, status_of, with_status};
use crate::resource::{Resource, Scope};

const NAMES: Names = Names { group: "", version: "v1", kind: "Service", plural: "services", short: &["svc"] };

pub(super) fn resource() -> Resource {
    Resource {
        categories: vec!["all".to_owned()],
        subresources: vec![status_of("", "v1", "Service")],
        create_on_update: true,
        ..super::resource(&NAMES, Scope::Namespaced, with_status())
    }
}
