//! `ConfigMap`.

use super::{Names, plain};
use crate::resource::{Resource, Scope};

const NAMES: Names =
    Names { group: "", version: "v1", kind: "ConfigMap", plural: "configmaps", short: &["cm"] };

pub(super) fn resource() -> Resource {
    super::resource(&NAMES, Scope::Namespaced, plain())
}
