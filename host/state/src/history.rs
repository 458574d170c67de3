//! The recent changes of one resource: what a watcher that was away for a moment catches up from.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use crate::{Change, Revision};

/// Changes of all resources kept at most: at 20,000 writes a second a watcher may be five seconds behind.
const CHANGES_MAX: usize = 100_000;
/// Encoded bytes of all resources kept alive at most (old versions live only here), so that large objects cannot exhaust
/// memory. Whichever resource holds most forgets first, so that writers of large objects expire their own watchers and
/// nobody else's.
const BYTES_MAX: usize = 64 << 20;
/// Changes of a resource kept however large they are, so that a burst of large objects does not cut off every watcher:
/// at 1.5 MB an object 24 MB.
const CHANGES_MIN: usize = 16;

/// How much a history holds, or several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) changes: usize,
    pub(crate) bytes: usize,
}

impl Held {
    pub(crate) fn is_too_much(self) -> bool {
        self.changes > CHANGES_MAX || self.bytes > BYTES_MAX
    }

    /// The part of what all may hold: whoever has the largest forgets.
    pub(crate) fn share(self) -> f64 {
        (self.changes as f64 / CHANGES_MAX as f64).max(self.bytes as f64 / BYTES_MAX as f64)
    }
}

/// The last changes of one resource.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    changes: OrdMap<Revision, Arc<Change>>,
    bytes: usize,
    /// Everything after this revision is still here.
    complete_after: Revision,
}

impl History {
    /// A history that begins after `revision`.
    pub(crate) fn starting_after(revision: Revision) -> Self {
        Self { complete_after: revision, ..Self::default() }
    }

    pub(crate) fn held(&self) -> Held {
        Held { changes: self.changes.len(), bytes: self.bytes }
    }

    pub(crate) fn push(&mut self, change: Arc<Change>) {
        self.bytes += change.bytes_held();
        self.changes.insert(change.revision, change);
    }

    /// Whether there is more than what is kept in any case.
    pub(crate) fn can_forget(&self) -> bool {
        self.changes.len() > CHANGES_MIN
    }

    /// Forgets the oldest change, unless there are few.
    pub(crate) fn forget_oldest(&mut self) -> Option<Arc<Change>> {
        if !self.can_forget() {
            return None;
        }
        let oldest = self.changes.get_min()?.0;
        let gone = self.changes.remove(&oldest)?;
        self.bytes -= gone.bytes_held();
        self.complete_after = oldest;
        Some(gone)
    }

    /// All changes after `revision`, oldest first; `None` when some of them are forgotten (410 Expired).
    pub(crate) fn after(&self, revision: Revision) -> Option<impl DoubleEndedIterator<Item = &Arc<Change>>> {
        if revision < self.complete_after {
            return None;
        }
        let range = (Bound::Excluded(revision), Bound::Unbounded);
        Some(self.changes.range(range).map(|(_, change)| change))
    }

    /// The change of that revision.
    pub(crate) fn at(&self, revision: Revision) -> Option<&Arc<Change>> {
        self.changes.get(&revision)
    }

    pub(crate) fn complete_after(&self) -> Revision {
        self.complete_after
    }
}
