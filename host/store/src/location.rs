//! Where the store is, that only its owner can read it, and that only one berth has it.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use berth_state::StoreError;

/// Secrets are in it: nobody but the owner may look.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A location that cannot be used.
#[derive(Debug, thiserror::Error)]
enum LocationError {
    #[error("only sqlite:<path> is supported")]
    Scheme,
    #[error("the path is empty")]
    Empty,
    #[error("another berth is using it")]
    Locked,
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
    let opened = open_private(path).and_then(|file| file.set_permissions(Permissions::from_mode(FILE_MODE)));
    opened.map_err(|error| StoreError::new(format!("opening the store {}", path.display()), error))
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

fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)
}

#[cfg(test)]
mod tests {
    use super::path_of;

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
