//! `Node`.

use super::{Names, status_of, with_status};
use crate::resource::{Resource, Scope};

const NAMES: Names = Names { group: "", version: "v1", kind: "Node", plural: "nodes", short: &["no"] };

pub(super) fn resource() -> Resource {
    Resource {
        subresources: vec![status_of("", "v1", "Node")],
        ..super::resource(&NAMES, Scope::Cluster, with_status())
    }
}
