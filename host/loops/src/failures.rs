//! Reports of failed policies on their way from the scheduler's thread to the plugin manager.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use berth_lifecycle::Failure;
use berth_scheduler::PolicyFailure;
use tokio::sync::Notify;

/// A mailbox in which none is lost: what one installation reports before it is read folds into one report, so that there are
/// never more than installations.
#[derive(Clone, Debug, Default)]
pub struct FailureReports(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// By installation.
    waiting: Mutex<BTreeMap<u64, Failure>>,
    wake: Notify,
}

impl FailureReports {
    /// Hands over a report; never waits.
    pub fn report(&self, failure: &PolicyFailure) {
        let (why, fatal) = (failure.error.to_string(), failure.error.is_fatal());
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let report = waiting.entry(failure.installation).or_insert_with(|| Failure {
            why: String::new(),
            fatal,
            count: 0,
        });
        report.count = report.count.saturating_add(1);
        // What ended a policy counts, not what it said before.
        if fatal || !report.fatal {
            (report.why, report.fatal) = (why, fatal);
        }
        drop(waiting);
        self.0.wake.notify_one();
    }

    /// A report, if there is one: which installation, and how it failed.
    pub fn try_next(&self) -> Option<(u64, Failure)> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_first()
    }

    /// Waits for a report.
    pub async fn next(&self) -> (u64, Failure) {
        loop {
            match self.try_next() {
                Some(report) => return report,
                None => self.0.wake.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use berth_scheduler::policy::PolicyError;

    use super::*;

    #[tokio::test]
    async fn reports_fold_and_what_ended_a_policy_counts() {
        let reports = FailureReports::default();
        let report = |installation, error| {
            reports.report(&PolicyFailure { profile: "p".to_owned(), installation, error });
        };
        for _ in 0..10_000 {
            report(2, PolicyError::BadAnswer("nonsense".to_owned()));
        }
        report(1, PolicyError::BadAnswer("nonsense".to_owned()));
        report(1, PolicyError::Trap("unreachable".to_owned()));
        report(1, PolicyError::Gone);
        let (installation, failure) = reports.next().await;
        assert_eq!((installation, failure.count, failure.fatal), (1, 3, true));
        let (installation, failure) = reports.next().await;
        assert_eq!((installation, failure.count, failure.fatal), (2, 10_000, false));
        assert_eq!(failure.why, "the policy gave an unusable answer: nonsense");
    }
}
