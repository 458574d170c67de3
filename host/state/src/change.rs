//! Revisions and changes.

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

    /// What is kept alive by remembering this change: the old version. The new one is in the state, or is the old one
    /// of a later change.
    pub(crate) fn bytes_held(&self) -> usize {
        self.old.as_ref().map_or(0, |old| old.bytes().len())
    }
}
