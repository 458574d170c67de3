//! Following the change feed.

use std::sync::Arc;

use berth_cluster::Cluster;
use berth_state::{Change, Revision, State};
use tokio::sync::watch;

/// A place in the change feed.
pub struct Follower {
    cluster: Arc<Cluster>,
    wake: watch::Receiver<Revision>,
    after: Revision,
}

/// What [`Follower::catch_up`] brought: the present state, and how it came to be.
pub struct News {
    /// The cluster as it is now.
    pub state: Arc<State>,
    /// What changed since the last call; `None` when this follower fell so far behind that it must begin anew.
    pub changes: Option<Vec<Arc<Change>>>,
}

impl Follower {
    /// Follows from now on; returns the state to begin with.
    pub fn new(cluster: Arc<Cluster>) -> (Self, Arc<State>) {
        let wake = cluster.revisions();
        let state = cluster.snapshot();
        (Self { cluster, wake, after: state.revision() }, state)
    }

    /// What happened since the last call.
    pub fn catch_up(&mut self) -> News {
        let state = self.cluster.snapshot();
        let after = std::mem::replace(&mut self.after, state.revision());
        let changes = state.changes_after(after).map(|all| all.into_iter().cloned().collect());
        if changes.is_none() {
            let oldest = state.complete_after();
            tracing::warn!(%after, %oldest, "fell behind the change feed, beginning anew");
        }
        News { state, changes }
    }

    /// Waits until there may be news. Returns `false` when the cluster is shut down.
    pub async fn changed(&mut self) -> bool {
        self.wake.changed().await.is_ok()
    }
}
