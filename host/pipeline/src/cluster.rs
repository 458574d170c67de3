//! The shell around [`plan`](crate::plan::plan): makes commits durable, publishes them, wakes who waits for them.

mod bind;
mod each;
mod errors;
mod feed;
mod load;
mod system;
mod writer;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use berth_api::{Catalogue, Reason, Schema, Status, Timestamp};
use berth_state::{Change, Commit, CommitError, Fence, Revision, State, Store, StoreError};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::admission::Admission;
use crate::authorizer;
use crate::identity::{Attributes, Authorizer, Identity};
use crate::ids::RandomIds;
use crate::kinds::Kinds;
use crate::plan::{Env, Plan, plan};
use crate::ranges::{NodePorts, ServiceCidr};
use crate::request::{Answer, Request};
use crate::token::TokenIssuer;
use feed::Feed;
pub use feed::{Interest, Subscription};
use writer::{BlobJob, Job};

/// Jobs that may wait for the writer: about two seconds of work, and what a burst of a few thousand clients makes.
/// Beyond that a client is told to come back.
const QUEUE_JOBS_MAX: usize = 16_384;

/// How often a write that met a conflict is planned anew. Each time somebody else's write went through, so this many
/// in a row mean an object under constant fire.
const PLANS_MAX: usize = 8;

/// The largest blob: a policy plugin in an interpreted language with its runtime is around 30 MiB.
pub const BLOB_BYTES_MAX: usize = 64 << 20;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }
}

/// How a [`Cluster`] is set up.
#[derive(Clone)]
pub struct Config {
    /// The kinds of this build.
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
    /// The Services were made with another range.
    #[error(
        "--service-cidr {services} does not fit the Service {service}, which has the address {address}: a cluster keeps the \
         range that it was made with; give that one"
    )]
    Services {
        /// The range asked for.
        services: ServiceCidr,
        /// A Service that does not fit.
        service: String,
        /// Its address.
        address: Ipv4Addr,
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
    feed: Arc<Feed>,
    config: Config,
    kinds: Arc<Kinds>,
    queue: mpsc::Sender<Job>,
    writer: Mutex<Option<JoinHandle<()>>>,
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
        let writer = tokio::spawn(writer::run(store, feed.clone(), jobs));
        let cluster = Arc::new(Self { feed, config, kinds, queue, writer: Mutex::new(Some(writer)) });
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

    /// [`Cluster::apply`] for a leader: nothing is written once `fence` does not hold any more.
    ///
    /// # Errors
    /// As [`Cluster::apply`]; 409 when the lease is lost.
    pub async fn apply_fenced(&self, request: Request, fence: Option<&Fence>) -> Result<Answer, Status> {
        for _ in 0..PLANS_MAX {
            let mut plan = self.plan(&request).await?;
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

    async fn plan(&self, request: &Request) -> Result<Plan, Status> {
        let config = &self.config;
        let state = self.snapshot();
        let catalogue = self.kinds.at(&state);
        let mut env = Env {
            catalogue: &catalogue,
            schema: Schema::builtin(),
            authorizer: config.authorizer.as_ref(),
            admission: &config.admission,
            tokens: config.tokens.as_ref(),
            now: config.clock.now(),
            ids: &mut RandomIds::default(),
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
        self.enqueue(Job::Commits(commits, answer))?;
        answered.await.map_err(|_| errors::stopping())
    }

    fn enqueue(&self, job: Job) -> Result<(), CommitError> {
        self.queue.try_send(job).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => CommitError::Busy,
            mpsc::error::TrySendError::Closed(_) => errors::stopping(),
        })
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
        self.config.clock.now()
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
        let digest = format!("sha256:{:x}", Sha256::digest(&bytes));
        let name = digest.clone();
        self.blob(|answer| BlobJob::Put { digest, bytes, answer }).await.map(|()| name)
    }

    /// The blob of a digest.
    ///
    /// # Errors
    /// 503 when the store fails.
    pub async fn get_blob(&self, digest: &str) -> Result<Option<Bytes>, Status> {
        let digest = digest.to_owned();
        self.blob(|answer| BlobJob::Get { digest, answer }).await
    }

    /// Forgets a blob; an absent one is no error.
    ///
    /// # Errors
    /// 503 when the store fails.
    pub async fn delete_blob(&self, digest: &str) -> Result<(), Status> {
        let digest = digest.to_owned();
        self.blob(|answer| BlobJob::Delete { digest, answer }).await
    }

    async fn blob<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> BlobJob,
    ) -> Result<T, Status> {
        let (answer, answered) = oneshot::channel();
        self.enqueue(Job::Blob(job(answer))).map_err(|error| errors::status_of(&error))?;
        let stopped = |_| errors::status_of(&errors::stopping());
        answered.await.map_err(stopped)?.map_err(|error| errors::store_failed(&errors::sentence(&error)))
    }

    /// Takes no more writes, makes durable what is queued, and closes the store. Reads go on.
    pub async fn shutdown(&self) {
        // A full queue takes no stop either: wait for room instead of refusing.
        let _ = self.queue.send(Job::Stop).await;
        if let Some(writer) = self.writer.lock().await.take()
            && let Err(error) = writer.await
        {
            tracing::error!(%error, "the writer ended badly");
        }
    }
}
