//! Blobs as files beside the database, named after their digests: a component of 30 MiB delays no commit, and is read without
//! SQLite's thread.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use berth_state::{BlobFuture, Blobs, StoreError};
use bytes::Bytes;
use sqlx::{Row, SqliteConnection};

use crate::location::{DIRECTORY_MODE, FILE_MODE, beside};

/// What is being written; whatever bears the ending when a store is opened was left by a process that died.
const PARTIAL: &str = ".partial";

/// A digest that cannot name a file.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is no digest")]
struct NoDigest(String);

/// The directory `<database>.blobs`, made when there is something to keep.
#[derive(Debug)]
pub(crate) struct BlobFiles {
    directory: PathBuf,
    written: AtomicU64,
}

impl BlobFiles {
    /// The blobs of the store at `path`; removes what an earlier process did not finish.
    pub(crate) fn beside(path: &Path) -> Result<Arc<Self>, StoreError> {
        let directory = beside(path, ".blobs");
        let swept = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(entries) => entries.into_iter().try_for_each(|entry| {
                let path = entry?.path();
                let is_partial = path.to_string_lossy().ends_with(PARTIAL);
                if is_partial { fs::remove_file(path) } else { Ok(()) }
            }),
        };
        swept.map_err(|error| StoreError::new(format!("opening {}", directory.display()), error))?;
        Ok(Arc::new(Self { directory, written: AtomicU64::default() }))
    }

    fn file(&self, digest: &str) -> Result<PathBuf, StoreError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b':';
        if digest.is_empty() || !digest.bytes().all(is_plain) {
            return Err(StoreError::new("naming a blob", NoDigest(digest.to_owned())));
        }
        Ok(self.directory.join(digest.replace(':', "-")))
    }

    /// Durable, or not there: the name appears when every byte is on the disk.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if fs::read(path).is_ok_and(|found| found == bytes) {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&self.directory)?;
        // Two that keep the same blob at once must not write into one file.
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let partial = beside(path, &format!(".{number}{PARTIAL}"));
        let written = write_private(&partial, bytes).and_then(|()| fs::rename(&partial, path));
        if written.is_err() {
            // What is left is removed when the store is opened again.
            let _ = fs::remove_file(&partial);
        }
        written.and_then(|()| File::open(&self.directory)?.sync_all())
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Does it where it holds nobody up.
async fn blocking<T: Send + 'static>(
    context: String,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) if error.kind() == io::ErrorKind::StorageFull => {
            Err(StoreError::new(format!("{context}: its disk is full, make room"), error))
        }
        Ok(Err(error)) => Err(StoreError::new(context, error)),
        Err(panic) => Err(StoreError::new(context, panic)),
    }
}

/// A file that is not there is as good as none.
fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The handle that is given out.
#[derive(Clone, Debug)]
pub(crate) struct SharedBlobs(pub(crate) Arc<BlobFiles>);

impl Blobs for SharedBlobs {
    fn put<'a>(&'a self, digest: &'a str, bytes: Bytes) -> BlobFuture<'a, ()> {
        Box::pin(async move {
            let (files, path) = (self.0.clone(), self.0.file(digest)?);
            let context = format!("writing {}", path.display());
            blocking(context, move || files.write(&path, &bytes)).await
        })
    }

    fn get<'a>(&'a self, digest: &'a str) -> BlobFuture<'a, Option<Bytes>> {
        Box::pin(async move {
            let path = self.0.file(digest)?;
            let context = format!("reading {}", path.display());
            blocking(context, move || absent_is_none(fs::read(path).map(Bytes::from))).await
        })
    }

    fn delete<'a>(&'a self, digest: &'a str) -> BlobFuture<'a, ()> {
        Box::pin(async move {
            let path = self.0.file(digest)?;
            let context = format!("deleting {}", path.display());
            blocking(context, move || absent_is_none(fs::remove_file(path))).await.map(drop)
        })
    }
}

/// Writes the blobs that a store of format 1 holds in a table to files; the migration drops the table afterwards. Whatever
/// interrupts it, it can be done again.
pub(crate) async fn move_out(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let failed = |error: sqlx::Error| {
        StoreError::new(format!("moving the blobs out of the store {}", path.display()), error)
    };
    let files = BlobFiles::beside(path)?;
    let digests: Vec<String> = sqlx::query_scalar("SELECT digest FROM blobs ORDER BY digest")
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    for digest in digests {
        let query = sqlx::query("SELECT value FROM blobs WHERE digest = ?").bind(digest.clone());
        let row = query.fetch_one(&mut *connection).await.map_err(failed)?;
        let bytes: Vec<u8> = row.try_get(0).map_err(failed)?;
        SharedBlobs(files.clone()).put(&digest, bytes.into()).await?;
    }
    Ok(())
}
