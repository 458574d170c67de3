//! A cluster's state, and the one way to change it: the shell around [`plan`](berth_pipeline::plan()).
//!
//! One writer makes commits durable in groups, publishes them, and wakes who waits for them. Where several servers have one
//! store, each follows what the others write, and a commit that was made without having seen it is staged again. No HTTP and
//! no SQL here; nothing of tokio but its channels.

mod bind;
mod catch_up;
mod config;
mod each;
mod errors;
mod feed;
mod ids;
mod leader;
mod load;
mod system;
mod writer;

use std::sync::Arc;

use berth_api::{Catalogue, Reason, Schema, Status, Timestamp};
use berth_pipeline::{Admission, Answer, Attributes, Env, Identity, Kinds, Plan, Request, authorizer, plan};
use berth_state::{Blobs, Change, Commit, CommitError, Fence, Revision, State, Store};
use berth_tasks::Executor;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, mpsc, oneshot, watch};

pub use config::{Config, StartError};
pub use feed::{Interest, Subscription};
pub use ids::{IdSource, SharedIds, SystemIds};
pub use leader::Leader;

use feed::Feed;
use writer::{Job, Writer};

/// Jobs that may wait for the writer: about two seconds of work, and what a burst of a few thousand clients makes.
/// Beyond that a client is told to come back.
const QUEUE_JOBS_MAX: usize = 16_384;

/// How often a write that met a conflict is planned anew. Each time somebody else's write went through, so this many
/// in a row mean an object under constant fire.
const PLANS_MAX: usize = 8;

/// The largest blob: a policy plugin in an interpreted language with its runtime is around 30 MiB.
pub const BLOB_BYTES_MAX: usize = 64 << 20;

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
    feed: Arc<Feed>,
    config: Config,
    kinds: Arc<Kinds>,
    queue: mpsc::Sender<Job>,
    blobs: Arc<dyn Blobs>,
    is_sole: bool,
    /// Told when the writer has closed the store.
    closed: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Cluster {
    /// Loads the state from the store, starts the writer, and makes the objects every cluster has.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn start<S: Store>(mut store: S, config: Config) -> Result<Arc<Self>, StartError> {
        let kinds = Arc::new(Kinds::new(&config.catalogue));
        let state = load::load(&mut store, &kinds).await?;
        system::check_services(&state, config.services)?;
        let feed = Feed::new(state);
        let (queue, jobs) = mpsc::channel(QUEUE_JOBS_MAX);
        let (blobs, is_sole) = (store.blobs(), !store.is_shared());
        let (close, closed) = oneshot::channel();
        let writer = Writer::new(store, feed.clone(), kinds.clone(), config.executor.clone());
        config.executor.spawn("writer", async move {
            writer.run(jobs).await;
            // Nobody waits for it but a shutdown.
            let _ = close.send(());
        });
        let cluster =
            Arc::new(Self { feed, config, kinds, queue, blobs, is_sole, closed: Mutex::new(Some(closed)) });
        cluster.ensure_system_objects().await?;
        Ok(cluster)
    }

    /// Does one write: plans it, and answers when it is durable and published.
    ///
    /// A write that meets another's is planned again on the new state, a bounded number of times: it succeeds there, or
    /// the client learns why not.
    ///
    /// # Errors
    /// The client's answer; 429 with a time to wait when too many writes are queued, 503 when the store fails.
    pub async fn apply(&self, request: Request) -> Result<Answer, Status> {
        self.apply_fenced(request, None).await
    }

    async fn apply_fenced(&self, request: Request, fence: Option<&Fence>) -> Result<Answer, Status> {
        self.apply_admitted(request, &self.config.admission, fence).await
    }

    async fn apply_admitted(
        &self,
        request: Request,
        admission: &[Arc<dyn Admission>],
        fence: Option<&Fence>,
    ) -> Result<Answer, Status> {
        let mut looked = false;
        for _ in 0..PLANS_MAX {
            let seen = self.snapshot().revision();
            let mut plan = match self.plan(&request, admission).await {
                Ok(plan) => plan,
                // It may be another server's write that this one has not seen yet.
                Err(status) if looked || self.is_sole => return Err(status),
                Err(status) => {
                    self.reach_head().await?;
                    if self.snapshot().revision() == seen {
                        return Err(status);
                    }
                    looked = true;
                    self.plan(&request, admission).await?
                }
            };
            let Some(mut commit) = plan.commit.take() else { return Ok(plan.into_answer(&[])) };
            commit.fence = fence.cloned();
            match self.commit(commit).await {
                Ok(changes) => return Ok(plan.into_answer(&changes)),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(errors::status_of(&error)),
            }
        }
        Err(Status::conflict(&request.resource, &request.name, berth_api::status::MODIFIED))
    }

    /// Takes in all that other servers have written until now, so that what is read afterwards is not older than this call.
    ///
    /// # Errors
    /// 503 when the store cannot be read.
    pub async fn reach_head(&self) -> Result<(), Status> {
        if self.is_sole {
            return Ok(());
        }
        let stopping = || errors::status_of(&errors::stopping());
        let (answer, answered) = oneshot::channel();
        self.queue.send(Job::Look(answer)).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?.map_err(|why| errors::unread(&why))
    }

    async fn plan(&self, request: &Request, admission: &[Arc<dyn Admission>]) -> Result<Plan, Status> {
        let config = &self.config;
        let state = self.snapshot();
        let catalogue = self.kinds.at(&state);
        let mut env = Env {
            catalogue: &catalogue,
            schema: Schema::builtin(),
            authorizer: config.authorizer.as_ref(),
            admission,
            tokens: config.tokens.as_ref(),
            now: config.executor.now(),
            ids: &mut &*config.ids,
            services: config.services,
            node_ports: &config.node_ports,
        };
        plan(&state, &mut env, request).await
    }

    /// Makes a commit durable and publishes it. Its changes stand in the order of its ops.
    ///
    /// # Errors
    /// A conflict, a lost lease, a full queue or a failing store; nothing was written then.
    pub async fn commit(&self, commit: Commit) -> Result<Vec<Arc<Change>>, CommitError> {
        let mut results = self.commit_each(vec![commit]).await?;
        results.pop().unwrap_or_else(|| Err(errors::stopping()))
    }

    /// Hands commits to the writer, which takes each on its own.
    async fn commit_each(&self, commits: Vec<Commit>) -> Result<Vec<writer::Outcome>, CommitError> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Job::Commits(commits, answer)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => CommitError::Busy,
            mpsc::error::TrySendError::Closed(_) => errors::stopping(),
        })?;
        answered.await.map_err(|_| errors::stopping())
    }

    /// The cluster as it is now, to be looked at for as long as it takes: nobody waits for it, and it does not change.
    pub fn snapshot(&self) -> Arc<State> {
        self.feed.snapshot()
    }

    /// [`Cluster::snapshot`] for a single look.
    pub fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.snapshot())
    }

    /// Whether a request is allowed: for reads, which are not planned.
    ///
    /// # Errors
    /// 403 as the Kubernetes API server words it.
    pub fn authorize(&self, asked: &Attributes<'_>) -> Result<(), Status> {
        self.read(|state| authorizer::check(self.config.authorizer.as_ref(), state, asked))
    }

    /// Whether a path that is none of a resource may be asked for.
    ///
    /// # Errors
    /// 403 as the Kubernetes API server words it.
    pub fn authorize_path(&self, identity: &Identity, verb: &str, path: &str) -> Result<(), Status> {
        authorizer::check_path(self.config.authorizer.as_ref(), identity, verb, path)
    }

    /// Follows the revision of the whole cluster: wakes on every write.
    pub fn revisions(&self) -> watch::Receiver<Revision> {
        self.feed.revisions()
    }

    /// Follows a resource from now on: wakes only for writes that touch the interest, and costs others nothing.
    pub fn subscribe(&self, resource: &str, interest: Interest) -> Subscription {
        self.feed.subscribe(resource, interest)
    }

    /// The kinds that are served now.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.kinds.at(&self.snapshot())
    }

    /// Which kinds are served at which time.
    pub fn kinds(&self) -> &Arc<Kinds> {
        &self.kinds
    }

    /// The cluster's time.
    pub fn now(&self) -> Timestamp {
        self.config.executor.now()
    }

    /// Where what belongs to the cluster runs.
    pub fn executor(&self) -> &Executor {
        &self.config.executor
    }

    /// Whether this is the only server that has the store.
    pub fn is_sole(&self) -> bool {
        self.is_sole
    }

    /// Keeps a blob durably and returns its digest (`sha256:…`).
    ///
    /// # Errors
    /// 413 when it is larger than [`BLOB_BYTES_MAX`], 503 when the store fails.
    pub async fn put_blob(&self, bytes: Bytes) -> Result<String, Status> {
        if bytes.len() > BLOB_BYTES_MAX {
            let message =
                format!("{} bytes are more than the {BLOB_BYTES_MAX} a component may have", bytes.len());
            return Err(Status::new(Reason::RequestEntityTooLarge, message));
        }
        let digest = self.digest(bytes.clone()).await?;
        self.blobs
            .put(&digest, bytes)
            .await
            .map_err(|error| errors::store_failed(&errors::sentence(&error)))?;
        Ok(digest)
    }

    /// The blob of a digest.
    ///
    /// # Errors
    /// 503 when the store fails.
    pub async fn get_blob(&self, digest: &str) -> Result<Option<Bytes>, Status> {
        let blob = self.blobs.get(digest).await;
        let Some(bytes) = blob.map_err(|error| errors::unread(&errors::sentence(&error)))? else {
            return Ok(None);
        };
        if self.digest(bytes.clone()).await? != digest {
            return Err(errors::unread(&format!(
                "what is stored under the digest {digest} does not have it"
            )));
        }
        Ok(Some(bytes))
    }

    async fn digest(&self, bytes: Bytes) -> Result<String, Status> {
        let digest = self.executor().blocking(move || format!("sha256:{:x}", Sha256::digest(&bytes))).await;
        digest.map_err(|panic| Status::internal(panic.to_string()))
    }

    /// Forgets a blob; an absent one is no error.
    ///
    /// # Errors
    /// 503 when the store fails.
    pub async fn delete_blob(&self, digest: &str) -> Result<(), Status> {
        let deleted = self.blobs.delete(digest).await;
        deleted.map_err(|error| errors::store_failed(&errors::sentence(&error)))
    }

    /// Takes no more writes, makes durable what is queued, and closes the store. Reads go on.
    pub async fn shutdown(&self) {
        // A full queue takes no stop either: wait for room instead of refusing.
        let _ = self.queue.send(Job::Stop).await;
        if let Some(closed) = self.closed.lock().await.take()
            && closed.await.is_err()
        {
            tracing::error!("the writer ended badly");
        }
    }
}
