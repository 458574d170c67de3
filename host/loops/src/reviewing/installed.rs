//! One policy that runs.

use std::sync::{Arc, Mutex, PoisonError};

use berth_admission::{Breaker, Mutates, Reviewer, Rules};
use berth_api::Timestamp;
use berth_lifecycle::Harm;
use tokio::sync::Semaphore;

use crate::calls::Counter;
use crate::failures::FailureReports;

/// Calls of one policy at a time: more would not be faster on the machines that run one server, and each may take an instance's
/// memory.
const CALLS_MAX: usize = 4;

/// A policy that serves a binding.
pub(super) struct Installed {
    pub(super) installation: u64,
    pub(super) reviewer: Arc<dyn Reviewer>,
    /// Who has one may call.
    pub(super) seats: Semaphore,
    pub(super) counter: Counter,
    rules: Rules,
    breaker: Mutex<Breaker>,
    failures: FailureReports,
}

impl Installed {
    pub(super) fn new(
        installation: u64,
        reviewer: Arc<dyn Reviewer>,
        rules: Rules,
        counter: Counter,
        failures: FailureReports,
    ) -> Self {
        let (seats, breaker) = (Semaphore::new(CALLS_MAX), Mutex::default());
        Self { installation, reviewer, seats, counter, rules, breaker, failures }
    }

    pub(super) fn mutates(&self) -> Mutates {
        self.reviewer.manifest().mutates
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// A call has ended in a verdict that can be used.
    pub(super) fn answered(&self, now: Timestamp) {
        self.breaker().count(now, false);
    }

    /// A call has not. Whether the policy is to be left alone; that it failed is told to the plugin manager.
    pub(super) fn failed(&self, now: Timestamp, why: &str) -> bool {
        let opened = self.breaker().count(now, true);
        match opened {
            None => self.failures.tell(self.installation, why.to_owned(), Harm::Passing),
            Some(failures) => {
                let why = format!("the last {failures} reviews failed: {why}");
                self.failures.tell(self.installation, why, Harm::Ended);
            }
        }
        opened.is_some()
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
