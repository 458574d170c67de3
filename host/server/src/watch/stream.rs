//! One watcher's place in the change feed.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use berth_api::{Reason, Status};
use berth_cluster::{Expired, Interest, Subscription};
use berth_pipeline::kinds::DEFINITIONS;
use berth_state::{Key, Revision, Stored};
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Begin;
use super::events::Encoder;
use crate::list::{Selection, interest_of, select};
use crate::rest::Target;
use crate::server::Inner;

/// How many bytes of events are encoded ahead of a client that reads slowly: with this, a watcher holds no more memory
/// than a request, and what it misses in the meantime waits in the shared history until it is too old (410).
const CHUNK_BYTES: usize = 64 * 1024;
/// How many changes are taken out of the history at a time.
const BATCH_CHANGES: usize = 256;
/// How often a client that wants bookmarks gets one.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

/// A running watch; the body of its answer is read from [`Watching::next`].
pub(super) struct Watching {
    server: Arc<Inner>,
    target: Target,
    selection: Selection,
    encoder: Encoder,
    begin: Begin,
    phase: Phase,
    /// Everything up to here has been sent.
    after: Revision,
    followed: Subscription,
    /// Of a custom kind: what defines it.
    definition: Option<Subscription>,
    stopping: watch::Receiver<bool>,
    ends: Instant,
    bookmark_due: Instant,
}

enum Phase {
    /// Until the cluster has reached the revision that the client knows already.
    Waiting,
    /// What was there at the beginning.
    Initial(std::vec::IntoIter<Arc<Stored>>),
    /// Every change.
    Following,
    Ended,
}

impl Watching {
    pub(super) fn new(
        server: Arc<Inner>,
        target: Target,
        selection: Selection,
        encoder: Encoder,
        begin: Begin,
        timeout: Duration,
    ) -> Self {
        // Before the state is looked at, so that no write falls in between.
        let interest = interest_of(&target.resource, &target.path.namespace, &selection);
        let followed = server.cluster.subscribe(&target.resource.id, interest);
        let definition = target.resource.is_custom.then(|| {
            let interest = Interest::Object("".into(), target.resource.id.clone());
            server.cluster.subscribe(DEFINITIONS, interest)
        });
        let now = Instant::now();
        server.metrics.watch(1);
        Self {
            after: begin.after.unwrap_or_default(),
            stopping: server.health.subscribe(),
            server,
            target,
            selection,
            encoder,
            begin,
            phase: Phase::Waiting,
            followed,
            definition,
            ends: now + timeout,
            bookmark_due: now + BOOKMARK_INTERVAL,
        }
    }

    /// The next bytes; `None` when the watch is over.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        let mut out = Vec::new();
        loop {
            if *self.stopping.borrow() {
                return None;
            }
            match &mut self.phase {
                Phase::Ended => return None,
                Phase::Waiting => {
                    if !self.wait_for_revision().await {
                        return None;
                    }
                    self.start();
                }
                Phase::Initial(objects) => {
                    let now = self.server.cluster.now();
                    for object in objects.by_ref() {
                        self.encoder.initial(&mut out, &object, now);
                        if out.len() >= CHUNK_BYTES {
                            return Some(out.into());
                        }
                    }
                    if self.begin.marked {
                        self.encoder.bookmark(&mut out, self.after, true, now);
                    }
                    self.phase = Phase::Following;
                    if !out.is_empty() {
                        return Some(out.into());
                    }
                }
                Phase::Following => {
                    self.take_changes(&mut out);
                    if out.is_empty() && !self.sleep(&mut out).await {
                        return None;
                    }
                    if !out.is_empty() {
                        return Some(out.into());
                    }
                }
            }
        }
    }

    /// Whether the cluster has reached the revision before the watch's time is over.
    async fn wait_for_revision(&self) -> bool {
        let mut revision = self.server.cluster.revisions();
        if self.server.cluster.read(|state| state.revision()) >= self.after {
            return true;
        }
        let reached = revision.wait_for(|revision| *revision >= self.after);
        matches!(tokio::time::timeout_at(self.ends, reached).await, Ok(Ok(_)))
    }

    fn start(&mut self) {
        let initial = self.begin.initial;
        let (current, objects) = self.server.cluster.read(|state| {
            let objects = if initial { select(state, &self.target, &self.selection) } else { vec![] };
            (state.revision(), objects)
        });
        if initial || self.begin.after.is_none() {
            self.after = current;
        }
        self.followed.seek(self.after);
        self.phase = Phase::Initial(objects.into_iter());
    }

    /// Encodes the changes that are there, up to a chunk.
    fn take_changes(&mut self, out: &mut Vec<u8>) {
        let now = self.server.cluster.now();
        while out.len() < CHUNK_BYTES {
            let namespace = self.target.path.namespace.as_str();
            match self.followed.take(BATCH_CHANGES) {
                Err(expired) => {
                    self.encoder.error(out, &too_old(expired));
                    self.phase = Phase::Ended;
                    return;
                }
                Ok(taken) => {
                    self.after = self.after.max(taken.upto);
                    let in_place = |key: &Key| namespace.is_empty() || *key.namespace == *namespace;
                    for change in taken.changes.iter().filter(|change| in_place(&change.key)) {
                        self.encoder.change(out, change, &self.selection, now);
                    }
                    if taken.changes.len() < BATCH_CHANGES {
                        return;
                    }
                }
            }
        }
    }

    /// Waits until there may be something to send; `false` when the watch is over.
    async fn sleep(&mut self, out: &mut Vec<u8>) -> bool {
        let until = if self.begin.bookmarks { self.ends.min(self.bookmark_due) } else { self.ends };
        let is_redefined = tokio::select! {
            () = self.followed.changed() => return true,
            _ = self.stopping.wait_for(|stopping| *stopping) => return false,
            () = redefined(&self.server, &self.target, &mut self.definition) => true,
            () = tokio::time::sleep_until(until) => false,
        };
        if is_redefined {
            self.take_changes(out);
            self.phase = Phase::Ended;
            return true;
        }
        let now = Instant::now();
        if self.begin.bookmarks && now >= self.bookmark_due {
            self.bookmark_due = now + BOOKMARK_INTERVAL;
            // A quiet resource's watcher moves on with the cluster.
            self.take_changes(out);
            self.encoder.bookmark(out, self.after, false, self.server.cluster.now());
        }
        now < self.ends
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.server.metrics.watch(-1);
    }
}

/// Waits until the kind is served no more, or otherwise than when the watch began: clients look at it anew then.
async fn redefined(server: &Inner, target: &Target, definition: &mut Option<Subscription>) {
    let Some(definition) = definition else { return pending().await };
    loop {
        let resource = &target.resource;
        let catalogue = server.cluster.catalogue();
        let served = catalogue.at(&resource.group, &resource.version, &resource.plural);
        if served.is_none_or(|served| !Arc::ptr_eq(served, resource)) {
            return;
        }
        definition.changed().await;
    }
}

fn too_old(expired: Expired) -> Status {
    let Expired { after, oldest } = expired;
    Status::new(Reason::Expired, format!("too old resource version: {after} ({oldest})"))
}
