//! Where the store is, that only its owner can read it, and that only one berth has it.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use berth_state::StoreError;

/// Secrets are in it: nobody but the owner may look.
pub(crate) const DIRECTORY_MODE: u32 = 0o700;
pub(crate) const FILE_MODE: u32 = 0o600;

/// A location that cannot be used.
#[derive(Debug, thiserror::Error)]
enum LocationError {
    #[error("only sqlite:<path> is supported")]
    Scheme,
    #[error("the path is empty")]
    Empty,
    #[error("another berth is using it")]
    Locked,
    #[error("it is a symbolic link; name the file that it leads to")]
    Link,
    #[error("it belongs to another user; name another file, or give it to the user that runs berth")]
    Foreign,
}

/// The file that `sqlite:<path>`, `sqlite://<path>` or a plain path names.
pub(crate) fn path_of(location: &str) -> Result<PathBuf, StoreError> {
    let failed = |error| StoreError::new(format!("the store location \"{location}\" cannot be used"), error);
    let path = match location.split_once(':') {
        Some(("sqlite", path)) => path.strip_prefix("//").unwrap_or(path),
        Some((scheme, _)) if !scheme.contains('/') => return Err(failed(LocationError::Scheme)),
        _ => location,
    };
    if path.is_empty() { Err(failed(LocationError::Empty)) } else { Ok(path.into()) }
}

/// Makes the directory and the file, both for the owner only. A directory that is there keeps its mode: it may be
/// shared with others.
pub(crate) fn prepare(path: &Path) -> Result<(), StoreError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory {
        let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory);
        made.map_err(|e| StoreError::new(format!("making the directory {}", directory.display()), e))?;
    }
    let context = || format!("opening the store {}", path.display());
    let file = match open_private(path) {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(StoreError::new(context(), LocationError::Link));
        }
        other => other.map_err(|error| StoreError::new(context(), error))?,
    };
    let owner = file.metadata().map_err(|error| StoreError::new(context(), error))?.uid();
    // SAFETY: plain system call.
    if owner != unsafe { libc::geteuid() } {
        return Err(StoreError::new(context(), LocationError::Foreign));
    }
    let changed = file.set_permissions(Permissions::from_mode(FILE_MODE));
    changed.map_err(|error| StoreError::new(context(), error))
}

/// Takes the lock beside the database; it is held as long as the file is open.
pub(crate) fn lock(path: &Path) -> Result<File, StoreError> {
    let lock_path = beside(path, ".lock");
    let failed = |error: io::Error| StoreError::new(format!("locking {}", lock_path.display()), error);
    let file = open_private(&lock_path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let context = format!("the store {} cannot be opened", path.display());
            Err(StoreError::new(context, LocationError::Locked))
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// `path` with `suffix` at its end.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Never through a link: somebody else may have made it.
fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
    options.custom_flags(libc::O_NOFOLLOW).open(path)
}

#[cfg(test)]
mod tests {
    use super::{lock, path_of, prepare};

    #[test]
    fn a_store_behind_a_link_is_refused_and_what_it_leads_to_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (store, elsewhere) = (directory.path().join("berth.db"), directory.path().join("elsewhere"));
        std::os::unix::fs::symlink(&elsewhere, &store).unwrap();
        let error = prepare(&store).unwrap_err().to_string();
        assert!(error.ends_with("it is a symbolic link; name the file that it leads to"), "{error}");
        std::os::unix::fs::symlink(&elsewhere, directory.path().join("other.db.lock")).unwrap();
        assert!(lock(&directory.path().join("other.db")).is_err());
        assert!(!elsewhere.exists());
    }

    #[test]
    fn locations() {
        for (location, path) in [
            ("sqlite:/var/lib/berth/state.db", Some("/var/lib/berth/state.db")),
            ("sqlite:///var/lib/berth/state.db", Some("/var/lib/berth/state.db")),
            ("sqlite:state.db", Some("state.db")),
            ("data/state.db", Some("data/state.db")),
            ("./odd:name.db", Some("./odd:name.db")),
            ("postgres://host/db", None),
            ("sqlite:", None),
            ("", None),
        ] {
            assert_eq!(path_of(location).ok().as_deref(), path.map(std::path::Path::new), "{location}");
        }
    }
}
