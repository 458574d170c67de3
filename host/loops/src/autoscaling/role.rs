//! How autoscaling policies come and go.

use std::sync::Arc;

use berth_autoscale::Recommender;
use berth_lifecycle::{Place, StartFailure, Started};
use berth_scheduler::Failover;
use berth_tasks::Executor;
use futures_util::future::BoxFuture;

use super::Recommenders;
use crate::roles::{Role, Start};

/// Autoscaling policies: functions of their question, so that nothing is to be prepared for an exchange.
pub struct AutoscalerRole {
    recommenders: Recommenders,
    executor: Executor,
}

impl AutoscalerRole {
    /// Policies that serve there.
    pub fn new(recommenders: Recommenders, executor: Executor) -> Self {
        Self { recommenders, executor }
    }
}

impl Role for AutoscalerRole {
    fn start(&self, start: Start) -> BoxFuture<'static, Result<Started, StartFailure>> {
        let (recommenders, executor) = (self.recommenders.clone(), self.executor.clone());
        Box::pin(async move {
            let (component, plugin) = (start.component.clone(), start.version.plugin.clone());
            let config = start.version.config.clone();
            let started = executor.blocking(move || component.autoscaler(&plugin, &config)).await;
            let recommender = started.map_err(|panic| StartFailure::Failed(panic.to_string()))??;
            let recommender: Arc<dyn Recommender> = Arc::new(start.counted(recommender, &executor));
            start.check()?;
            let manifest = recommender.manifest().to_value();
            if let Some(before) = recommenders.install(&start.place.name, start.installation, recommender) {
                executor.unload(before);
            }
            Ok(Started { gap_us: 0, manifest })
        })
    }

    fn uninstall<'a>(&'a self, place: &'a Place, installation: u64) -> BoxFuture<'a, ()> {
        if let Some(gone) = self.recommenders.uninstall(&place.name, installation) {
            self.executor.unload(gone);
        }
        Box::pin(std::future::ready(()))
    }

    fn set_failover<'a>(&'a self, place: &'a Place, failover: Failover) -> BoxFuture<'a, ()> {
        self.recommenders.set_failover(&place.name, failover);
        Box::pin(std::future::ready(()))
    }
}
