//! All that a server does while it leads.

use std::sync::Arc;

use berth_cluster::{Cluster, Leader};
use berth_control::Config;
use berth_lifecycle::{Loader, RoleName};

use crate::control::run_controllers;
use crate::failures::FailureReports;
use crate::lead::{Holder, lead};
use crate::plugins::{PluginConfig, first_failovers, run_plugins};
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
}

/// Runs controllers, scheduler and plugins whenever this server leads, and keeps what every cluster has, for as long as the
/// executor runs.
pub fn lead_when_possible(cluster: &Arc<Cluster>, leading: Leading) {
    let Leading { holder, control, loader } = leading;
    let executor = cluster.executor();
    executor.spawn("system objects", cluster.clone().keep_system_objects());
    let controllers = move |leader| run_controllers(leader, control.clone());
    executor.spawn("controllers", lead(cluster.clone(), "berth-controllers", holder.clone(), controllers));
    let scheduler = move |leader| schedule(leader, loader.clone());
    executor.spawn("scheduling", lead(cluster.clone(), "berth-scheduler", holder, scheduler));
}

/// Places pods by the policies that are bound.
async fn schedule(leader: Leader, loader: Arc<dyn Loader>) {
    let (failures, failovers) = (FailureReports::default(), first_failovers(&leader));
    let seed = leader.now().micros().unsigned_abs();
    let scheduler = match start_scheduler(leader.clone(), seed, failovers, failures.clone()) {
        Ok(scheduler) => scheduler,
        Err(error) => return tracing::error!("the scheduler's thread cannot be started: {error}"),
    };
    let role = SchedulerRole::new(scheduler, leader.executor().clone());
    let roles = [(RoleName::Scheduler, Arc::new(role) as Arc<dyn Role>)].into();
    run_plugins(leader, PluginConfig { loader, roles, failures }).await;
}
