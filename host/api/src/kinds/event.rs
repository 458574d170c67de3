//! `Event`.

use super::{Names, plain};
use crate::resource::{Resource, Scope};

const NAMES: Names = Names { group: "", version: "v1", kind: "Event", plural: "events", short: &["ev"] };

pub(super) fn resource() -> Resource {
    Resource { create_on_update: true, ..super::resource(&NAMES, Scope::Namespaced, plain()) }
}
