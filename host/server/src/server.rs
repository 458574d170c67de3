//! What every handler of a request has: the cluster and all that serves it, and the request itself.

use std::sync::Arc;

use berth_api::{Reason, Status};
use berth_client::{Body, NodeRegistry};
use berth_cluster::Cluster;
use berth_pipeline::Identity;
use http::Response;
use http::request::Parts;

use crate::documents::LastDocuments;
use crate::fairness::Fairness;
use crate::health;
use crate::hooks::Hooks;
use crate::jwt::TokenKey;
use crate::metrics::Metrics;
use crate::query::Query;

/// The API of one cluster. Clones share it.
#[derive(Clone)]
pub struct Server {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) nodes: NodeRegistry,
    pub(crate) tokens: TokenKey,
    pub(crate) hooks: Hooks,
    pub(crate) documents: LastDocuments,
    pub(crate) metrics: Metrics,
    pub(crate) fairness: Fairness,
    pub(crate) health: health::Health,
}

/// A request that is understood so far: who asks, and with which parameters.
pub(crate) struct Call {
    pub(crate) parts: Parts,
    pub(crate) query: Query,
    pub(crate) identity: Arc<Identity>,
}

/// What a handler answers.
pub(crate) type Handled = Result<Response<Body>, Status>;

impl Server {
    /// A server of `cluster` that asks `nodes` for logs and sessions, and checks tokens with `tokens`.
    pub fn new(cluster: Arc<Cluster>, nodes: NodeRegistry, tokens: TokenKey, hooks: Hooks) -> Self {
        let inner = Inner {
            documents: LastDocuments::default(),
            cluster,
            nodes,
            tokens,
            hooks,
            metrics: Metrics::default(),
            fairness: Fairness::default(),
            health: health::Health::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// From now on `/readyz` says no, so that whoever looks there sends new requests elsewhere.
    pub fn set_stopping(&self) {
        self.inner.health.set_stopping();
    }
}

/// 405, as the API server words it.
pub(crate) fn method_not_allowed() -> Status {
    let message = "the server does not allow this method on the requested resource";
    Status { details: Some(Box::default()), ..Status::new(Reason::MethodNotAllowed, message) }
}

/// 404 for a path below a served version at which nothing is served.
pub(crate) fn no_such_resource() -> Status {
    let message = "the server could not find the requested resource";
    Status { details: Some(Box::default()), ..Status::new(Reason::NotFound, message) }
}

/// 501-like refusal of something that Berth does not do yet.
pub(crate) fn not_supported_yet(what: &str) -> Status {
    let message = format!("{what} is not supported by this version of berth");
    Status { code: 501, details: Some(Box::default()), ..Status::new(Reason::MethodNotAllowed, message) }
}
