//! The index: which name points to which manifest. One small file, replaced as a whole.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::staging::Staging;
use crate::{Digest, ImageError};

const FILE: &str = "index.json";
/// The format's number; a store of another format is refused, not guessed at.
const VERSION: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Index {
    version: u32,
    /// Full names, or the manifest's digest itself for an image without a name.
    pub(crate) references: BTreeMap<String, Digest>,
}

impl Index {
    pub(crate) fn read(root: &Path) -> Result<Index, ImageError> {
        let path = root.join(FILE);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Index { version: VERSION, references: BTreeMap::new() });
            }
            result => result.map_err(ImageError::io("read", &path))?,
        };
        let index: Index = crate::manifest::parse(&format!("image index {}", path.display()), &bytes)?;
        if index.version != VERSION {
            let detail = format!("format {} is unknown, this berth writes {VERSION}", index.version);
            return Err(ImageError::InvalidDocument {
                what: format!("image index {}", path.display()),
                detail,
            });
        }
        Ok(index)
    }

    /// Changes the index while nobody else does; it is on disk when this returns.
    pub(crate) fn update<T>(root: &Path, change: impl FnOnce(&mut Index) -> T) -> Result<T, ImageError> {
        let _lock = lock(root, "index.lock", FlockArg::LockExclusive)?;
        let mut index = Index::read(root)?;
        let result = change(&mut index);
        let bytes = serde_json::to_vec_pretty(&index).map_err(|error| ImageError::InvalidDocument {
            what: "image index".to_owned(),
            detail: error.to_string(),
        })?;
        write_durably(root, &root.join(FILE), &bytes)?;
        Ok(result)
    }
}

/// Writes a file so that it is there completely, or as it was before, whatever happens.
pub(crate) fn write_durably(root: &Path, target: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    let staging = Staging::new(root)?;
    let path = staging.path().join("file");
    let mut file = File::create(&path).map_err(ImageError::io("create", &path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(ImageError::io("write", &path))?;
    fs::rename(&path, target).map_err(ImageError::io("create", target))?;
    let dir = target.parent().unwrap_or(root);
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(ImageError::io("sync", dir))
}

/// Locks one of the store's lock files; released on drop, or by the kernel when the process dies.
pub(crate) fn lock(root: &Path, name: &str, how: FlockArg) -> Result<Flock<File>, ImageError> {
    let path = root.join(name);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(ImageError::io("open", &path))?;
    Flock::lock(file, how).map_err(|(_, error)| ImageError::io("lock", path)(error.into()))
}
