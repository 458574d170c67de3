//! NamespaceLifecycle: objects live in namespaces that are there and stay.

use berth_api::kinds::view::str_at;
use berth_api::status::{Cause, Details};
use berth_api::{Reason, Resource, Scope, Status};
use berth_json::Value;
use berth_state::{Key, State};

/// Namespaces without which a cluster is none.
const IMMORTAL: [&str; 3] = ["default", "kube-public", "kube-system"];

/// Nothing new goes into a namespace that is absent (404) or on its way out (403).
pub(crate) fn check_namespace(
    state: &State,
    resource: &Resource,
    namespace: &str,
    object: &Value,
) -> Result<(), Status> {
    if resource.scope == Scope::Cluster {
        return Ok(());
    }
    let Some(found) = state.get(&Key::new("namespaces", "", namespace)) else {
        let details =
            Details { name: namespace.to_owned(), kind: "namespaces".to_owned(), ..Details::default() };
        let status = Status::new(Reason::NotFound, format!("namespaces \"{namespace}\" not found"));
        return Err(Status { details: Some(Box::new(details)), ..status });
    };
    if found.meta().deletion_timestamp.is_none() {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut status = Status::forbidden(resource, str_at(object, "metadata.name"), &why);
    if let Some(details) = &mut status.details {
        details.causes.push(Cause {
            reason: "NamespaceTerminating",
            message: format!("namespace {namespace} is being terminated"),
            field: "metadata.namespace".to_owned(),
        });
    }
    Err(status)
}

/// Some namespaces may not go.
pub(crate) fn check_deletion(resource: &Resource, name: &str) -> Result<(), Status> {
    if &*resource.id == "namespaces" && IMMORTAL.contains(&name) {
        return Err(Status::forbidden(resource, name, "this namespace may not be deleted"));
    }
    Ok(())
}
