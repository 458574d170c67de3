//! Who asks, and whether they may.

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_api::{FieldSelector, Resource};
use berth_state::State;

/// What is said of an identity besides user, uid and groups: the keys that Kubernetes gives to callers it knows.
pub mod extra {
    /// Which token or certificate the caller showed: `JTI=<id>` or `X509SHA256=<digest>`.
    pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
    /// The pod that a token is bound to.
    pub const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
    /// Its uid.
    pub const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
    /// The node of that pod, or the one that a token is bound to itself.
    pub const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
    /// Its uid.
    pub const NODE_UID: &str = "authentication.kubernetes.io/node-uid";
}

/// An authenticated user, node, service account or component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `kubernetes-admin`, `system:node:<name>`, `system:serviceaccount:<namespace>:<name>`, `system:anonymous`.
    pub user: String,
    /// The uid of a service account; empty for others.
    pub uid: String,
    /// `system:masters`, `system:nodes`, `system:authenticated`, …
    pub groups: Vec<String>,
    /// What else is known of the caller, by keys as in [`extra`].
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// A part of berth itself, e.g. `deployment-controller`: may do everything, and is named in managedFields.
    pub fn component(name: &str) -> Arc<Self> {
        Arc::new(Self {
            user: format!("system:{name}"),
            groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
            ..Self::default()
        })
    }

    /// Whether the identity is in a group.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}

/// What is asked of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the API's own words
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// The verb of a word; `None` for one that no endpoint has.
    pub fn parse(word: &str) -> Option<Self> {
        const ALL: [Verb; 8] = [
            Verb::Get,
            Verb::List,
            Verb::Watch,
            Verb::Create,
            Verb::Update,
            Verb::Patch,
            Verb::Delete,
            Verb::DeleteCollection,
        ];
        ALL.into_iter().find(|verb| verb.as_str() == word)
    }

    /// `get`, `list`, …
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// What an [`Authorizer`] decides on.
#[derive(Clone, Copy)]
pub struct Attributes<'a> {
    /// Who.
    pub identity: &'a Identity,
    /// Does what.
    pub verb: Verb,
    /// To which resource.
    pub resource: &'a Resource,
    /// And which part of it: `status`, `log`, …; empty for the object itself.
    pub subresource: &'a str,
    /// In which namespace; empty for cluster-scoped objects and for all namespaces.
    pub namespace: &'a str,
    /// Which object; empty for list, watch, create and deletecollection.
    pub name: &'a str,
    /// Which objects of a list or watch, by their fields.
    pub fields: Option<&'a FieldSelector>,
}

/// An authorizer's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Allow,
    /// 403, with a reason for the message (may be empty).
    Deny(String),
}

/// What an identity may do in a namespace, as far as it can be listed (`authorization.k8s.io` SubjectRulesReviewStatus).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Verbs, API groups and resources; `*` stands for all.
    pub resources: Vec<ResourceRule>,
    /// The paths outside the API that it may get; `*` stands for all.
    pub paths: Vec<PathRule>,
    /// Why the list is not all there is to say; empty when it is.
    pub incomplete: &'static str,
}

/// Verbs on resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceRule {
    /// `get`, …
    pub verbs: Vec<&'static str>,
    /// Empty for the core group.
    pub group: &'static str,
    /// Plurals.
    pub resources: Vec<&'static str>,
}

/// Verbs on paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRule {
    /// `get`, …
    pub verbs: Vec<&'static str>,
    /// `/healthz`, …
    pub paths: Vec<&'static str>,
}

/// Asked on every request, reads included.
pub trait Authorizer: Send + Sync {
    /// Decides from the state as it is.
    fn authorize(&self, state: &State, asked: &Attributes<'_>) -> Decision;

    /// Decides about what no endpoint stands for, so that only a review can ask it: verbs and resources that are not
    /// served, and `*`.
    fn authorize_unserved(&self, identity: &Identity) -> Decision;

    /// Decides about a path that is none of a resource.
    fn authorize_path(&self, identity: &Identity, verb: &str, path: &str) -> Decision;

    /// All that an identity may do in a namespace.
    fn rules(&self, identity: &Identity, namespace: &str) -> Rules;
}
