//! When a policy that fails is left alone for a while.

use berth_api::Timestamp;

/// How long calls and failures are counted together.
const WINDOW_MS: i64 = 10_000;
/// Failures below which a policy is asked on: some writes may be such that any policy fails at them.
const FAILURES_MIN: u32 = 5;

/// Counts the calls of one policy. It opens when all of them fail, so that nobody who can send objects at which a policy
/// fails can switch it off for others while it works for them.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    since: Timestamp,
    calls: u32,
    failures: u32,
}

impl Breaker {
    /// A call has ended; whether the policy is to be left alone, and after how many failures.
    pub fn count(&mut self, now: Timestamp, failed: bool) -> Option<u32> {
        if self.calls == 0 || now.millis_since(self.since) >= WINDOW_MS {
            *self = Self { since: now, calls: 0, failures: 0 };
        }
        self.calls = self.calls.saturating_add(1);
        self.failures = self.failures.saturating_add(u32::from(failed));
        let opens = self.failures >= FAILURES_MIN && self.failures == self.calls;
        opens.then_some(self.failures)
    }
}
