//! Starting a policy beside the one that serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use berth_lifecycle::{StartFailure, Version};
use berth_policy::Component;
use berth_scheduler::OFFERED;
use berth_scheduler::policy::Policy;

use crate::scheduling::{ScheduleHandle, SchedulerStopped};

/// Where a policy is to serve.
pub(super) struct Place {
    pub(super) scheduler: ScheduleHandle,
    pub(super) profile: String,
    pub(super) installation: u64,
    pub(super) is_cancelled: Arc<AtomicBool>,
}

/// Starts, feeds and installs a policy; returns for how many microseconds no decision was made. Everything up to the exchange
/// happens beside the deciding.
pub(super) async fn start(
    place: Place,
    component: Option<Component>,
    version: Version,
) -> Result<u64, StartFailure> {
    let Version { plugin, config, .. } = version;
    let component =
        component.ok_or_else(|| StartFailure::Failed("its component is not loaded".to_owned()))?;
    let policy = blocking(move || {
        component.scheduler(&plugin, config.as_bytes(), OFFERED).map_err(|error| match error.is_final() {
            true => StartFailure::Refused(error.to_string()),
            false => StartFailure::Failed(error.to_string()),
        })
    })
    .await?;
    place.check()?;
    let stopped = |error: SchedulerStopped| StartFailure::Failed(error.to_string());
    let (mirror, feed) = place.scheduler.prepare(policy.manifest().clone()).await.map_err(stopped)?;
    let policy = blocking(move || {
        let mut policy = policy;
        let failed = |error| StartFailure::Failed(format!("fed the cluster's state, {error}"));
        policy.feed(&feed).map_err(failed)?;
        Ok(policy)
    })
    .await?;
    place.check()?;
    let Place { scheduler, profile, installation, .. } = place;
    scheduler.install(&profile, installation, Box::new(policy), mirror).await.map_err(stopped)
}

impl Place {
    /// Whether the policy is still wanted.
    fn check(&self) -> Result<(), StartFailure> {
        if self.is_cancelled.load(Ordering::Relaxed) { Err(StartFailure::Cancelled) } else { Ok(()) }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StartFailure> + Send + 'static,
) -> Result<T, StartFailure> {
    let failed = |panic| StartFailure::Failed(format!("the host failed: {panic}"));
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}
