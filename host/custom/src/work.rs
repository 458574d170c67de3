//! What one use of a schema may cost: an object is as large as a body, a schema too, and each place of the one may meet
//! many places of the other.

use std::cell::Cell;

/// How many places, letters of faults and the like one pass over one object may look at: an object of 2 MB has some
/// 200,000 places, and a schema that looks at each of them ten times is still far below. All of it takes a second.
const STEPS_MAX: u64 = 20_000_000;

/// What is left of the work that one pass may be.
pub(crate) struct Work {
    left: Cell<u64>,
}

impl Default for Work {
    fn default() -> Self {
        Self::of(STEPS_MAX)
    }
}

impl Work {
    /// So many steps.
    pub(crate) fn of(steps: u64) -> Self {
        Self { left: Cell::new(steps) }
    }

    /// Pays for so many steps; whether there were so many left.
    pub(crate) fn pay(&self, steps: usize) -> bool {
        let left = self.left.get().saturating_sub(steps as u64);
        self.left.set(left);
        left > 0
    }

    /// Whether nothing is left.
    pub(crate) fn is_spent(&self) -> bool {
        self.left.get() == 0
    }
}
