//! Leadership: what a leader does runs as long as its lease carries the epoch that it won, and again when it wins another one.

use std::sync::Arc;
use std::time::Duration;

use berth_api::{Reason, Status, Timestamp};
use berth_cluster::{Cluster, Interest, Leader};
use berth_control::Writer;
use berth_json::{Value, json};
use berth_state::{Fence, Key, Stored};

/// How long a lease stands without renewal: kube-controller-manager's leader-elect-lease-duration.
const LEASE_SECONDS: i64 = 15;
/// How often it is renewed: often enough that two missed renewals do no harm.
const RENEW_INTERVAL: Duration = Duration::from_secs(5);
/// The pause after the lease could not be written, or what the leader does has ended by itself.
const RETRY: Duration = Duration::from_secs(1);
/// The namespace of leaders' leases.
const NAMESPACE: &str = "kube-system";
const LEASES: &str = "leases.coordination.k8s.io";

/// Who leads: a process, not a cluster or a machine, since one that was started again knows nothing of what it did before.
#[derive(Clone, Debug)]
pub struct Holder(String);

impl Holder {
    /// A process on the machine `name`; `unique` tells it from all others, also from earlier ones there.
    pub fn new(name: &str, unique: &str) -> Self {
        Self(format!("{name}_{unique}"))
    }
}

/// Leads whenever it can: waits for the lease `name`, does `what` while the lease holds, and waits again once it is lost.
/// Never ends by itself.
pub async fn lead<F>(
    cluster: Arc<Cluster>,
    name: &'static str,
    holder: Holder,
    what: impl Fn(Leader) -> F + Send,
) where
    F: Future<Output = ()> + Send,
{
    let candidate = Candidate {
        writer: Writer::new("berth-leader", cluster.catalogue()),
        lease: Key::new(LEASES, NAMESPACE, name),
        cluster: cluster.clone(),
        holder,
    };
    loop {
        let leader = Leader::new(cluster.clone(), candidate.win().await);
        tracing::info!(lease = name, "this server leads");
        tokio::select! {
            biased;
            () = candidate.renew(&leader) => tracing::warn!(lease = name, "another server leads now"),
            () = what(leader.clone()) => {}
        }
        cluster.executor().sleep(RETRY).await;
    }
}

/// One who wants the lease.
struct Candidate {
    cluster: Arc<Cluster>,
    writer: Writer,
    lease: Key,
    holder: Holder,
}

impl Candidate {
    /// Waits until the lease can be had, and takes it.
    async fn win(&self) -> Fence {
        let lease = Interest::Object(self.lease.namespace.clone(), self.lease.name.clone());
        let mut news = self.cluster.subscribe(LEASES, lease);
        loop {
            let present = self.cluster.read(|state| state.get(&self.lease).cloned());
            let held_until = present.as_deref().and_then(|stored| self.held_until(stored));
            if let Some(until) = held_until.filter(|until| *until > self.cluster.now()) {
                tokio::select! {
                    biased;
                    // It was renewed, or deleted.
                    () = news.changed() => {}
                    () = self.cluster.executor().sleep_until(Some(until)) => {}
                }
                continue;
            }
            match self.take(present.as_deref()).await {
                Ok(epoch) => return Fence { lease: self.lease.clone(), epoch },
                // Somebody was faster.
                Err(error) if matches!(error.reason, Reason::Conflict | Reason::AlreadyExists) => {}
                Err(error) => {
                    tracing::warn!(lease = %self.lease, "the lease was not taken: {error}");
                }
            }
            self.cluster.executor().sleep(RETRY).await;
        }
    }

    /// Until when the lease is another's. Where nobody else has the store, whoever held it is gone.
    fn held_until(&self, lease: &Stored) -> Option<Timestamp> {
        if self.cluster.is_sole() {
            return None;
        }
        let spec = &self.writer.value(lease)["spec"];
        let other =
            spec["holderIdentity"].as_str().filter(|other| !other.is_empty() && *other != self.holder.0);
        other?;
        let renewed = spec["renewTime"].as_str().and_then(Timestamp::parse)?;
        Some(renewed.plus_millis(spec["leaseDurationSeconds"].as_i64().unwrap_or(LEASE_SECONDS) * 1000))
    }

    /// Writes the lease with the next epoch; the epoch is what fences those who held it before.
    async fn take(&self, present: Option<&Stored>) -> Result<String, Status> {
        let now = self.cluster.now().rfc3339_micro();
        let mut spec = json!({
            "holderIdentity": self.holder.0.as_str(), "leaseDurationSeconds": LEASE_SECONDS, "acquireTime": now,
            "renewTime": now, "leaseTransitions": 1,
        });
        let request = match present {
            None => {
                let metadata = json!({"name": &*self.lease.name, "namespace": NAMESPACE});
                self.writer.create(LEASES, NAMESPACE, json!({"metadata": metadata, "spec": spec}))
            }
            Some(stored) => {
                let epoch = self.writer.value(stored)["spec"]["leaseTransitions"].as_i64().unwrap_or(0) + 1;
                spec["leaseTransitions"] = epoch.into();
                let metadata = json!({"resourceVersion": stored.revision.to_string()});
                self.writer.merge(&self.lease, "", &json!({"metadata": metadata, "spec": spec}))
            }
        };
        let answer = self.cluster.apply(request).await?;
        Ok(answer.object()["spec"]["leaseTransitions"].to_string())
    }

    /// Renews until the lease is another's.
    async fn renew(&self, leader: &Leader) {
        let renewed = |now: &Value| json!({"spec": {"renewTime": now}});
        loop {
            self.cluster.executor().sleep(RENEW_INTERVAL).await;
            let patch = renewed(&self.cluster.now().rfc3339_micro().into());
            if let Err(error) = leader.apply(self.writer.merge(&self.lease, "", &patch)).await {
                // Without a renewal the leader goes on: until another one has the lease, nobody else writes.
                if !leader.leads() {
                    return;
                }
                tracing::warn!(lease = %self.lease, "the lease was not renewed: {error}");
            }
        }
    }
}
