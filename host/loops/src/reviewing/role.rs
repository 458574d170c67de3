//! How admission policies come and go.

use std::sync::Arc;

use berth_admission::Rules;
use berth_lifecycle::{Place, StartFailure, Started};
use berth_scheduler::Failover;
use futures_util::future::BoxFuture;

use super::Reviews;
use super::installed::Installed;
use crate::failures::FailureReports;
use crate::roles::{Role, Start};

/// Admission policies: functions of their question, so that nothing is to be prepared for an exchange.
pub struct AdmissionRole {
    reviews: Reviews,
    failures: FailureReports,
}

impl AdmissionRole {
    /// Policies that serve there, and report their failures here.
    pub fn new(reviews: Reviews, failures: FailureReports) -> Self {
        Self { reviews, failures }
    }
}

impl Role for AdmissionRole {
    fn start(&self, start: Start) -> BoxFuture<'static, Result<Started, StartFailure>> {
        let (reviews, failures) = (self.reviews.clone(), self.failures.clone());
        Box::pin(async move {
            let (component, plugin) = (start.component.clone(), start.version.plugin.clone());
            let config = start.version.config.clone();
            let started = reviews.executor.blocking(move || component.admission(&plugin, &config)).await;
            let reviewer = started.map_err(|panic| StartFailure::Failed(panic.to_string()))??;
            start.check()?;
            let manifest = reviewer.manifest().to_value();
            let rules = Rules::new(&reviewer.manifest().rules);
            let rules = rules.map_err(|why| StartFailure::Refused(why.to_string()))?;
            let counter = start.counter(&reviews.executor);
            let installed = Installed::new(start.installation, reviewer, rules, counter, failures);
            let before = reviews.running().insert(start.place.name.clone(), Arc::new(installed));
            reviews.executor.unload(before);
            Ok(Started { gap_us: 0, manifest })
        })
    }

    fn uninstall<'a>(&'a self, place: &'a Place, installation: u64) -> BoxFuture<'a, ()> {
        self.reviews.put_aside(&place.name, installation);
        Box::pin(std::future::ready(()))
    }

    /// What becomes of writes without a verdict is read from the binding at each of them.
    fn set_failover<'a>(&'a self, _: &'a Place, _: Failover) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl Reviews {
    /// Asks a policy no more, if it is still that installation. Calls under way end by themselves.
    pub(super) fn put_aside(&self, binding: &str, installation: u64) {
        let mut running = self.running();
        let is_it = running.get(binding).is_some_and(|there| there.installation == installation);
        let gone = if is_it { running.remove(binding) } else { None };
        drop(running);
        self.executor.unload(gone); // its memory takes its time to go
    }
}
