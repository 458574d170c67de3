//! The one machine behind every resource: from path and method to a verb.

use std::sync::Arc;

use berth_api::{FieldSelector, Resource, Scope, Status};
use berth_client::Body;
use berth_pipeline::{Attributes, Verb};
use http::Method;

use crate::path::ObjectPath;
use crate::respond;
use crate::server::{Call, Handled, Inner, method_not_allowed, no_such_resource, not_supported_yet};
use crate::{component, list, logs, read, session, watch, write};

/// Parts of a pod that Kubernetes has and Berth does not yet.
const NOT_YET: [&str; 4] = ["portforward", "proxy", "ephemeralcontainers", "resize"];

/// A request to a resource that is served.
pub(crate) struct Target {
    pub(crate) resource: Arc<Resource>,
    pub(crate) path: ObjectPath,
    /// The subresource's name out of the catalogue; empty for the object itself.
    pub(crate) subresource: &'static str,
}

/// Serves a request for a collection, an object or a part of one.
pub(crate) async fn serve(server: Arc<Inner>, path: ObjectPath, call: Call, body: Body) -> Handled {
    let Some(target) = find(&server, path)? else { return Ok(respond::text(404, "404 page not found\n")) };
    let named = !target.path.name.is_empty();
    if !target.resource.is_stored() && (named || call.parts.method != Method::POST) {
        return Err(if named { no_such_resource() } else { method_not_allowed() });
    }
    let deprecation = target.resource.deprecation.clone();
    let mut answered = dispatch(server, target, call, body).await;
    if let (Ok(response), Some(text)) = (&mut answered, deprecation) {
        respond::warn_first(response, text);
    }
    answered
}

async fn dispatch(server: Arc<Inner>, target: Target, call: Call, body: Body) -> Handled {
    let named = !target.path.name.is_empty();
    match (call.parts.method.clone(), named, target.subresource) {
        (Method::GET, false, _) | (Method::GET, true, "") if watched(&target, &call) => {
            watch::serve(server, target, call)
        }
        (Method::GET, false, _) => list::serve(&server, &target, &call),
        (Method::GET, true, "log") => logs::serve(&server, &target, call).await,
        (Method::GET | Method::POST, true, "exec" | "attach") => session::serve(server, target, call).await,
        (method, true, "component") => component::serve(&server, &target, call, body, &method).await,
        (Method::GET, true, _) => read::serve(&server, &target, &call),
        (method, _, _) => write::serve(&server, &target, call, body, verb(&method, named)?).await,
    }
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
fn find(server: &Inner, path: ObjectPath) -> Result<Option<Target>, Status> {
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

fn watched(target: &Target, call: &Call) -> bool {
    let named = !target.path.name.is_empty();
    target.path.watch || (!named && call.query.flag("watch"))
}

fn verb(method: &Method, named: bool) -> Result<Verb, Status> {
    match (method, named) {
        (&Method::POST, _) => Ok(Verb::Create),
        (&Method::PUT, true) => Ok(Verb::Update),
        (&Method::PATCH, true) => Ok(Verb::Patch),
        (&Method::DELETE, true) => Ok(Verb::Delete),
        (&Method::DELETE, false) => Ok(Verb::DeleteCollection),
        _ => Err(method_not_allowed()),
    }
}
