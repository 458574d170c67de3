//! What a durable store must do.

use std::future::Future;
use std::pin::Pin;
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

/// What became of one object, as a store tells those who follow it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Which object.
    pub key: Key,
    /// The revision that wrote or deleted it.
    pub revision: Revision,
    /// What `Draft::encode` made; `None`: it is deleted.
    pub bytes: Option<Bytes>,
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

/// Why a store did not take a commit. Nothing of it was written.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The store's last commit is not the one that was expected: another server wrote. Look at its changes first.
    #[error("another server has written to the store")]
    Behind,
    /// The store failed.
    #[error(transparent)]
    Failed(#[from] StoreError),
}

/// Keeps the newest version of every object. One writer of a server uses it, one call at a time; other servers may have it
/// open as well, if it is made for that.
///
/// Every backend passes [`crate::conformance`].
pub trait Store: Send + 'static {
    /// Hands every object to `each`, and returns the revision of the last commit (0 for an empty store).
    fn load(
        &mut self,
        each: &mut (dyn FnMut(Record) + Send),
    ) -> impl Future<Output = Result<Revision, StoreError>> + Send;

    /// Writes all changes or none, if `head` is still the revision of the store's last commit. When it returns `Ok`, they
    /// survive the loss of power.
    fn commit(
        &mut self,
        head: Revision,
        changes: &[Arc<Change>],
    ) -> impl Future<Output = Result<(), Refused>> + Send;

    /// What became of the objects that were written after `revision`, in the order of the revisions: of each at least the
    /// last. `None`: it is not known any more, and everything is to be loaded.
    fn changes_after(
        &mut self,
        revision: Revision,
    ) -> impl Future<Output = Result<Option<Vec<Entry>>, StoreError>> + Send;

    /// Is over when another server may have written since the last call of [`Store::changes_after`]; never where there is
    /// none. It may be dropped at any time, and asked again.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;

    /// Whether other servers may have the store open at the same time.
    fn is_shared(&self) -> bool;

    /// The way to the store's blobs.
    fn blobs(&self) -> Arc<dyn Blobs>;

    /// Puts the store down tidily: afterwards it can be opened again. Dropping it instead loses nothing acknowledged.
    fn close(self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// What a call of [`Blobs`] gives.
pub type BlobFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Keeps blobs (the bytes of plugins) by their digests, beside the objects: a large one delays no commit, and many are asked
/// for at a time.
pub trait Blobs: Send + Sync {
    /// Keeps a blob under its digest, durably; the same digest twice is no error.
    fn put<'a>(&'a self, digest: &'a str, bytes: Bytes) -> BlobFuture<'a, ()>;

    /// The blob of that digest.
    fn get<'a>(&'a self, digest: &'a str) -> BlobFuture<'a, Option<Bytes>>;

    /// Forgets a blob; an absent one is no error.
    fn delete<'a>(&'a self, digest: &'a str) -> BlobFuture<'a, ()>;
}
