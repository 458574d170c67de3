//! Files of keys and certificates: written whole or not at all, readable by those who may, and never through a link.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::PkiError;

/// The mode of a certificate.
pub(super) const PUBLIC: u32 = 0o644;
/// The mode of a key.
pub(super) const PRIVATE: u32 = 0o600;

/// Makes a directory; one that is there must be one, and not a link to another.
pub(super) fn make_directory(path: &Path) -> Result<(), PkiError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    let found = made.and_then(|()| std::fs::symlink_metadata(path)).map_err(|source| file(path, source))?;
    if found.is_dir() { Ok(()) } else { Err(file(path, std::io::ErrorKind::NotADirectory.into())) }
}

pub(super) fn exists(path: &Path) -> Result<bool, PkiError> {
    path.try_exists().map_err(|source| file(path, source))
}

pub(super) fn read(path: &Path) -> Result<String, PkiError> {
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path);
    opened.and_then(std::io::read_to_string).map_err(|source| file(path, source))
}

/// Writes beside the file and renames: who reads sees the old one or the new one, and so does who starts after a
/// crash.
pub(super) fn write(path: &Path, contents: &[u8], mode: u32) -> Result<(), PkiError> {
    let beside = path.with_extension("new");
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&beside)
        .and_then(|mut new| new.write_all(contents).and_then(|()| new.sync_all()));
    written.map_err(|source| file(&beside, source))?;
    std::fs::rename(&beside, path).map_err(|source| file(path, source))
}

fn file(path: &Path, source: std::io::Error) -> PkiError {
    PkiError::File { path: path.to_owned(), source }
}
