//! Admission: what may still change or refuse an object after it was decoded and defaulted.

mod lifecycle;
mod node_restriction;
mod pod;
mod pod_security;
mod service_account;

use std::future::{Future, ready};
use std::pin::Pin;

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
    /// What ends the names that the server makes up for this write (a pod's token volume).
    pub suffix: &'a str,
}

/// What an [`Admission`] says, once it knows: warnings for the client, or the answer to the client when the object is
/// refused.
pub type Verdict<'a> = Pin<Box<dyn Future<Output = Result<Vec<String>, Status>> + Send + 'a>>;

/// An admission plugin. Those built in run first, then the configured ones in their order: all mutate, then all validate.
///
/// It looks at a snapshot and may take its time: nobody waits for it but the client. What it sees may have changed when the
/// object is written; a write that meets a conflict is admitted again.
pub trait Admission: Send + Sync {
    /// The plugin's name, for messages.
    fn name(&self) -> &str;

    /// Whether it has anything to say about such a write. It is not asked otherwise.
    fn concerns(&self, _review: &Review<'_>) -> bool {
        true
    }

    /// Changes the object, or refuses it.
    fn mutate<'a>(&'a self, _review: &'a Review<'_>, _object: &'a mut Value) -> Verdict<'a> {
        at_once(Ok(vec![]))
    }

    /// Refuses the object or lets it pass; on delete `object` is the one that goes.
    fn validate<'a>(&'a self, _review: &'a Review<'_>, _object: &'a Value) -> Verdict<'a> {
        at_once(Ok(vec![]))
    }
}

/// The verdict of a plugin that need not wait for anything.
pub fn at_once<'a>(verdict: Result<Vec<String>, Status>) -> Verdict<'a> {
    Box::pin(ready(verdict))
}

/// The built-in plugins, in the order in which the API server has them.
pub(crate) static BUILT_IN: [&dyn Admission; 6] = [
    &node_restriction::NodeRestriction,
    &service_account::ServiceAccount,
    &pod::Priority,
    &pod::RuntimeClass,
    &pod::DefaultTolerations,
    &pod_security::PodSecurity,
];

/// Whether a review is of a pod itself, on its way into being or on every change.
fn is_pod(review: &Review<'_>, verbs: &[Verb]) -> bool {
    &*review.resource.id == "pods" && review.subresource.is_empty() && verbs.contains(&review.verb)
}
