//! Probes: when to look, and what follows from what was seen.

mod check;
mod grpc;
mod http;
mod unverified;

use std::time::Duration;

use berth_api::time::Timestamp;
pub(crate) use check::check;
pub(crate) use http::{HttpTarget, Warning, exchange};

use crate::clock;
use crate::manifest::{Container, Probe};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProbeKind {
    Startup,
    Readiness,
    Liveness,
}

impl ProbeKind {
    /// A container's probe of this kind.
    pub(crate) fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            ProbeKind::Startup => container.startup_probe.as_ref(),
            ProbeKind::Readiness => container.readiness_probe.as_ref(),
            ProbeKind::Liveness => container.liveness_probe.as_ref(),
        }
    }

    /// As events name it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            ProbeKind::Startup => "Startup",
            ProbeKind::Readiness => "Readiness",
            ProbeKind::Liveness => "Liveness",
        }
    }
}

/// How a probe is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rhythm {
    initial_delay: Duration,
    pub(crate) period: Duration,
    pub(crate) timeout: Duration,
    successes_needed: u32,
    failures_needed: u32,
}

impl Rhythm {
    pub(crate) fn of(probe: &Probe) -> Rhythm {
        let seconds =
            |value: Option<u32>, default| Duration::from_secs(value.unwrap_or(default).max(1).into());
        Rhythm {
            initial_delay: Duration::from_secs(probe.initial_delay_seconds.into()),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            successes_needed: probe.success_threshold.unwrap_or(1).max(1),
            failures_needed: probe.failure_threshold.unwrap_or(3).max(1),
        }
    }

    /// How long the first look has to wait. The initial delay counts from the container's start, not from when its
    /// startup probe or its hook is done, nor from when berth was restarted.
    pub(crate) fn delay(&self, started_at: Timestamp, now: Timestamp) -> Duration {
        self.initial_delay.saturating_sub(clock::until(now, started_at))
    }
}

/// A run of equal results. Pure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    successes: u32,
    failures: u32,
}

impl Tally {
    /// Counts a result; the verdict it leads to, when enough of them came in a row.
    pub(crate) fn count(&mut self, success: bool, rhythm: &Rhythm) -> Option<bool> {
        if success {
            *self = Tally { successes: self.successes.saturating_add(1), failures: 0 };
            (self.successes >= rhythm.successes_needed).then_some(true)
        } else {
            *self = Tally { failures: self.failures.saturating_add(1), successes: 0 };
            (self.failures >= rhythm.failures_needed).then_some(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_delay_counts_from_the_start() {
        let rhythm = Rhythm::of(&Probe { initial_delay_seconds: 30, ..Probe::default() });
        let at = Timestamp::from_seconds;
        let delays = [100, 110, 130, 500].map(|now| rhythm.delay(at(100), at(now)).as_secs());
        assert_eq!(delays, [30, 20, 0, 0]);
    }

    #[test]
    fn verdicts_need_results_in_a_row() {
        let probe = Probe { failure_threshold: Some(2), success_threshold: Some(2), ..Probe::default() };
        let rhythm = Rhythm::of(&probe);
        assert_eq!((rhythm.period.as_secs(), rhythm.timeout.as_secs()), (10, 1));
        let mut tally = Tally::default();
        let verdicts: Vec<_> = "+-++-+--".chars().map(|result| tally.count(result == '+', &rhythm)).collect();
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(verdicts, [None, None, None, yes, None, None, None, no]);
    }
}
