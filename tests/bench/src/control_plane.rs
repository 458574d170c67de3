//! A cluster in this process, without HTTP: the pipeline on a SQLite file, and a scheduler when asked for.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use berth_api::{Status, kinds};
use berth_cluster::{Cluster, Config};
use berth_control::Writer;
use berth_json::{Value, json};
use berth_loops::{FailureReports, Follower, Holder, ScheduleHandle, lead, start_scheduler};
use berth_pipeline::{Body, Request};
use berth_state::Change;
use berth_store::SqliteStore;
use tempfile::TempDir;

use crate::load;

/// Writes under way together, as 64 clients would have them.
const TOGETHER: usize = 64;
/// For all pods to be bound; a hundred times what it should take.
const BOUND_DEADLINE: Duration = Duration::from_secs(60);

/// A cluster's state and its one way of writing, on a disk of its own.
pub(crate) struct ControlPlane {
    /// The cluster.
    pub(crate) cluster: Arc<Cluster>,
    writer: Writer,
    _directory: TempDir,
}

/// When bindings were seen to be durable.
pub(crate) struct Bound {
    /// One entry for each wake-up that found new ones: when, and how many so far.
    pub(crate) seen: Vec<(Instant, usize)>,
}

impl ControlPlane {
    /// A cluster with [`load::NODES`] nodes, on a fresh SQLite file below `work`.
    pub(crate) async fn start(work: &Path) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("store-").tempdir_in(work)?;
        let store = SqliteStore::open(&directory.path().join("berth.db").to_string_lossy()).await?;
        let catalogue = Arc::new(kinds::catalogue());
        let cluster = Cluster::start(store, Config::new(catalogue.clone())).await?;
        let plane = Self { cluster, writer: Writer::new("berth-bench", catalogue), _directory: directory };
        // Pods need the account that a controller would make.
        let account =
            plane.writer.create("serviceaccounts", "default", json!({"metadata": {"name": "default"}}));
        plane.cluster.apply(account).await?;
        plane.post(load::nodes().map(|node| plane.writer.create("nodes", "", node)).collect()).await?;
        Ok(plane)
    }

    /// Starts the scheduler as `berth up` does; the reports are of policies that failed.
    pub(crate) async fn schedule(&self) -> anyhow::Result<(ScheduleHandle, FailureReports)> {
        let failures = FailureReports::default();
        let (give, mut given) = tokio::sync::mpsc::channel(1);
        let reports = failures.clone();
        tokio::spawn(lead(
            self.cluster.clone(),
            "berth-scheduler",
            Holder::new("bench", "1"),
            move |leader| {
                let started = start_scheduler(leader, 1, vec![], reports.clone());
                let give = give.clone();
                async move {
                    // Whoever asked waits for the first one.
                    let _ = give.send(started).await;
                    std::future::pending().await
                }
            },
        ));
        Ok((given.recv().await.context("the scheduler was not started")??, failures))
    }

    /// Pods as requests whose bodies are still to be decoded, as they come over HTTP.
    pub(crate) fn creates(&self, pods: impl Iterator<Item = Value>) -> Vec<Request> {
        pods.map(|pod| {
            let bytes = pod.to_string().into();
            let body = Body::Encoded { media_type: "application/json".to_owned(), bytes };
            Request { body, ..self.writer.create("pods", "default", pod) }
        })
        .collect()
    }

    /// Does all the writes, [`TOGETHER`] at a time; each is acknowledged when it is durable.
    pub(crate) async fn post(&self, requests: Vec<Request>) -> anyhow::Result<()> {
        let mut shares: Vec<Vec<Request>> = (0..TOGETHER).map(|_| Vec::new()).collect();
        for (at, request) in requests.into_iter().enumerate() {
            shares[at % TOGETHER].push(request);
        }
        let mut clients = tokio::task::JoinSet::new();
        for share in shares {
            let cluster = self.cluster.clone();
            clients.spawn(async move {
                for request in share {
                    cluster.apply(request).await?;
                }
                Ok::<(), Status>(())
            });
        }
        while let Some(done) = clients.join_next().await {
            done??;
        }
        Ok(())
    }

    /// Starts watching for bindings; the task ends when `count` pods have a node.
    pub(crate) fn watch_bound(&self, count: usize) -> tokio::task::JoinHandle<anyhow::Result<Bound>> {
        let (mut follower, _) = Follower::new(self.cluster.clone());
        tokio::spawn(async move {
            let (mut bound, mut seen) = (0, Vec::new());
            let following = async {
                while bound < count {
                    let Some(changes) = follower.catch_up().changes else {
                        bail!("fell behind the change feed")
                    };
                    let new = changes.iter().filter(|change| binds(change)).count();
                    if new > 0 {
                        bound += new;
                        seen.push((Instant::now(), bound));
                    } else if !follower.changed().await {
                        bail!("the cluster stopped");
                    }
                }
                Ok(())
            };
            match tokio::time::timeout(BOUND_DEADLINE, following).await {
                Ok(outcome) => outcome.map(|()| Bound { seen }),
                Err(_) => bail!("{bound} of {count} pods were bound within {BOUND_DEADLINE:?}"),
            }
        })
    }

    /// Closes the store.
    pub(crate) async fn stop(self) {
        self.cluster.shutdown().await;
    }
}

impl Bound {
    /// When the last binding was durable.
    pub(crate) fn last(&self) -> anyhow::Result<Instant> {
        self.seen.last().map(|(at, _)| *at).context("nothing was bound")
    }
}

/// Whether a change gives a pod its node.
fn binds(change: &Change) -> bool {
    let node = |stored: &Option<_>| -> bool {
        stored
            .as_ref()
            .and_then(|stored: &Arc<berth_state::Stored>| stored.field("spec.nodeName"))
            .is_some_and(|node| !node.is_empty())
    };
    &*change.key.resource == "pods" && node(&change.new) && !node(&change.old)
}
