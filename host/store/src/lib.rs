//! The durable store: SQLite behind [`berth_state::Store`].
//!
//! One file in WAL mode with `synchronous=FULL`, one connection, one transaction a commit: what was acknowledged is on
//! disk. It knows nothing of kinds: keys, revisions and bytes go in and come out. Blobs are files beside it.

mod blobs;
mod format;
mod location;
mod rows;
mod transform;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use berth_state::{Blobs, Change, Entry, Record, Refused, Revision, Store, StoreError};
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use blobs::{BlobFiles, SharedBlobs};

pub use transform::{Plain, Transform};

/// Pages after which SQLite copies the write-ahead log into the database: 16 MiB of log, so that a burst of writes
/// is not interrupted every few hundred of them, and a restart has little to replay.
const CHECKPOINT_PAGES: u32 = 4096;

/// Pages that SQLite keeps in memory, in KiB, as far as there are any: a pod is written again within a second or two of its
/// making, with its node and then its status, and should not have to be read back for that. SQLite's own 2 MB hold 500 pods.
const CACHE_KIB: u32 = 16 * 1024;

/// To how much the log file is cut back after a checkpoint, when a burst made it longer.
const LOG_BYTES_MAX: u64 = 64 << 20;

/// Commits between two looks at free pages.
const COMMITS_PER_VACUUM: u32 = 4096;

/// Free pages given back to the file system at a time (4 MiB), so that no commit waits long for it.
const VACUUM_PAGES: u32 = 1024;

/// A store in one SQLite file, with its blobs in the directory `<file>.blobs`: a backup takes both.
///
/// The file is readable by its owner only, a directory made for it too. A lock beside it (`<file>.lock`) keeps a second
/// berth out; the kernel releases it with the process.
pub struct SqliteStore {
    path: PathBuf,
    connection: SqliteConnection,
    transform: Box<dyn Transform>,
    blobs: Arc<BlobFiles>,
    commits_since_vacuum: u32,
    _lock: File,
}

impl SqliteStore {
    /// Opens the store at `location`, a path or `sqlite:<path>`; makes it, with its directory, when it is not there.
    ///
    /// # Errors
    /// When another berth has it open, when it is no database of berth's, is damaged, or was written by a newer berth.
    pub async fn open(location: &str) -> Result<Self, StoreError> {
        Self::open_with(location, Box::new(Plain)).await
    }

    /// [`SqliteStore::open`] with what is done to values on their way to and from the disk.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub async fn open_with(location: &str, transform: Box<dyn Transform>) -> Result<Self, StoreError> {
        let path = location::path_of(location)?;
        location::prepare(&path)?;
        let lock = location::lock(&path)?;
        let failed = |error: sqlx::Error| StoreError::new(opening(&path, &error), error);
        let mut connection = options(&path).connect().await.map_err(failed)?;
        format::check_and_migrate(&mut connection, &path, format::MIGRATIONS).await?;
        let blobs = BlobFiles::beside(&path)?;
        Ok(Self { path, connection, transform, blobs, commits_since_vacuum: 0, _lock: lock })
    }

    /// Whether there is a database at `location`. Makes nothing.
    ///
    /// # Errors
    /// When the location is none.
    pub fn exists(location: &str) -> Result<bool, StoreError> {
        Ok(location::path_of(location)?.exists())
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives a bounded number of free pages back to the file system, now and then.
    async fn vacuum(&mut self) -> Result<(), sqlx::Error> {
        self.commits_since_vacuum += 1;
        if self.commits_since_vacuum < COMMITS_PER_VACUUM {
            return Ok(());
        }
        self.commits_since_vacuum = 0;
        let statement = format!("PRAGMA incremental_vacuum({VACUUM_PAGES})");
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut self.connection).await.map(drop)
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // The lock file keeps others out; without shared memory for readers SQLite does less for each commit.
        .locking_mode(SqliteLockingMode::Exclusive)
        .pragma("cache_size", format!("-{CACHE_KIB}"))
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
        .pragma("journal_size_limit", LOG_BYTES_MAX.to_string())
        .disable_statement_logging()
}

fn opening(path: &Path, error: &sqlx::Error) -> String {
    let path = path.display();
    let code = error.as_database_error().and_then(|e| e.code()).unwrap_or_default();
    match code.as_ref() {
        "26" => format!("{path} is not a database; give another path, or move the file away"),
        "11" => format!("the store {path} is damaged; restore a backup of it"),
        "5" => format!("the store {path} is in use by another program"),
        _ => format!("opening the store {path}"),
    }
}

impl Store for SqliteStore {
    async fn load(&mut self, each: &mut (dyn FnMut(Record) + Send)) -> Result<Revision, StoreError> {
        rows::load(&mut self.connection, self.transform.as_ref(), each)
            .await
            .map_err(|error| error.in_store("reading", &self.path))
    }

    async fn commit(&mut self, head: Revision, changes: &[Arc<Change>]) -> Result<(), Refused> {
        let Some(last) = changes.last() else { return Ok(()) };
        let net = rows::NetChanges::of(changes, self.transform.as_ref());
        match rows::write(&mut self.connection, net, head, last.revision).await {
            Ok(()) => {}
            Err(error) if error.is_behind() => return Err(Refused::Behind),
            Err(error) => return Err(error.in_store("writing to", &self.path).into()),
        }
        if let Err(error) = self.vacuum().await {
            tracing::warn!(store = %self.path.display(), %error, "free space could not be given back");
        }
        Ok(())
    }

    /// Nobody else writes to the file, so there is nothing after the head; what came before is known as objects only.
    async fn changes_after(&mut self, revision: Revision) -> Result<Option<Vec<Entry>>, StoreError> {
        let head = rows::head(&mut self.connection).await;
        let head = head.map_err(|error| error.in_store("reading", &self.path))?;
        Ok((revision >= head).then(Vec::new))
    }

    async fn changed(&mut self) {
        std::future::pending().await
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn blobs(&self) -> Arc<dyn Blobs> {
        Arc::new(SharedBlobs(self.blobs.clone()))
    }

    async fn close(self) -> Result<(), StoreError> {
        let failed = |error| StoreError::new(format!("closing the store {}", self.path.display()), error);
        self.connection.close().await.map_err(failed)
    }
}
