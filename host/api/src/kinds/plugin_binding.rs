//! `PluginBinding` of `berth.dev/v1alpha1`: which plugin decides in which role.

use super::{Names, status_of, with_status};
use crate::resource::{Resource, Scope};

const NAMES: Names = Names {
    group: "berth.dev",
    version: "v1alpha1",
    kind: "PluginBinding",
    plural: "pluginbindings",
    short: &["pb"],
};

pub(super) fn resource() -> Resource {
    Resource {
        categories: vec!["berth".to_owned()],
        subresources: vec![status_of("berth.dev", "v1alpha1", "PluginBinding")],
        has_generation: true,
        ..super::resource(&NAMES, Scope::Cluster, with_status())
    }
}
