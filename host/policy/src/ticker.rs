//! Ticks while calls are in flight, so that they can be interrupted; sleeps otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

/// How exactly deadlines are kept.
const TICK: Duration = Duration::from_millis(1);

/// How many ticks without a call before the ticker goes to sleep. Waking it costs a call some microseconds, so that it must
/// not sleep between the decisions of a busy scheduler.
const IDLE_TICKS: u32 = 20;

/// A thread that ticks.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
    handle: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    in_flight: AtomicUsize,
    called: AtomicBool,
    asleep: AtomicBool,
    stop: AtomicBool,
}

/// A call in flight.
#[derive(Debug)]
pub(crate) struct InFlight<'a>(&'a Shared);

impl Ticker {
    /// Starts a thread that calls `tick` about every millisecond while calls are in flight.
    pub(crate) fn start(tick: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let handle = std::thread::Builder::new().name("policy-ticker".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.run(tick)
        })?;
        Ok(Self { shared, thread: handle.thread().clone(), handle: Some(handle) })
    }

    /// A call begins; it ends when the answer is dropped.
    #[inline]
    pub(crate) fn enter(&self) -> InFlight<'_> {
        // Sequentially consistent with `sleep`: either this call sees it asleep, or it sees this call.
        self.shared.in_flight.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        InFlight(&self.shared)
    }
}

impl Drop for InFlight<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.called.store(true, Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Release);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.unpark();
        if let Some(handle) = self.handle.take() {
            // A panic in the ticker has been reported by its own thread.
            let _ = handle.join();
        }
    }
}

impl Shared {
    fn run(&self, tick: impl Fn()) {
        let mut idle = 0;
        while !self.stop.load(Ordering::SeqCst) {
            let busy =
                self.in_flight.load(Ordering::SeqCst) > 0 || self.called.swap(false, Ordering::Relaxed);
            idle = if busy { 0 } else { idle + 1 };
            if idle >= IDLE_TICKS {
                self.sleep();
                idle = 0;
            }
            std::thread::sleep(TICK);
            tick();
        }
    }

    fn sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        while self.in_flight.load(Ordering::SeqCst) == 0 && !self.stop.load(Ordering::SeqCst) {
            std::thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// Waits until `condition` holds; fails when it does not within 10 s.
    fn wait_for(what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !condition() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn it_ticks_during_calls_only() {
        let ticks = Arc::new(AtomicUsize::new(0));
        let ticker = Ticker::start({
            let ticks = Arc::clone(&ticks);
            move || {
                ticks.fetch_add(1, Ordering::SeqCst);
            }
        })
        .unwrap();
        wait_for("it falls asleep", || ticker.shared.asleep.load(Ordering::SeqCst));
        let before = ticks.load(Ordering::SeqCst);
        let call = ticker.enter();
        wait_for("it wakes", || ticks.load(Ordering::SeqCst) > before + 2);
        drop(call);
        wait_for("it falls asleep again", || ticker.shared.asleep.load(Ordering::SeqCst));
    }
}
