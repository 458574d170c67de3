//! Between the clock and the API's time stamps. Only the shell reads the clock; whatever decides is given `now`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use berth_api::time::Timestamp;

/// This moment.
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
