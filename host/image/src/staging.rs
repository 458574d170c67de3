//! Places to write things that are not complete yet.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ImageError;

/// Makes names unique within the process; the process id does it between processes.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A directory under the store's `tmp/` that is removed with what is still in it.
#[derive(Debug)]
pub(crate) struct Staging(PathBuf);

impl Staging {
    /// Makes one below the store's root. The caller holds the lock of [`Writing`](crate::store::Writing), or that of the
    /// garbage collection.
    pub(crate) fn new(root: &Path) -> Result<Staging, ImageError> {
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = root.join("tmp").join(name);
        fs::create_dir_all(&path).map_err(ImageError::io("create", &path))?;
        Ok(Staging(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "image store: cannot remove temporary files");
        }
    }
}
