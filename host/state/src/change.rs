//! Revisions, changes, and the bounded history from which watchers read.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::{Key, Stored};

/// Counts the writes of a cluster; every written object version has its own, in commit-visibility order.
///
/// It is the `resourceVersion` of the API: decimal, rising over the whole store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One object was created, changed or deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The revision of this write; a deletion has one of its own.
    pub revision: Revision,
    /// Which object.
    pub key: Key,
    /// What was there before; `None` when the object was created.
    pub old: Option<Arc<Stored>>,
    /// What is there now; `None` when the object was deleted.
    pub new: Option<Arc<Stored>>,
}

impl Change {
    /// The newest version this change knows of: the new one, or the deleted one.
    pub fn latest(&self) -> &Arc<Stored> {
        self.new.as_ref().or(self.old.as_ref()).expect("a change has an old or a new version")
    }

    fn encoded_bytes(&self) -> usize {
        [&self.old, &self.new].into_iter().flatten().map(|stored| stored.bytes().len()).sum()
    }
}

/// The last changes, oldest first: what a watcher that was away for a moment catches up from.
#[derive(Debug, Default)]
pub struct History {
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
    /// Everything after this revision is still here.
    complete_after: Revision,
}

impl History {
    /// Changes kept at most: at 20,000 writes a second a watcher may be five seconds behind.
    pub const CHANGES_MAX: usize = 100_000;
    /// Encoded bytes kept alive at most (old versions live only here), so that large objects cannot exhaust memory.
    pub const BYTES_MAX: usize = 64 << 20;
    /// Changes kept however large they are, so that a burst of large objects does not cut off every watcher.
    pub const CHANGES_MIN: usize = 256;

    /// A history that begins after `revision`.
    pub fn starting_after(revision: Revision) -> Self {
        Self { complete_after: revision, ..Self::default() }
    }

    pub(crate) fn push(&mut self, change: Arc<Change>) {
        self.bytes += change.encoded_bytes();
        self.changes.push_back(change);
        while self.changes.len() > Self::CHANGES_MAX
            || (self.bytes > Self::BYTES_MAX && self.changes.len() > Self::CHANGES_MIN)
        {
            let Some(gone) = self.changes.pop_front() else { break };
            self.bytes -= gone.encoded_bytes();
            self.complete_after = gone.revision;
        }
    }

    /// All changes after `revision`, oldest first; `None` when some of them are forgotten (410 Expired).
    pub fn after(&self, revision: Revision) -> Option<impl DoubleEndedIterator<Item = &Arc<Change>> + '_> {
        if revision < self.complete_after {
            return None;
        }
        let start = self.changes.partition_point(|change| change.revision <= revision);
        Some(self.changes.range(start..))
    }

    /// The revision after which everything is still known.
    pub fn complete_after(&self) -> Revision {
        self.complete_after
    }
}
