//! Leadership: controllers and scheduler write only as long as their lease carries the epoch they won.

use std::sync::Arc;
use std::time::Duration;

use berth_api::{Reason, Status, Timestamp};
use berth_control::Writer;
use berth_json::{Value, json};
use berth_pipeline::Cluster;
use berth_state::{Fence, Key, Stored};

use crate::control::until;

/// How long a lease stands without renewal: kube-controller-manager's leader-elect-lease-duration.
const LEASE_SECONDS: i64 = 15;
/// How often it is renewed: often enough that two missed renewals do no harm.
const RENEW_INTERVAL: Duration = Duration::from_secs(5);
/// The namespace of leaders' leases.
const NAMESPACE: &str = "kube-system";

/// Takes the lease `name` for `holder`, waiting for another holder's to run out, and keeps renewing it.
///
/// A holder that comes back under its own name need not wait: it is the same server, started again.
///
/// # Errors
/// When the lease cannot be written.
pub async fn take_lead(cluster: &Arc<Cluster>, name: &'static str, holder: &str) -> Result<Fence, Status> {
    let writer = Writer::new("berth-leader", cluster.catalogue());
    let lease = Key::new("leases.coordination.k8s.io", NAMESPACE, name);
    loop {
        let present = cluster.read(|state| state.get(&lease).cloned());
        let held_until = present.as_deref().and_then(|stored| held_by_another(&writer.value(stored), holder));
        if let Some(at) = held_until.filter(|at| *at > cluster.now()) {
            until(Some(at), cluster.now()).await;
            continue;
        }
        match take(cluster, &writer, &lease, present.as_deref(), holder).await {
            Ok(epoch) => {
                tokio::spawn(renew(cluster.clone(), writer, lease.clone(), epoch.clone()));
                return Ok(Fence { lease, epoch });
            }
            Err(error) if matches!(error.reason, Reason::Conflict | Reason::AlreadyExists) => {} // somebody was faster
            Err(error) => return Err(error),
        }
    }
}

/// Until when the lease is another holder's.
fn held_by_another(lease: &Value, holder: &str) -> Option<Timestamp> {
    let spec = &lease["spec"];
    let other = spec["holderIdentity"].as_str().filter(|other| !other.is_empty() && *other != holder);
    other?;
    let renewed = spec["renewTime"].as_str().and_then(Timestamp::parse)?;
    Some(renewed.plus_millis(spec["leaseDurationSeconds"].as_i64().unwrap_or(LEASE_SECONDS) * 1000))
}

/// Writes the lease with the next epoch; the epoch is what fences those who held it before.
async fn take(
    cluster: &Cluster,
    writer: &Writer,
    lease: &Key,
    present: Option<&Stored>,
    holder: &str,
) -> Result<String, Status> {
    let now = cluster.now().rfc3339_micro();
    let mut spec = json!({
        "holderIdentity": holder, "leaseDurationSeconds": LEASE_SECONDS, "acquireTime": now, "renewTime": now,
        "leaseTransitions": 1,
    });
    let request = match present {
        None => {
            let object = json!({"metadata": {"name": &*lease.name, "namespace": NAMESPACE}, "spec": spec});
            writer.create("leases.coordination.k8s.io", NAMESPACE, object)
        }
        Some(stored) => {
            let epoch = writer.value(stored)["spec"]["leaseTransitions"].as_i64().unwrap_or(0) + 1;
            spec["leaseTransitions"] = epoch.into();
            let revision = stored.revision.to_string();
            writer.merge(lease, "", &json!({"metadata": {"resourceVersion": revision}, "spec": spec}))
        }
    };
    let answer = cluster.apply(request).await?;
    Ok(answer.object()["spec"]["leaseTransitions"].to_string())
}

/// Renews until the lease is another's; its own commits are refused from then on.
async fn renew(cluster: Arc<Cluster>, writer: Writer, lease: Key, epoch: String) {
    let fence = Fence { lease: lease.clone(), epoch };
    loop {
        tokio::time::sleep(RENEW_INTERVAL).await;
        let patch = json!({"spec": {"renewTime": cluster.now().rfc3339_micro()}});
        match cluster.apply_fenced(writer.merge(&lease, "", &patch), Some(&fence)).await {
            Ok(_) => {}
            Err(error) if error.reason == Reason::Conflict => {
                tracing::error!(%lease, "another server leads now: {error}");
                return;
            }
            Err(error) => tracing::warn!(%lease, "the lease was not renewed: {error}"),
        }
    }
}
