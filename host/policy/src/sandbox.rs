//! One instance's store: what it has used, and when it must stop.

use crate::limits::{Limits, TEXT_BYTES_MAX, WALL_FACTOR};
use crate::log_limit::LogLimit;
use berth_scheduler::policy::PolicyError;
use std::time::{Duration, Instant};
use wasmtime::{ResourceLimiter, Trap, UpdateDeadline};

/// The host's data about one instance.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) name: String,
    pub(crate) log_limit: LogLimit,
    /// The last line logged as an error in this call: a Rust guest says there why it panics.
    pub(crate) last_error: Option<String>,
    limits: Limits,
    memory_bytes: usize,
    memory_refused: bool,
    deadline: Duration,
    first_tick: Option<Tick>,
}

/// When the ticker was first seen during a call.
#[derive(Clone, Copy, Debug)]
struct Tick {
    wall: Instant,
    cpu: Duration,
}

impl Sandbox {
    pub(crate) fn new(name: String, limits: Limits) -> Self {
        Self {
            name,
            log_limit: LogLimit::default(),
            last_error: None,
            limits,
            memory_bytes: 0,
            memory_refused: false,
            deadline: Duration::ZERO,
            first_tick: None,
        }
    }

    /// A call begins.
    pub(crate) fn begin(&mut self, deadline: Duration) {
        self.deadline = deadline;
        self.first_tick = None;
        self.last_error = None;
    }

    /// The ticker has ticked during a call. Only now are clocks read, so that a call shorter than a tick pays for none; the
    /// deadline therefore counts from the first tick, up to 1 ms late.
    pub(crate) fn tick(&mut self) -> UpdateDeadline {
        let now = Tick { wall: Instant::now(), cpu: thread_cpu_time() };
        let first = *self.first_tick.get_or_insert(now);
        let out_of_time = now.cpu.saturating_sub(first.cpu) >= self.deadline
            || now.wall.duration_since(first.wall) >= self.deadline * WALL_FACTOR;
        if out_of_time { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(1) }
    }

    /// Whether the instance has kept more than half of its memory free.
    pub(crate) fn has_room(&self) -> bool {
        self.memory_bytes <= self.limits.memory_bytes() / 2
    }

    /// What an error of Wasmtime means to the policy's owner.
    pub(crate) fn explain(&self, error: &wasmtime::Error) -> PolicyError {
        if error.downcast_ref::<Trap>() == Some(&Trap::Interrupt) {
            return PolicyError::Deadline { limit_ms: self.deadline.as_millis() as u64 };
        }
        if self.memory_refused {
            return PolicyError::Memory { limit_bytes: self.limits.memory_bytes() as u64 };
        }
        let cause = self.last_error.clone().unwrap_or_else(|| first_line(&error.root_cause().to_string()));
        PolicyError::Trap(cause)
    }
}

impl ResourceLimiter for Sandbox {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        if total > self.limits.memory_bytes() {
            self.memory_refused = true;
            return Ok(false);
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= crate::limits::TABLE_ELEMENTS_MAX)
    }
}

/// The first line, which is the message; what follows are addresses.
pub(crate) fn first_line(text: &str) -> String {
    one_line(text.lines().next().unwrap_or_default())
}

/// A component's own words as a part of a message: one line that forges no other, of bounded length.
pub(crate) fn one_line(text: &str) -> String {
    let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
    text[..end.unwrap_or(0)].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// How long this thread has run on a processor.
fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes, and this clock always exists on Linux.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(status, 0, "the thread's processor clock cannot be read");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
