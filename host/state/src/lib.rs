//! Revisions, changes, the in-memory state and the store trait.
