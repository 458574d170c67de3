//! The node's two clocks. Only the shell reads them; whatever decides is given `now`.
//!
//! The wall clock makes the API's time stamps. It is set, and the server's differs from it; so what must get its full
//! time, as the grace of a container, is measured by the clock that counts from the machine's start.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use berth_api::time::Timestamp;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A point on the clock that counts from the machine's start, and that nobody sets. It outlives berth, not the machine:
/// but then no container is left that it was meant for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Moment {
    micros: i64,
}

impl Moment {
    /// This moment. A kernel without this clock would have none at all.
    pub(crate) fn now() -> Moment {
        let since = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
        Moment { micros: i64::try_from(since.as_micros()).unwrap_or(i64::MAX) }
    }

    /// Microseconds since the machine's start.
    pub(crate) fn micros(self) -> i64 {
        self.micros
    }

    pub(crate) fn plus_seconds(self, seconds: i64) -> Moment {
        Moment { micros: self.micros.saturating_add(seconds.saturating_mul(1_000_000)) }
    }

    /// How long from `now` until then; nothing when it is over.
    pub(crate) fn after(self, now: Moment) -> Duration {
        Duration::from_micros(u64::try_from(self.micros.saturating_sub(now.micros)).unwrap_or(0))
    }
}

/// This moment by both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) wall: Timestamp,
    pub(crate) steady: Moment,
}

impl Now {
    pub(crate) fn read() -> Now {
        Now { wall: now(), steady: Moment::now() }
    }
}

/// This moment on the wall clock.
pub(crate) fn now() -> Timestamp {
    stamp(SystemTime::now())
}

/// A system time as a time stamp; before 1970 counts as 1970.
pub(crate) fn stamp(time: SystemTime) -> Timestamp {
    let micros = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

/// How long from `now` until `then`; nothing when it is over.
pub(crate) fn until(then: Timestamp, now: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(then.micros() - now.micros()).unwrap_or(0))
}

/// A time stamp moved by seconds.
pub(crate) fn plus_seconds(time: Timestamp, seconds: i64) -> Timestamp {
    time.plus_millis(seconds.saturating_mul(1000))
}

/// Time stamps in the agent's own records: microseconds since 1970.
pub(crate) mod micros {
    use berth_api::time::Timestamp;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        time.micros().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(Timestamp::from_micros)
    }
}
