//! `Lease`.

use super::{Names, plain};
use crate::resource::{Resource, Scope};

const NAMES: Names =
    Names { group: "coordination.k8s.io", version: "v1", kind: "Lease", plural: "leases", short: &[] };

pub(super) fn resource() -> Resource {
    Resource {
        create_on_update: true,
        unconditional_update: false,
        ..super::resource(&NAMES, Scope::Namespaced, plain())
    }
}
