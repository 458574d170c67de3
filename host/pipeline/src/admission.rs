//! Admission: what may still change or refuse an object after it was decoded and defaulted.

mod lifecycle;
mod node_restriction;
mod pod;
mod pod_security;
mod service_account;

use berth_api::{Resource, Status, Timestamp};
use berth_json::Value;
use berth_state::State;

use crate::identity::{Identity, Verb};

pub(crate) use lifecycle::{check_deletion, check_namespace};
pub(crate) use node_restriction::check_token;

/// What an [`Admission`] is asked about.
pub struct Review<'a> {
    /// Everything as it is.
    pub state: &'a State,
    /// Who writes.
    pub identity: &'a Identity,
    /// `Create`, `Update` (patches too) or `Delete`.
    pub verb: Verb,
    /// What is written.
    pub resource: &'a Resource,
    /// `status`, `binding`, …; empty for the object itself.
    pub subresource: &'a str,
    /// Empty for cluster-scoped objects.
    pub namespace: &'a str,
    /// The object's name.
    pub name: &'a str,
    /// The object as it was, with kind and apiVersion; `None` on create.
    pub old: Option<&'a Value>,
    /// Whether nothing will be persisted.
    pub dry_run: bool,
    /// The time of the request.
    pub now: Timestamp,
}

/// An admission plugin. Those built in run first, then the configured ones in their order: all mutate, then all
/// validate.
pub trait Admission: Send + Sync {
    /// The plugin's name, for messages.
    fn name(&self) -> &str;

    /// Changes the object. Returns warnings for the client.
    ///
    /// # Errors
    /// The answer to the client when the object is refused.
    fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<Vec<String>, Status>;

    /// Refuses the object or lets it pass; on delete `object` is the one that goes. Returns warnings for the client.
    ///
    /// # Errors
    /// The answer to the client when the object is refused.
    fn validate(&self, review: &Review<'_>, object: &Value) -> Result<Vec<String>, Status>;
}

/// The built-in plugins that change or refuse objects, in the order in which the API server has them. `suffix` ends
/// the name of a pod's token volume.
pub(crate) fn mutate_built_in(review: &Review<'_>, object: &mut Value, suffix: &str) -> Result<(), Status> {
    node_restriction::check(review, object)?;
    if &*review.resource.id != "pods" || !review.subresource.is_empty() {
        return Ok(());
    }
    if review.verb == Verb::Create {
        service_account::mutate(review, object, suffix)?;
        pod::set_priority(review, object)?;
        pod::check_runtime_class(review, object)?;
    }
    pod::add_default_tolerations(object);
    Ok(())
}

/// The built-in plugins that only look, after everybody has changed what he wants. Returns warnings for the client.
pub(crate) fn validate_built_in(review: &Review<'_>, object: &Value) -> Result<Vec<String>, Status> {
    pod_security::validate(review, object)
}
