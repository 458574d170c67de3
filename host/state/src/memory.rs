//! The store for simulations and tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::{Change, Key, Record, Revision, Store, StoreError};

/// A store in memory. Clones share their contents, so that a simulated crash can drop a server and keep its "disk".
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Debug, Default)]
struct Disk {
    revision: Revision,
    objects: BTreeMap<Key, (Revision, Bytes)>,
    blobs: BTreeMap<String, Bytes>,
    failing: bool,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets every further write fail (a full disk), or work again.
    pub fn set_failing(&self, failing: bool) {
        self.disk().failing = failing;
    }

    /// [`Store::commit`] without a future, for callers that are not async.
    ///
    /// # Errors
    /// While [`MemoryStore::set_failing`] is on.
    pub fn commit_now(&self, changes: &[Arc<Change>]) -> Result<(), StoreError> {
        let mut disk = self.disk();
        disk.check()?;
        for change in changes {
            disk.revision = change.revision;
            match &change.new {
                Some(new) => {
                    disk.objects.insert(change.key.clone(), (change.revision, new.bytes().clone()));
                }
                None => {
                    disk.objects.remove(&change.key);
                }
            }
        }
        Ok(())
    }

    /// [`Store::load`] without a future.
    pub fn load_now(&self, each: &mut dyn FnMut(Record)) -> Revision {
        let disk = self.disk();
        for (key, (revision, bytes)) in &disk.objects {
            each(Record { key: key.clone(), revision: *revision, bytes: bytes.clone() });
        }
        disk.revision
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    fn check(&self) -> Result<(), StoreError> {
        if self.failing { Err(StoreError::new("writing to memory", "told to fail")) } else { Ok(()) }
    }
}

impl Store for MemoryStore {
    async fn load(&mut self, each: &mut (dyn FnMut(Record) + Send)) -> Result<Revision, StoreError> {
        Ok(self.load_now(each))
    }

    async fn commit(&mut self, changes: &[Arc<Change>]) -> Result<(), StoreError> {
        self.commit_now(changes)
    }

    async fn put_blob(&mut self, digest: &str, bytes: Bytes) -> Result<(), StoreError> {
        let mut disk = self.disk();
        disk.check()?;
        disk.blobs.insert(digest.to_owned(), bytes);
        Ok(())
    }

    async fn get_blob(&mut self, digest: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.disk().blobs.get(digest).cloned())
    }

    async fn delete_blob(&mut self, digest: &str) -> Result<(), StoreError> {
        let mut disk = self.disk();
        disk.check()?;
        disk.blobs.remove(digest);
        Ok(())
    }

    async fn close(self) -> Result<(), StoreError> {
        Ok(())
    }
}
