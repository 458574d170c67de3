//! Reports of failed policies on their way to the plugin manager.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use berth_lifecycle::{Failure, Harm};
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
    /// Hands over a report of the scheduler's; never waits.
    pub fn report(&self, failure: &PolicyFailure) {
        let harm = if failure.error.is_fatal() { Harm::Ended } else { Harm::Unusable };
        self.tell(failure.installation, failure.error.to_string(), harm);
    }

    /// Hands over a report; never waits.
    pub fn tell(&self, installation: u64, why: String, harm: Harm) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let report =
            waiting.entry(installation).or_insert_with(|| Failure { why: String::new(), harm, count: 0 });
        report.count = report.count.saturating_add(1);
        // What ended a policy counts, not what it said before or after.
        if harm >= report.harm {
            (report.why, report.harm) = (why, harm);
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
        assert_eq!((installation, failure.count, failure.harm), (1, 3, Harm::Ended));
        let (installation, failure) = reports.next().await;
        assert_eq!((installation, failure.count, failure.harm), (2, 10_000, Harm::Unusable));
        assert_eq!(failure.why, "the policy gave an unusable answer: nonsense");
    }
}
