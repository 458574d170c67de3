//! The disk that all servers have: it takes its time, fails when it is told to, and remembers who wrote what.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use berth_state::{Blobs, Change, Entry, MemoryStore, Record, Refused, Revision, Store, StoreError};
use berth_tasks::Executor;

use crate::randomness::{Purpose, Random};

/// A commit takes about this long, in milliseconds.
const COMMIT_MS: i64 = 4;

/// The disk, and what the world wants to know of it.
#[derive(Clone)]
pub(crate) struct Disk {
    pub(crate) store: MemoryStore,
    control: Arc<Mutex<Control>>,
}

struct Control {
    random: Random,
    /// Who committed what, since the world asked last.
    committed: Vec<(usize, Vec<Arc<Change>>)>,
    /// The next commit is the last thing that its server does, for so many milliseconds.
    crash_after_commit: Option<i64>,
    crashed: Option<(usize, i64)>,
    /// After the next commit none succeeds any more.
    fills_up: bool,
    /// Of a thousand servers that look for what others wrote so many find that it is not known any more.
    forgetting_permille: u32,
}

impl Disk {
    pub(crate) fn new(seed: u64) -> Self {
        let control = Control {
            random: Random::new(seed, Purpose::Disk),
            committed: vec![],
            crash_after_commit: None,
            crashed: None,
            fills_up: false,
            forgetting_permille: 0,
        };
        Self { store: MemoryStore::new(), control: Arc::new(Mutex::new(control)) }
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who committed what, since this was asked last.
    pub(crate) fn take_committed(&self) -> Vec<(usize, Vec<Arc<Change>>)> {
        std::mem::take(&mut self.control().committed)
    }

    /// The server that died when its commit was durable, and for how long.
    pub(crate) fn take_crashed(&self) -> Option<(usize, i64)> {
        self.control().crashed.take()
    }

    pub(crate) fn crash_after_commit(&self, down_ms: Option<i64>) {
        self.control().crash_after_commit = down_ms;
    }

    pub(crate) fn fills_up_after_commit(&self) {
        self.control().fills_up = true;
    }

    pub(crate) fn set_forgetting(&self, permille: u32) {
        self.control().forgetting_permille = permille;
    }

    /// The disk as server number `server` has it open.
    pub(crate) fn open(&self, server: usize, is_shared: bool, executor: Executor) -> OpenDisk {
        OpenDisk { disk: self.clone(), server, is_shared, executor, store: self.store.clone() }
    }
}

/// The disk of one server.
pub(crate) struct OpenDisk {
    disk: Disk,
    server: usize,
    is_shared: bool,
    executor: Executor,
    store: MemoryStore,
}

impl Store for OpenDisk {
    async fn load(&mut self, each: &mut (dyn FnMut(Record) + Send)) -> Result<Revision, StoreError> {
        self.store.load(each).await
    }

    async fn commit(&mut self, head: Revision, changes: &[Arc<Change>]) -> Result<(), Refused> {
        let (before, after) = {
            let random = &mut self.disk.control().random;
            (random.delay_ms(COMMIT_MS), random.delay_ms(COMMIT_MS / 2))
        };
        self.executor.sleep(Duration::from_millis(before.unsigned_abs())).await;
        self.store.commit(head, changes).await?;
        let dies = {
            let mut control = self.disk.control();
            control.committed.push((self.server, changes.to_vec()));
            if std::mem::take(&mut control.fills_up) {
                self.store.set_failing(true);
            }
            let dies = control.crash_after_commit.take();
            control.crashed = dies.map(|down_ms| (self.server, down_ms));
            dies.is_some()
        };
        if dies {
            std::future::pending::<()>().await;
        }
        self.executor.sleep(Duration::from_millis(after.unsigned_abs())).await;
        Ok(())
    }

    async fn changes_after(&mut self, revision: Revision) -> Result<Option<Vec<Entry>>, StoreError> {
        let forgets = {
            let mut control = self.disk.control();
            let permille = control.forgetting_permille;
            control.random.chance(permille)
        };
        let entries = self.store.changes_after(revision).await?;
        Ok(entries.filter(|_| !forgets))
    }

    async fn changed(&mut self) {
        match self.is_shared {
            true => self.store.changed().await,
            false => std::future::pending().await,
        }
    }

    fn is_shared(&self) -> bool {
        self.is_shared
    }

    fn blobs(&self) -> Arc<dyn Blobs> {
        self.store.blobs()
    }

    async fn close(self) -> Result<(), StoreError> {
        self.store.close().await
    }
}
