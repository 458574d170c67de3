//! Kinds that are only ever posted: questions about identities and rights, and the binding of a pod. Nothing is stored.

use super::Names;
use crate::resource::{Kind, Resource, Scope};

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

/// `kubectl auth whoami`, and what webhooks ask about a token.
pub(super) fn of_authentication() -> [Resource; 2] {
    [
        posted(AUTHENTICATION, "SelfSubjectReview", "selfsubjectreviews", Scope::Cluster),
        posted(AUTHENTICATION, "TokenReview", "tokenreviews", Scope::Cluster),
    ]
}

/// `kubectl auth can-i`, for oneself or for others.
pub(super) fn of_authorization() -> [Resource; 4] {
    [
        posted(AUTHORIZATION, "LocalSubjectAccessReview", "localsubjectaccessreviews", Scope::Namespaced),
        posted(AUTHORIZATION, "SelfSubjectAccessReview", "selfsubjectaccessreviews", Scope::Cluster),
        posted(AUTHORIZATION, "SelfSubjectRulesReview", "selfsubjectrulesreviews", Scope::Cluster),
        posted(AUTHORIZATION, "SubjectAccessReview", "subjectaccessreviews", Scope::Cluster),
    ]
}

/// The older way to bind a pod; the newer one is `pods/binding`.
pub(super) fn bindings() -> Resource {
    posted("", "Binding", "bindings", Scope::Namespaced)
}

fn posted(group: &'static str, kind: &'static str, plural: &'static str, scope: Scope) -> Resource {
    let names = Names { group, version: "v1", kind, plural, short: &[] };
    Resource { verbs: vec!["create"], ..super::resource(&names, scope, Posted) }
}

struct Posted;

impl Kind for Posted {}
