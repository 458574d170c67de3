//! How often something failed, and when it is tried again.

use berth_api::Timestamp;

/// The first wait before what failed is tried again.
const BACKOFF_MS_MIN: i64 = 1_000;
/// The longest: what keeps failing costs little, and a mended cluster state brings it back soon.
const BACKOFF_MS_MAX: i64 = 60_000;

/// Failures in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failures {
    count: u32,
    /// Not before this; `None`: nothing is to be waited for.
    retry_at: Option<Timestamp>,
}

impl Failures {
    pub(crate) fn add(&mut self, now: Timestamp) {
        let delay = BACKOFF_MS_MAX.min(BACKOFF_MS_MIN << self.count.min(16));
        self.count += 1;
        self.retry_at = Some(now.plus_millis(delay));
    }

    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn may_retry(&self, now: Timestamp) -> bool {
        self.retry_at.is_none_or(|at| at <= now)
    }

    pub(crate) fn retry_at(&self) -> Option<Timestamp> {
        self.retry_at
    }
}
