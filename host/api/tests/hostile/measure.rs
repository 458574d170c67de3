//! What something takes in memory and time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use berth_api::decode::{BODY_BYTES_MAX, EXPANDED_BYTES_MAX};

/// What one body may take while it is read, completed and checked: what is paid for, the body itself, and the texts of
/// what is wrong with it.
const PEAK_MAX: usize = EXPANDED_BYTES_MAX + 8 * BODY_BYTES_MAX;
/// What one body may take of a busy machine's time, in a build with few optimisations.
const TIME_MAX: Duration = Duration::from_secs(20);

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    static USED: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is the system allocator's own; beside it numbers are counted, which allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = USED.get().wrapping_add(layout.size());
        USED.set(used);
        PEAK.set(PEAK.get().max(used));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        USED.set(USED.get().wrapping_sub(layout.size()));
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Does something and returns its result, unless it took too much memory or time.
#[track_caller]
pub(crate) fn bounded<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    USED.set(1 << 40); // whatever is freed of what was there before
    PEAK.set(1 << 40);
    let result = act();
    let (peak, took) = (PEAK.get() - (1 << 40), started.elapsed());
    assert!(peak < PEAK_MAX, "{what} took {peak} bytes");
    assert!(took < TIME_MAX, "{what} took {took:?}");
    result
}
