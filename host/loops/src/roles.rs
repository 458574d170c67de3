//! The kinds of policy, and how one comes to serve a place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use berth_lifecycle::{Component, Place, StartFailure, Started, Version};
use berth_scheduler::Failover;
use berth_scheduler::policy::Policy;
use berth_tasks::Executor;
use futures_util::future::BoxFuture;

use crate::calls::{Counted, Counter, PolicyCalls};
use crate::scheduling::{ScheduleHandle, SchedulerStopped};

/// A policy that is to be started.
pub struct Start {
    /// Where it is to serve.
    pub place: Place,
    /// The number under which its failures are reported.
    pub installation: u64,
    /// What is to serve.
    pub version: Version,
    /// What runs.
    pub component: Arc<dyn Component>,
    pub(crate) is_cancelled: Arc<AtomicBool>,
    pub(crate) calls: PolicyCalls,
}

impl Start {
    /// Counts calls as those of the place.
    pub(crate) fn counter(&self, executor: &Executor) -> Counter {
        let (calls, plugin) = (self.calls.clone(), self.version.plugin.clone());
        Counter::new(calls, executor.clone(), self.place.clone(), plugin)
    }

    /// A policy whose calls are counted as those of the place.
    pub(crate) fn counted<P>(&self, policy: P, executor: &Executor) -> Counted<P> {
        Counted::new(policy, self.counter(executor))
    }

    /// Whether the policy is still wanted: to be asked between the steps of a start.
    ///
    /// # Errors
    /// [`StartFailure::Cancelled`] when it is not.
    pub fn check(&self) -> Result<(), StartFailure> {
        if self.is_cancelled.load(Ordering::Relaxed) { Err(StartFailure::Cancelled) } else { Ok(()) }
    }
}

/// One kind of policy: how a component of it is started and comes to serve a place while the one before it serves, and how it
/// goes. When, and what becomes of failures, is decided by the plugin manager, the same for all.
pub trait Role: Send + Sync {
    /// Starts a policy and exchanges it for what serves the place.
    fn start(&self, start: Start) -> BoxFuture<'static, Result<Started, StartFailure>>;

    /// Leaves a place to its failover, if it still has the policy of that installation.
    fn uninstall<'a>(&'a self, place: &'a Place, installation: u64) -> BoxFuture<'a, ()>;

    /// Says what serves a place without a working policy.
    fn set_failover<'a>(&'a self, place: &'a Place, failover: Failover) -> BoxFuture<'a, ()>;
}

/// Scheduling policies: each is fed the cluster's state before it decides.
pub struct SchedulerRole {
    scheduler: ScheduleHandle,
    executor: Executor,
}

impl SchedulerRole {
    /// Policies of this scheduler.
    pub fn new(scheduler: ScheduleHandle, executor: Executor) -> Self {
        Self { scheduler, executor }
    }
}

impl Role for SchedulerRole {
    fn start(&self, start: Start) -> BoxFuture<'static, Result<Started, StartFailure>> {
        Box::pin(start_policy(self.scheduler.clone(), self.executor.clone(), start))
    }

    // An error of these means that the scheduler is gone, and its profiles with it.
    fn uninstall<'a>(&'a self, place: &'a Place, installation: u64) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let _ = self.scheduler.uninstall(&place.name, installation).await;
        })
    }

    fn set_failover<'a>(&'a self, place: &'a Place, failover: Failover) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let _ = self.scheduler.set_failover(&place.name, failover).await;
        })
    }
}

/// Everything up to the exchange happens beside the deciding.
async fn start_policy(
    scheduler: ScheduleHandle,
    executor: Executor,
    start: Start,
) -> Result<Started, StartFailure> {
    let failed = |error: &dyn std::fmt::Display| StartFailure::Failed(error.to_string());
    let stopped = |error: SchedulerStopped| failed(&error);
    let (component, plugin) = (start.component.clone(), start.version.plugin.clone());
    let config = start.version.config.clone();
    let policy = executor.blocking(move || component.scheduler(&plugin, &config)).await;
    let policy = policy.map_err(|panic| failed(&panic))??;
    let mut policy: Box<dyn Policy> = Box::new(start.counted(policy, &executor));
    start.check()?;
    let (mirror, feed) = scheduler.prepare(policy.manifest().clone()).await.map_err(stopped)?;
    let fed = executor.blocking(move || match policy.feed(&feed) {
        Ok(()) => Ok(policy),
        Err(error) => Err(StartFailure::Failed(format!("fed the cluster's state, {error}"))),
    });
    let policy = fed.await.map_err(|panic| failed(&panic))??;
    start.check()?;
    let manifest = policy.manifest().to_value();
    let gap = scheduler.install(&start.place.name, start.installation, policy, mirror).await;
    gap.map(|gap_us| Started { gap_us, manifest }).map_err(stopped)
}
