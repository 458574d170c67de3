//! The store for simulations and tests.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use bytes::Bytes;

use crate::store::BlobFuture;
use crate::{Blobs, Change, Entry, Key, Record, Refused, Revision, Store, StoreError};

/// A store in memory. Clones share their contents: they are what several servers have open, and a server that a test lets die
/// leaves its "disk" behind.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    disk: Arc<Mutex<Disk>>,
    /// Up to where this server has looked.
    seen: Revision,
}

#[derive(Debug, Default)]
struct Disk {
    revision: Revision,
    objects: BTreeMap<Key, (Revision, Bytes)>,
    /// All that was ever written, in order.
    entries: Vec<Entry>,
    blobs: BTreeMap<String, Bytes>,
    waiting: Vec<Waker>,
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

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    fn check(&self) -> Result<(), StoreError> {
        if self.failing { Err(StoreError::new("writing to memory", "told to fail")) } else { Ok(()) }
    }

    fn take(&mut self, change: &Change) {
        let (key, revision) = (change.key.clone(), change.revision);
        let bytes = change.new.as_ref().map(|new| new.bytes().clone());
        self.revision = revision;
        match bytes.clone() {
            Some(bytes) => self.objects.insert(key.clone(), (revision, bytes)),
            None => self.objects.remove(&key),
        };
        self.entries.push(Entry { key, revision, bytes });
    }
}

impl Store for MemoryStore {
    async fn load(&mut self, each: &mut (dyn FnMut(Record) + Send)) -> Result<Revision, StoreError> {
        let disk = self.disk();
        for (key, (revision, bytes)) in &disk.objects {
            each(Record { key: key.clone(), revision: *revision, bytes: bytes.clone() });
        }
        let revision = disk.revision;
        drop(disk);
        self.seen = revision;
        Ok(revision)
    }

    async fn commit(&mut self, head: Revision, changes: &[Arc<Change>]) -> Result<(), Refused> {
        let mut disk = self.disk();
        disk.check()?;
        if disk.revision != head {
            return Err(Refused::Behind);
        }
        changes.iter().for_each(|change| disk.take(change));
        let (revision, waiting) = (disk.revision, std::mem::take(&mut disk.waiting));
        drop(disk);
        self.seen = revision;
        waiting.into_iter().for_each(Waker::wake);
        Ok(())
    }

    async fn changes_after(&mut self, revision: Revision) -> Result<Option<Vec<Entry>>, StoreError> {
        let disk = self.disk();
        let from = disk.entries.partition_point(|entry| entry.revision <= revision);
        let entries = Some(disk.entries[from..].to_vec());
        let seen = disk.revision;
        drop(disk);
        self.seen = seen;
        Ok(entries)
    }

    async fn changed(&mut self) {
        let seen = self.seen;
        poll_fn(|context| {
            let mut disk = self.disk();
            if disk.revision > seen {
                return Poll::Ready(());
            }
            disk.waiting.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn blobs(&self) -> Arc<dyn Blobs> {
        Arc::new(self.clone())
    }

    async fn close(self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Blobs for MemoryStore {
    fn put<'a>(&'a self, digest: &'a str, bytes: Bytes) -> BlobFuture<'a, ()> {
        Box::pin(async move {
            let mut disk = self.disk();
            disk.check()?;
            disk.blobs.insert(digest.to_owned(), bytes);
            Ok(())
        })
    }

    fn get<'a>(&'a self, digest: &'a str) -> BlobFuture<'a, Option<Bytes>> {
        Box::pin(async move { Ok(self.disk().blobs.get(digest).cloned()) })
    }

    fn delete<'a>(&'a self, digest: &'a str) -> BlobFuture<'a, ()> {
        Box::pin(async move {
            let mut disk = self.disk();
            disk.check()?;
            disk.blobs.remove(digest);
            Ok(())
        })
    }
}
