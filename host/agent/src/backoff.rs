//! Pauses that grow: between restarts of a container, pulls of an image, attempts to make a sandbox or a volume.

use berth_api::time::Timestamp;

/// The first pause and the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pauses {
    /// After the first failure, in milliseconds.
    pub first_ms: u64,
    /// Never more than this, in milliseconds.
    pub max_ms: u64,
}

impl Pauses {
    /// The kubelet's for crashing containers and failing pulls: 10 s, doubled up to 5 minutes.
    pub const KUBELET: Pauses = Pauses { first_ms: 10_000, max_ms: 300_000 };
    /// For what is the node's own business: sandboxes, volumes, requests.
    pub(crate) const NODE: Pauses = Pauses { first_ms: 1_000, max_ms: 60_000 };
}

/// A series of failures. Doubles with each, and starts over when twice the longest pause has passed without one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    entry: Option<Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    delay_ms: u64,
    updated: Timestamp,
}

impl Backoff {
    /// When to try again after what failed or ended at `failed`; at once when this is the first time in a while.
    pub(crate) fn retry_at(&self, failed: Timestamp, pauses: Pauses) -> Timestamp {
        match self.current(failed, pauses) {
            Some(entry) => failed.plus_millis(millis(entry.delay_ms)),
            None => failed,
        }
    }

    /// The pause that `retry_at` imposes, in milliseconds.
    pub(crate) fn delay_ms(&self, failed: Timestamp, pauses: Pauses) -> u64 {
        self.current(failed, pauses).map_or(0, |entry| entry.delay_ms)
    }

    /// Notes that it is tried once more at `now`.
    pub(crate) fn step(&mut self, now: Timestamp, pauses: Pauses) {
        let delay_ms = match self.current(now, pauses) {
            Some(entry) => entry.delay_ms.saturating_mul(2).min(pauses.max_ms),
            None => pauses.first_ms.min(pauses.max_ms),
        };
        self.entry = Some(Entry { delay_ms, updated: now });
    }

    fn current(&self, at: Timestamp, pauses: Pauses) -> Option<Entry> {
        self.entry.filter(|entry| at.millis_since(entry.updated) <= millis(pauses.max_ms).saturating_mul(2))
    }
}

fn millis(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crashes_wait_ten_seconds_then_twice_as_long_each_time_and_forget_after_ten_minutes() {
        let pauses = Pauses::KUBELET;
        let mut backoff = Backoff::default();
        let mut now = Timestamp::from_seconds(1000);
        let mut waits = vec![];
        for _ in 0..8 {
            let retry = backoff.retry_at(now, pauses);
            waits.push(retry.millis_since(now) / 1000);
            now = retry;
            backoff.step(now, pauses);
        }
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        let later = now.plus_millis(601_000);
        assert_eq!(backoff.retry_at(later, pauses), later, "it ran for ten minutes: a fresh start");
    }
}
