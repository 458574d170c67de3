//! Waiting for conditions, never for time.

use std::time::{Duration, Instant};

/// Between two looks: short beside what is waited for, long beside what a look costs.
const INTERVAL: Duration = Duration::from_millis(40);

/// Looks until the probe has a value, and returns it.
///
/// # Panics
/// When the deadline has passed, with the probe's last reason.
#[track_caller]
pub fn eventually<T>(what: &str, deadline: Duration, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + deadline;
    loop {
        let reason = match probe() {
            Ok(value) => return value,
            Err(reason) => reason,
        };
        assert!(Instant::now() < end, "{what}: not within {} s: {reason}", deadline.as_secs_f32());
        std::thread::sleep(INTERVAL);
    }
}

/// A condition as a probe for [`eventually`]: the reason is what was seen.
pub fn holds(condition: bool, seen: impl std::fmt::Display) -> Result<(), String> {
    if condition { Ok(()) } else { Err(seen.to_string()) }
}
