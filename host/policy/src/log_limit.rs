//! How much an instance may log.

use crate::limits::LOG_LINES_PER_SECOND_MAX;
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(1);

/// Counts lines per second.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    window: Option<Instant>,
    lines: u32,
}

/// Whether a line is logged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// There have been too many.
    No,
    /// After so many that were not.
    After {
        /// How many of the last window.
        dropped: u32,
    },
}

impl LogLimit {
    /// Counts one line.
    pub(crate) fn admit(&mut self, now: Instant) -> Admitted {
        let mut dropped = 0;
        if self.window.is_none_or(|begun| now.duration_since(begun) >= WINDOW) {
            dropped = self.lines.saturating_sub(LOG_LINES_PER_SECOND_MAX);
            self.window = Some(now);
            self.lines = 0;
        }
        self.lines = self.lines.saturating_add(1);
        if self.lines > LOG_LINES_PER_SECOND_MAX { Admitted::No } else { Admitted::After { dropped } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_past_the_rate_are_counted_and_owned_up_to() {
        let begun = Instant::now();
        let mut limit = LogLimit::default();
        for _ in 0..LOG_LINES_PER_SECOND_MAX {
            assert_eq!(limit.admit(begun), Admitted::After { dropped: 0 });
        }
        assert_eq!(limit.admit(begun), Admitted::No);
        assert_eq!(limit.admit(begun + WINDOW / 2), Admitted::No);
        assert_eq!(limit.admit(begun + WINDOW), Admitted::After { dropped: 2 });
        assert_eq!(limit.admit(begun + 3 * WINDOW), Admitted::After { dropped: 0 });
    }
}
