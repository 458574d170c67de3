//! Following the change feed into a replica of the state.

use std::sync::Arc;

use berth_pipeline::cluster::Cluster;
use berth_state::{Change, Revision, State};
use tokio::sync::watch;

/// Changes taken from the cluster at once: few enough that its state is locked only for a moment.
const CHANGES_AT_ONCE_MAX: usize = 4_096;

/// A place in the change feed.
pub struct Follower {
    cluster: Arc<Cluster>,
    wake: watch::Receiver<Revision>,
    after: Revision,
}

/// What [`Follower::catch_up`] brought.
pub enum News {
    /// What changed since the last call; empty when nothing did.
    Changes(Vec<Arc<Change>>),
    /// This follower fell so far behind that it must begin anew with this state.
    State(Box<State>),
}

impl Follower {
    /// Follows from now on; returns the state to begin with.
    pub fn new(cluster: Arc<Cluster>) -> (Self, State) {
        let wake = cluster.subscribe();
        let state = cluster.read(State::replica);
        (Self { cluster, wake, after: state.revision() }, state)
    }

    /// The changes since the last call.
    pub fn catch_up(&mut self) -> News {
        let mut all = Vec::new();
        loop {
            match self.cluster.changes_after(self.after, CHANGES_AT_ONCE_MAX, |_| true) {
                Ok(batch) => {
                    let last = batch.changes.len() < CHANGES_AT_ONCE_MAX;
                    self.after = batch.upto;
                    all.extend(batch.changes);
                    if last {
                        return News::Changes(all);
                    }
                }
                Err(expired) => {
                    tracing::warn!(
                        after = self.after.0,
                        "fell behind the change feed, beginning anew: {expired}"
                    );
                    let state = self.cluster.read(State::replica);
                    self.after = state.revision();
                    return News::State(Box::new(state));
                }
            }
        }
    }

    /// Waits until there may be news. Returns `false` when the cluster is shut down.
    pub async fn changed(&mut self) -> bool {
        self.wake.changed().await.is_ok()
    }
}
