//! A collection followed for ever: list, watch, resume, list again.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::watch::resource_version;
use crate::{ApiResource, Client, ClientError, Event, ListOptions};

/// Events that wait for a slow reader; the watch is read no further then, and the server decides when to cut it.
const EVENTS_WAITING_MAX: usize = 256;
/// How long one watch lasts before it is resumed, so that a dead connection is noticed in the end.
const WATCH_TIMEOUT: Duration = Duration::from_secs(290);
/// The first and the longest pause after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// What a follower learns.
#[derive(Clone, Debug, PartialEq)]
pub enum Followed {
    /// The whole collection as it is now: objects seen before that are not in it are gone.
    Replaced(Vec<Value>),
    /// An object is new or changed.
    Applied(Value),
    /// An object is gone; as it was last seen.
    Deleted(Value),
}

/// Follows a collection in a task of its own until it is dropped.
pub struct Follow {
    events: mpsc::Receiver<Followed>,
    task: JoinHandle<()>,
}

impl Follow {
    pub(crate) fn start(
        client: Client,
        resource: ApiResource,
        namespace: String,
        options: ListOptions,
    ) -> Self {
        let (sender, events) = mpsc::channel(EVENTS_WAITING_MAX);
        let follower = Follower { client, resource, namespace, options, events: sender };
        Self { events, task: tokio::spawn(follower.run()) }
    }

    /// The next thing learnt; the first is always [`Followed::Replaced`]. Failures are retried, not shown.
    ///
    /// May be dropped and called again without losing anything.
    pub async fn next(&mut self) -> Followed {
        match self.events.recv().await {
            Some(event) => event,
            // The task ends only with the runtime.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Follower {
    client: Client,
    resource: ApiResource,
    namespace: String,
    options: ListOptions,
    events: mpsc::Sender<Followed>,
}

/// Why following stopped for the moment.
enum Stop {
    Failed(ClientError),
    /// Nobody reads any more.
    Unread,
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        Self::Failed(error)
    }
}

impl Follower {
    async fn run(self) {
        let mut pause = BACKOFF.0;
        let mut revision = None;
        loop {
            let before = revision.clone();
            match self.round(&mut revision).await {
                Err(Stop::Unread) => return,
                Ok(()) => {
                    pause = BACKOFF.0;
                    if revision == before {
                        tokio::time::sleep(pause).await; // a server that ends every watch at once
                    }
                }
                Err(Stop::Failed(error)) => {
                    if error.is_expired() {
                        revision = None;
                    }
                    tracing::debug!(resource = self.resource.plural, %error, "watching failed, trying again");
                    // What came since the last failure shows that the server is well.
                    pause = if revision != before { BACKOFF.0 } else { BACKOFF.1.min(pause * 2) };
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Lists when there is no revision to go on from, and watches until the server ends the watch.
    async fn round(&self, revision: &mut Option<String>) -> Result<(), Stop> {
        let from = match revision {
            Some(known) => known,
            None => {
                let list = self.client.list(self.resource, &self.namespace, &self.options).await?;
                self.tell(Followed::Replaced(list.items)).await?;
                revision.insert(list.resource_version)
            }
        };
        let (resource, namespace) = (self.resource, &self.namespace);
        let mut watch = self.client.watch(resource, namespace, &self.options, from, WATCH_TIMEOUT).await?;
        while let Some(event) = watch.next().await? {
            let (seen, told) = match event {
                Event::Added(object) | Event::Modified(object) => {
                    (resource_version(&object), Some(Followed::Applied(object)))
                }
                Event::Deleted(object) => (resource_version(&object), Some(Followed::Deleted(object))),
                Event::Bookmark { resource_version } => (resource_version, None),
            };
            if let Some(told) = told {
                self.tell(told).await?;
            }
            *revision = Some(seen);
        }
        Ok(())
    }

    async fn tell(&self, event: Followed) -> Result<(), Stop> {
        self.events.send(event).await.map_err(|_| Stop::Unread)
    }
}
