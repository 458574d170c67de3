//! What a durable store must do.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Change, Key, Revision};

/// One object as a store returns it at start.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Which object.
    pub key: Key,
    /// The revision that wrote it.
    pub revision: Revision,
    /// What `Draft::encode` made.
    pub bytes: Bytes,
}

/// A failure of a store.
#[derive(Debug, thiserror::Error)]
#[error("{context}: {source}")]
pub struct StoreError {
    /// What was being done, to which file or database, and what to do about it.
    pub context: String,
    /// The backend's own error.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl StoreError {
    /// An error of a backend while doing `context`.
    pub fn new(
        context: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { context: context.into(), source: source.into() }
    }
}

/// Keeps the newest version of every object, and blobs by digest. One writer uses it, one call at a time.
///
/// Every backend passes [`crate::conformance`].
pub trait Store: Send + 'static {
    /// Hands every object to `each`, and returns the revision of the last commit (0 for an empty store).
    fn load(
        &mut self,
        each: &mut (dyn FnMut(Record) + Send),
    ) -> impl Future<Output = Result<Revision, StoreError>> + Send;

    /// Writes all changes or none. When it returns `Ok`, they survive the loss of power.
    fn commit(&mut self, changes: &[Arc<Change>]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Keeps a blob (a plugin's bytes) under its digest, durably; the same digest twice is no error.
    fn put_blob(&mut self, digest: &str, bytes: Bytes)
    -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The blob of that digest.
    fn get_blob(&mut self, digest: &str) -> impl Future<Output = Result<Option<Bytes>, StoreError>> + Send;

    /// Forgets a blob; an absent one is no error.
    fn delete_blob(&mut self, digest: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Puts the store down tidily: afterwards it can be opened again. Dropping it instead loses nothing acknowledged.
    fn close(self) -> impl Future<Output = Result<(), StoreError>> + Send;
}
