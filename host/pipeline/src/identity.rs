//! Who asks, and whether they may.

use std::sync::Arc;

use berth_api::Resource;
use berth_state::State;

/// An authenticated user, node, service account or component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `kubernetes-admin`, `system:node:<name>`, `system:serviceaccount:<namespace>:<name>`, `system:anonymous`.
    pub user: String,
    /// The uid of a service account; empty for others.
    pub uid: String,
    /// `system:masters`, `system:nodes`, `system:authenticated`, …
    pub groups: Vec<String>,
}

impl Identity {
    /// A part of berth itself, e.g. `deployment-controller`: may do everything, and is named in managedFields.
    pub fn component(name: &str) -> Arc<Self> {
        Arc::new(Self {
            user: format!("system:{name}"),
            uid: String::new(),
            groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
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
}

/// An authorizer's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Allow,
    /// 403, with a reason for the message (may be empty).
    Deny(String),
}

/// Asked on every request, reads included.
pub trait Authorizer: Send + Sync {
    /// Decides from the state as it is.
    fn authorize(&self, state: &State, asked: &Attributes<'_>) -> Decision;
}
