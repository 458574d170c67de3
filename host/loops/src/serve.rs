//! All that a server does while it leads.

use std::sync::Arc;

use berth_cluster::{Cluster, Leader};
use berth_control::Config;
use berth_lifecycle::{Loader, RoleName};
use berth_metrics::Usage;

use crate::autoscaling::{AutoscalerRole, Autoscaling, Recommenders, run_autoscaling};
use crate::calls::PolicyCalls;
use crate::control::run_controllers;
use crate::failures::FailureReports;
use crate::lead::{Holder, lead};
use crate::plugins::{PluginConfig, first_failovers, run_plugins};
use crate::reviewing::{AdmissionRole, Reviews};
use crate::roles::{Role, SchedulerRole};
use crate::scheduling::start_scheduler;

/// What a server leads with.
#[derive(Clone)]
pub struct Leading {
    /// The server's process.
    pub holder: Holder,
    /// What controllers must know.
    pub control: Config,
    /// Makes the components of plugins.
    pub loader: Arc<dyn Loader>,
    /// Where admission policies serve: what the cluster has as its admission.
    pub reviews: Reviews,
    /// What pods use, by which they are scaled.
    pub usage: Usage,
    /// What the calls of policies cost.
    pub calls: PolicyCalls,
}

/// Runs controllers, scheduler and plugins whenever this server leads, and keeps what every cluster has, for as long as the
/// executor runs.
pub fn lead_when_possible(cluster: &Arc<Cluster>, leading: Leading) {
    let Leading { holder, control, loader, reviews, usage, calls } = leading;
    let executor = cluster.executor();
    executor.spawn("system objects", cluster.clone().keep_system_objects());
    let controllers = move |leader| run_controllers(leader, control.clone());
    executor.spawn("controllers", lead(cluster.clone(), "berth-controllers", holder.clone(), controllers));
    let policies = move |leader| {
        let shared = Shared {
            loader: loader.clone(),
            reviews: reviews.clone(),
            usage: usage.clone(),
            calls: calls.clone(),
        };
        run_policies(leader, shared)
    };
    executor.spawn("scheduling", lead(cluster.clone(), "berth-scheduler", holder, policies));
}

/// What outlives one time of leading.
struct Shared {
    loader: Arc<dyn Loader>,
    reviews: Reviews,
    usage: Usage,
    calls: PolicyCalls,
}

/// Places pods and scales workloads by the policies that are bound, and keeps those of all roles running.
async fn run_policies(leader: Leader, shared: Shared) {
    let Shared { loader, reviews, usage, calls } = shared;
    let (failures, failovers) = (FailureReports::default(), first_failovers(&leader));
    let seed = leader.now().micros().unsigned_abs();
    let scheduler = match start_scheduler(leader.clone(), seed, failovers, failures.clone()) {
        Ok(scheduler) => scheduler,
        Err(error) => return tracing::error!("the scheduler's thread cannot be started: {error}"),
    };
    let scheduling = SchedulerRole::new(scheduler, leader.executor().clone());
    let admission = AdmissionRole::new(reviews, failures.clone());
    let recommenders = Recommenders::default();
    let scaling = AutoscalerRole::new(recommenders.clone(), leader.executor().clone());
    let roles = [
        (RoleName::Scheduler, Arc::new(scheduling) as Arc<dyn Role>),
        (RoleName::Admission, Arc::new(admission)),
        (RoleName::Autoscaler, Arc::new(scaling)),
    ];
    let autoscaling = Autoscaling { recommenders, usage, failures: failures.clone() };
    let plugins = run_plugins(leader.clone(), PluginConfig { loader, roles: roles.into(), failures, calls });
    // Neither ends by itself; both do when another server leads.
    futures_util::future::join(plugins, run_autoscaling(leader, autoscaling)).await;
}
