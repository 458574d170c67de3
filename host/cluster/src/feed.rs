//! The change feed: who waits for what, and what they find when they come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use berth_api::ResourceName;
use berth_state::{Change, Revision, State};
use tokio::sync::watch;

use crate::{Changes, Expired};

/// Wakes those who follow the cluster. Nobody is waited for: a follower that is slow finds more when it comes, and one
/// that is too slow finds [`Expired`].
#[derive(Debug)]
pub(crate) struct Feed {
    all: watch::Sender<Revision>,
    by_resource: Mutex<BTreeMap<ResourceName, watch::Sender<Revision>>>,
}

impl Feed {
    pub(crate) fn starting_at(revision: Revision) -> Self {
        Self { all: watch::Sender::new(revision), by_resource: Mutex::default() }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Revision> {
        self.all.subscribe()
    }

    pub(crate) fn subscribe_to(&self, resource: &str) -> watch::Receiver<Revision> {
        let mut senders = self.by_resource.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = senders.get(resource) {
            return sender.subscribe();
        }
        let sender = watch::Sender::new(*self.all.borrow());
        let receiver = sender.subscribe();
        senders.insert(resource.into(), sender);
        receiver
    }

    /// Tells the followers of every touched resource how far the state is now.
    pub(crate) fn wake(&self, changes: &[Arc<Change>]) {
        let Some(last) = changes.last() else { return };
        let touched: BTreeSet<&ResourceName> = changes.iter().map(|change| &change.key.resource).collect();
        let senders = self.by_resource.lock().unwrap_or_else(PoisonError::into_inner);
        for sender in touched.into_iter().filter_map(|resource| senders.get(resource)) {
            sender.send_replace(last.revision);
        }
        drop(senders);
        self.all.send_replace(last.revision);
    }
}

impl Feed {
    /// Tells everybody that everything may have changed.
    pub(crate) fn wake_all(&self, revision: Revision) {
        let senders = self.by_resource.lock().unwrap_or_else(PoisonError::into_inner);
        for sender in senders.values() {
            sender.send_replace(revision);
        }
        drop(senders);
        self.all.send_replace(revision);
    }
}

/// Reads the history of a resource on.
pub(crate) fn changes_of(
    state: &State,
    resource: &str,
    after: Revision,
    limit: usize,
    wanted: impl Fn(&Change) -> bool,
) -> Result<Changes, Expired> {
    let oldest = state.complete_after_of(resource);
    let all = state.changes_of(resource, after).ok_or(Expired { after, oldest })?;
    let changes: Vec<_> = all.filter(|change| wanted(change)).take(limit).cloned().collect();
    let upto = match changes.last() {
        Some(last) if changes.len() == limit => last.revision,
        _ => state.revision().max(after),
    };
    Ok(Changes { changes, upto })
}
