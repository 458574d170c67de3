//! Files of keys and certificates: written whole or not at all, readable by those who may.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::PkiError;

/// The mode of a certificate.
pub(super) const PUBLIC: u32 = 0o644;
/// The mode of a key.
pub(super) const PRIVATE: u32 = 0o600;

pub(super) fn make_directory(path: &Path) -> Result<(), PkiError> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| file(path, source))
}

pub(super) fn exists(path: &Path) -> Result<bool, PkiError> {
    path.try_exists().map_err(|source| file(path, source))
}

pub(super) fn read(path: &Path) -> Result<String, PkiError> {
    std::fs::read_to_string(path).map_err(|source| file(path, source))
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
        .open(&beside)
        .and_then(|mut new| new.write_all(contents).and_then(|()| new.sync_all()));
    written.map_err(|source| file(&beside, source))?;
    std::fs::rename(&beside, path).map_err(|source| file(path, source))
}

fn file(path: &Path, source: std::io::Error) -> PkiError {
    PkiError::File { path: path.to_owned(), source }
}
