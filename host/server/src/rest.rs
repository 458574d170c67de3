//! What a request is about: a resource, an object of it or a part of one, and whether it may be read.

use std::sync::Arc;

use berth_api::{FieldSelector, Resource, Scope, Status};
use berth_pipeline::{Attributes, Verb};

use crate::path::ObjectPath;
use crate::server::{Call, Inner, no_such_resource, not_supported_yet};

/// Parts of a pod that Kubernetes has and Berth does not yet.
const NOT_YET: [&str; 4] = ["portforward", "proxy", "ephemeralcontainers", "resize"];

/// A request to a resource that is served.
pub(crate) struct Target {
    pub(crate) resource: Arc<Resource>,
    pub(crate) path: ObjectPath,
    /// The subresource's name out of the catalogue; empty for the object itself.
    pub(crate) subresource: &'static str,
}

/// Asks whether a read is allowed. Writes are asked about by the pipeline.
///
/// A list or watch of the one object that its field selector names is a read of that object: so a node follows a
/// secret of its pods without seeing the others.
pub(crate) fn authorize(server: &Inner, target: &Target, call: &Call, verb: Verb) -> Result<(), Status> {
    // A selector that cannot be read selects nothing here, and is refused later.
    let fields = FieldSelector::parse(call.query.text("fieldSelector")).unwrap_or_default();
    let name = match &*target.path.name {
        "" => fields.pinned("metadata.name").unwrap_or_default(),
        name => name,
    };
    server.cluster.authorize(&Attributes {
        identity: &call.identity,
        verb,
        resource: &target.resource,
        subresource: target.subresource,
        namespace: &target.path.namespace,
        name,
        fields: Some(&fields),
    })
}

/// The resource at a path; `None` when not even the group is served.
pub(crate) fn find(server: &Inner, path: ObjectPath) -> Result<Option<Target>, Status> {
    let catalogue = server.cluster.catalogue();
    let Some(resource) = catalogue.at(&path.group, &path.version, &path.plural).cloned() else {
        // Custom kinds are served version by version, those of this build group by group.
        let is_served = |resource: &Resource| {
            resource.group == path.group && (!resource.is_custom || resource.version == path.version)
        };
        let is_known = path.group.is_empty() || catalogue.iter().any(|resource| is_served(resource));
        return if is_known { Err(no_such_resource()) } else { Ok(None) };
    };
    match (resource.scope, path.namespace.is_empty()) {
        (Scope::Cluster, false) => return Err(no_such_resource()),
        (Scope::Namespaced, true) if !path.name.is_empty() => return Err(no_such_resource()),
        _ => {}
    }
    check_name(&path.name)?;
    let subresource = subresource(&resource, &path)?;
    Ok(Some(Target { resource, path, subresource }))
}

/// Refuses names that would be something else in a path (`path.IsValidPathSegmentName`).
fn check_name(name: &str) -> Result<(), Status> {
    let why = match name {
        "." | ".." => format!("may not be '{name}'"),
        _ if name.contains('/') => "may not contain '/'".to_owned(),
        _ if name.contains('%') => "may not contain '%'".to_owned(),
        _ => return Ok(()),
    };
    Err(Status::bad_request(format!("Name parameter invalid: {name:?}: {why}")))
}

fn subresource(resource: &Resource, path: &ObjectPath) -> Result<&'static str, Status> {
    let wanted = path.subresource.as_str();
    if wanted.is_empty() {
        return Ok("");
    }
    if let Some(found) = resource.subresource(wanted) {
        return Ok(found.name);
    }
    if &*resource.id == "pods" && NOT_YET.contains(&wanted) {
        return Err(not_supported_yet(&format!("pods/{wanted}")));
    }
    Err(no_such_resource())
}
