//! Compiled components on disk, so that a restart does not compile again.
//!
//! Loading compiled code means running it with the host's rights: the directory and its files must belong to this user, and
//! nobody else may write them. What is damaged or not trusted is left alone and compiled anew; the cache never makes a load fail.

use crate::component::Digest;
use sha2::Digest as _;
use std::fs::{DirBuilder, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use wasmtime::component::Component;

/// Files kept. A cluster has a handful of plugins; twice their versions is generous, and 100 KB each.
const FILES_MAX: usize = 32;

/// Bytes of SHA-256 before the compiled code: tells a damaged file from a whole one.
const CHECKSUM_BYTES: usize = 32;

/// Largest file read.
const FILE_BYTES_MAX: u64 = CHECKSUM_BYTES as u64 + crate::limits::COMPILED_BYTES_MAX;

/// Permission bits that would let another user change the code.
const OTHERS_MAY_WRITE: u32 = 0o022;

/// A directory of compiled components.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// Opens or makes a directory that only this user may enter.
    ///
    /// # Errors
    /// When it cannot be made, or somebody else owns it or may write to it.
    pub fn open(directory: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let metadata = std::fs::symlink_metadata(directory)?;
        if !metadata.is_dir() || !is_trusted(&metadata) {
            let message = format!("{}: only this user may be able to write here", directory.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        Ok(Self { directory: directory.to_owned() })
    }

    /// The compiled component, when this engine has stored it.
    pub(crate) fn get(&self, engine: &wasmtime::Engine, digest: &Digest) -> Option<Component> {
        let path = self.path(engine, digest);
        let code = match read(&path) {
            Ok(code) => code?,
            Err(error) => {
                tracing::warn!(path = %path.display(), "a compiled component is not used: {error}");
                return None;
            }
        };
        // SAFETY: the file belongs to this user, nobody else can write it or its directory, and its checksum says that it is
        // what `put` wrote: the answer of `Component::serialize` of an engine of the same version and configuration.
        match unsafe { Component::deserialize(engine, &code) } {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(path = %path.display(), "a compiled component is not used: {error:#}");
                None
            }
        }
    }

    /// Stores a compiled component.
    pub(crate) fn put(&self, engine: &wasmtime::Engine, digest: &Digest, component: &Component) {
        let path = self.path(engine, digest);
        let stored = component.serialize().map_err(|error| io::Error::other(format!("{error:#}")));
        if let Err(error) = stored.and_then(|code| write(&path, &code)).and_then(|()| self.shrink()) {
            tracing::warn!(path = %path.display(), "a compiled component is not stored: {error}");
        }
    }

    /// The name holds all that the code depends on: the component, and the engine's version and configuration.
    fn path(&self, engine: &wasmtime::Engine, digest: &Digest) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        self.directory.join(format!("{digest}-{:016x}.cwasm", hasher.finish()))
    }

    /// Removes the oldest files past the limit.
    fn shrink(&self) -> io::Result<()> {
        let mut files: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            files.push((entry.metadata()?.modified()?, entry.path()));
        }
        files.sort();
        let surplus = files.len().saturating_sub(FILES_MAX);
        files.drain(..surplus).try_for_each(|(_, path)| std::fs::remove_file(path))
    }
}

/// Whether this user owns a file or directory and nobody else may write it.
fn is_trusted(metadata: &std::fs::Metadata) -> bool {
    // SAFETY: has no preconditions and cannot fail.
    let user = unsafe { libc::geteuid() };
    metadata.uid() == user && metadata.mode() & OTHERS_MAY_WRITE == 0
}

/// The code in a file; none when there is no file.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() || !is_trusted(&metadata) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "somebody else may write it"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    match bytes.split_at_checked(CHECKSUM_BYTES) {
        Some((checksum, code)) if *checksum == *sha2::Sha256::digest(code) => Ok(Some(code.to_vec())),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it is damaged")),
    }
}

/// Writes a whole file or none.
fn write(path: &Path, code: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file: File =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(&sha2::Sha256::digest(code))?;
    file.write_all(code)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)
}
