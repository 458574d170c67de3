//! Writing as the leader.

use std::ops::Deref;
use std::sync::Arc;

use berth_api::Status;
use berth_pipeline::{Answer, Binding, Request};
use berth_state::{Fence, Revision};

use crate::{Atomicity, Cluster};

/// The cluster in the hands of one who won a lease: whatever is written through it is written only while the lease carries the
/// epoch that was won, whatever the writer believes. Cheap to clone.
#[derive(Clone)]
pub struct Leader {
    cluster: Arc<Cluster>,
    fence: Arc<Fence>,
}

/// For reading.
impl Deref for Leader {
    type Target = Arc<Cluster>;

    fn deref(&self) -> &Arc<Cluster> {
        &self.cluster
    }
}

impl Leader {
    /// The leader of what `fence` is about.
    pub fn new(cluster: Arc<Cluster>, fence: Fence) -> Self {
        Self { cluster, fence: Arc::new(fence) }
    }

    /// Whether the lease is still the leader's, as far as this server knows.
    pub fn leads(&self) -> bool {
        self.cluster.read(|state| self.fence.holds(state.get(&self.fence.lease).map(Arc::as_ref)))
    }

    /// Does one write, as [`Cluster::apply`] does.
    ///
    /// # Errors
    /// As there; 409 when the lease is lost.
    pub async fn apply(&self, request: Request) -> Result<Answer, Status> {
        self.cluster.apply_fenced(request, Some(&self.fence)).await
    }

    /// Does writes of different objects, as [`Cluster::apply_each`] does.
    pub async fn apply_each(&self, requests: Vec<Request>) -> Vec<Result<Answer, Status>> {
        self.cluster.apply_each_fenced(requests, Some(&self.fence)).await
    }

    /// Binds pods in one batch, as [`Cluster::commit_bindings`] does.
    ///
    /// # Errors
    /// In an element: as there.
    pub async fn commit_bindings(
        &self,
        bindings: Vec<Binding>,
        atomicity: Atomicity,
    ) -> Vec<Result<Revision, Status>> {
        self.cluster.bind_fenced(bindings, atomicity, Some(&self.fence)).await
    }
}
