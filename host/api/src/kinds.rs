//! The kinds Berth serves: one [`Resource`] each, with its defaults, validation, selectable fields and table.

mod config_map;
pub mod cursor;
mod deployment;
mod event;
mod event_view;
mod fill;
mod horizontal_pod_autoscaler;
mod lease;
pub mod meta;
mod metrics;
pub mod names;
mod namespace;
mod node;
mod plugin;
mod plugin_binding;
mod pod;
mod replica_set;
mod review;
mod secret;
mod selector;
pub mod service;
mod service_account;
pub mod view;
mod workload;

use std::sync::Arc;

use berth_json::Value;

use crate::resource::{Catalogue, Kind, Resource, ScalePaths, Scope, Selectable, Subresource, kind_of};
use crate::schema::Schema;

/// The index by which a workload finds what it may make its own: the namespaces of the objects that no controller owns.
pub const UNOWNED: &str = "berth:unowned";

/// Every kind that is served from the first start on, in the order in which discovery lists them.
pub fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::default();
    let stored = [
        config_map::resource(),
        event::resource(),
        namespace::resource(),
        node::resource(),
        pod::resource(),
        secret::resource(),
        service_account::resource(),
        service::resource(),
        deployment::resource(),
        replica_set::resource(),
        horizontal_pod_autoscaler::resource(),
        horizontal_pod_autoscaler::resource_v1(),
        lease::resource(),
        event_view::resource(),
        plugin_binding::resource(),
        plugin::resource(),
    ];
    let posted = [review::bindings()].into_iter().chain(review::of_authentication());
    for resource in
        stored.into_iter().chain(posted).chain(review::of_authorization()).chain(metrics::resources())
    {
        catalogue.register(resource);
    }
    catalogue
}

const ALL_VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// Group, version, kind and plural of a resource.
struct Names {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
}

/// A resource with every verb, no subresource, and the schema row that the API's naming rule gives it.
fn resource(names: &Names, scope: Scope, behaviour: impl Kind + 'static) -> Resource {
    let id = if names.group.is_empty() {
        names.plural.to_owned()
    } else {
        format!("{}.{}", names.plural, names.group)
    };
    let package = match names.group.split('.').next() {
        Some("") | None => "core",
        Some(first) => first,
    };
    let schema_type = format!("{package}.{}.{}", names.version, names.kind);
    Resource {
        id: id.into(),
        is_custom: false,
        is_served: true,
        is_storage: true,
        list_kind: format!("{}List", names.kind),
        scale: None,
        group: names.group.to_owned(),
        version: names.version.to_owned(),
        kind: names.kind.to_owned(),
        plural: names.plural.to_owned(),
        singular: names.kind.to_lowercase(),
        short_names: names.short.iter().map(|&s| s.to_owned()).collect(),
        categories: Vec::new(),
        scope,
        verbs: ALL_VERBS.to_vec(),
        subresources: Vec::new(),
        schema: Schema::builtin().clone(),
        fields_type: schema_type.clone(),
        schema_type,
        has_generation: false,
        create_on_update: false,
        unconditional_update: true,
        deprecation: None,
        behaviour: Arc::new(behaviour),
    }
}

/// `/status` of a kind: read, replaced and patched like the object itself.
const fn status_of(group: &'static str, version: &'static str, kind: &'static str) -> Subresource {
    Subresource { name: "status", kind: kind_of(group, version, kind), verbs: &["get", "patch", "update"] }
}

/// Where a workload has what its `/scale` shows.
fn scale_paths() -> Option<ScalePaths> {
    Some(ScalePaths {
        spec_replicas: ".spec.replicas".to_owned(),
        status_replicas: ".status.replicas".to_owned(),
        label_selector: Some(".spec.selector".to_owned()),
    })
}

/// `/scale` of a workload.
const SCALE: Subresource = Subresource {
    name: "scale",
    kind: kind_of("autoscaling", "v1", "Scale"),
    verbs: &["get", "patch", "update"],
};

/// `prepare_create` of a kind whose status is written by others only.
fn drop_status(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
}

/// `prepare_update` of a kind with a `/status` subresource: the main endpoint leaves the status alone.
fn keep_status(new: &mut Value, old: &Value) {
    view::copy_field(new, old, "status");
}

/// [`UNOWNED`] of an object.
fn unowned(object: &Value) -> Selectable {
    let mut owners = view::list_at(object, "metadata.ownerReferences").iter();
    let is_owned = owners.any(|owner| view::is_true_at(owner, "controller"));
    Selectable::internal(UNOWNED, if is_owned { "" } else { view::str_at(object, "metadata.namespace") })
}
