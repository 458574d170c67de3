//! The shell around [`plan`](crate::plan::plan): makes commits durable, publishes them, wakes who waits for them.

use std::sync::Arc;

use berth_api::{Catalogue, Status, Timestamp};
use berth_state::{Change, Commit, CommitError, Fence, Revision, State, Store, StoreError};
use bytes::Bytes;
use tokio::sync::watch;

use crate::admission::Admission;
use crate::binding::Binding;
use crate::identity::{Attributes, Authorizer};
use crate::ranges::{NodePorts, ServiceCidr};
use crate::request::{Answer, Request};
use crate::token::TokenIssuer;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// How a [`Cluster`] is set up.
#[derive(Clone)]
pub struct Config {
    /// The kinds that are served.
    pub catalogue: Arc<Catalogue>,
    /// Asked on every request.
    pub authorizer: Arc<dyn Authorizer>,
    /// Admission plugins after the built-in ones.
    pub admission: Vec<Arc<dyn Admission>>,
    /// Signs service account tokens.
    pub tokens: Arc<dyn TokenIssuer>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where cluster IPs come from.
    pub services: ServiceCidr,
    /// Where node ports come from.
    pub node_ports: NodePorts,
    /// The port on which the API server listens, for the Service `default/kubernetes`.
    pub api_port: u16,
}

/// Why a cluster does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store holds an object that this version cannot read.
    #[error("the stored object {object} cannot be read: {source}")]
    Object {
        /// Which object.
        object: String,
        /// Why.
        #[source]
        source: berth_state::EncodeError,
    },
    /// The store holds an object of a kind that this version does not serve.
    #[error(
        "the store holds {object}, of a kind this version does not serve; it was written by a newer berth"
    )]
    UnknownKind {
        /// Which object.
        object: String,
    },
    /// An object that every cluster has could not be made.
    #[error("the cluster's own objects could not be made: {0}")]
    System(Status),
}

/// The revision asked for is too long ago: list anew (410 Expired).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("changes after revision {after} are no longer known; the oldest known follow {oldest}")]
pub struct Expired {
    /// The revision asked for.
    pub after: Revision,
    /// From where on all changes are known.
    pub oldest: Revision,
}

/// Part of the change feed.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The changes that were asked for, oldest first.
    pub changes: Vec<Arc<Change>>,
    /// Everything up to this revision has been looked at: continue after it; it is also what a bookmark may say.
    pub upto: Revision,
}

/// Whether several writes stand or fall together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Atomicity {
    /// Each on its own.
    Each,
    /// All or none, as a gang needs it.
    All,
}

/// A running cluster's state and the one way to change it.
pub struct Cluster {
    state: std::sync::RwLock<State>,
}

impl Cluster {
    /// Loads the state from the store, starts the writer, and makes the objects every cluster has.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn start<S: Store>(store: S, config: Config) -> Result<Arc<Self>, StartError> {
        let _ = (store, config);
        unimplemented!()
    }

    /// Does one write: plans it, and answers when it is durable and published.
    ///
    /// A conflict on a write that names no version is planned again, a bounded number of times.
    ///
    /// # Errors
    /// The client's answer; 429 with a time to wait when too many writes are queued, 503 when the store fails.
    pub async fn apply(&self, request: Request) -> Result<Answer, Status> {
        let _ = request;
        unimplemented!()
    }

    /// Binds pods in one batch; one result a binding, in their order, each true once it is durable.
    ///
    /// With [`Atomicity::All`] the first refusal refuses all. `fence` guards against a scheduler that was replaced.
    ///
    /// # Errors
    /// In an element: as `POST …/binding` answers.
    pub async fn commit_bindings(
        &self,
        bindings: Vec<Binding>,
        atomicity: Atomicity,
        fence: Option<Fence>,
    ) -> Vec<Result<Revision, Status>> {
        let _ = (bindings, atomicity, fence);
        unimplemented!()
    }

    /// Makes a commit durable and publishes it.
    ///
    /// # Errors
    /// A conflict, a lost lease, a full queue or a failing store; nothing was written then.
    pub async fn commit(&self, commit: Commit) -> Result<Vec<Arc<Change>>, CommitError> {
        let _ = commit;
        unimplemented!()
    }

    /// Looks at the state. Writers wait meanwhile: take out what is needed (`Arc<Stored>`) and come back soon.
    pub fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Whether a request is allowed: for reads, which are not planned.
    ///
    /// # Errors
    /// 403 as the Kubernetes API server words it.
    pub fn authorize(&self, asked: &Attributes<'_>) -> Result<(), Status> {
        let _ = asked;
        unimplemented!()
    }

    /// The changes after `after` that `wanted` picks, oldest first, at most `limit` of them.
    ///
    /// # Errors
    /// [`Expired`] when some of them are forgotten.
    pub fn changes_after(
        &self,
        after: Revision,
        limit: usize,
        wanted: impl Fn(&Change) -> bool,
    ) -> Result<Changes, Expired> {
        let _ = (after, limit, wanted);
        unimplemented!()
    }

    /// Follows the revision of the whole cluster: wakes on every write.
    pub fn subscribe(&self) -> watch::Receiver<Revision> {
        unimplemented!()
    }

    /// Follows one resource: wakes only when an object of it was written.
    pub fn subscribe_to(&self, resource: &str) -> watch::Receiver<Revision> {
        let _ = resource;
        unimplemented!()
    }

    /// The kinds that are served.
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        unimplemented!()
    }

    /// The cluster's time.
    pub fn now(&self) -> Timestamp {
        unimplemented!()
    }

    /// Keeps a blob durably and returns its digest (`sha256:…`).
    ///
    /// # Errors
    /// 413 when it is too large, 503 when the store fails.
    pub async fn put_blob(&self, bytes: Bytes) -> Result<String, Status> {
        let _ = bytes;
        unimplemented!()
    }

    /// The blob of a digest.
    ///
    /// # Errors
    /// 503 when the store fails.
    pub async fn get_blob(&self, digest: &str) -> Result<Option<Bytes>, Status> {
        let _ = digest;
        unimplemented!()
    }

    /// Forgets a blob; an absent one is no error.
    ///
    /// # Errors
    /// 503 when the store fails.
    pub async fn delete_blob(&self, digest: &str) -> Result<(), Status> {
        let _ = digest;
        unimplemented!()
    }

    /// Takes no more writes, makes durable what is queued, and closes the store. Reads go on.
    pub async fn shutdown(&self) {
        unimplemented!()
    }
}
