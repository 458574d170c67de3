//! The files of an archive of images, in a directory or staged from a stream.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::compression::decompress;
use crate::digest::Digesting;
use crate::error::{ARCHIVE, plain};
use crate::headers::Budget;
use crate::manifest::{DOCUMENT_BYTES_MAX, Descriptor};
use crate::meter::{Exceeded, Space};
use crate::{Digest, ImageError, names};

/// The most entries of an archive: a few per layer and image.
const ENTRIES_MAX: usize = 100_000;
/// The most bytes of an archive, decompressed; it is staged on disk before it is believed.
const ARCHIVE_BYTES_MAX: u64 = 256 << 30;
/// The longest name of an entry, in bytes: the kernel takes no longer ones.
const NAME_BYTES_MAX: usize = 4096;
/// The most bytes of all names together: they are held in memory.
const NAMES_BYTES_MAX: usize = 16 << 20;
/// How much of an archive is written between two looks at the disk.
const COPY_BYTES: usize = 256 << 10;
/// How many links lead from one name to another (old `docker save` shares layers that way).
const LINKS_MAX: usize = 8;

/// The archive's files by name.
pub(crate) enum Files {
    Directory(PathBuf),
    Staged { files: BTreeMap<PathBuf, (PathBuf, Digest)>, links: BTreeMap<PathBuf, PathBuf> },
}

impl Files {
    fn find(&self, name: &str) -> Result<Option<(PathBuf, Option<Digest>)>, ImageError> {
        let bad = || ImageError::BrokenArchive {
            detail: format!("the name {:?} leads outside the archive", plain(name)),
        };
        let mut path = names::clean(Path::new(name)).ok_or_else(bad)?;
        match self {
            Files::Directory(root) => Ok(Some((root.join(path), None)).filter(|(path, _)| path.is_file())),
            Files::Staged { files, links } => {
                for _ in 0..LINKS_MAX {
                    match links.get(&path) {
                        Some(target) => path.clone_from(target),
                        None => break,
                    }
                }
                Ok(files.get(&path).map(|(file, digest)| (file.clone(), Some(*digest))))
            }
        }
    }

    pub(crate) fn require(&self, name: &str) -> Result<(PathBuf, Option<Digest>), ImageError> {
        self.find(name)?.ok_or_else(|| ImageError::MissingFile { name: plain(name) })
    }

    pub(crate) fn document(&self, name: &str) -> Result<Option<Vec<u8>>, ImageError> {
        self.find(name)?.map(|(path, _)| read_document(name, &path)).transpose()
    }

    /// The blob a descriptor names, whose digest is checked.
    pub(crate) fn blob(&self, descriptor: &Descriptor) -> Result<PathBuf, ImageError> {
        let name = format!("blobs/sha256/{}", descriptor.digest.hex());
        let (path, known) = self.require(&name)?;
        let actual = match known {
            Some(digest) => digest,
            None => digest_of(&path)?,
        };
        if actual != descriptor.digest {
            return Err(ImageError::WrongDigest { what: name, expected: descriptor.digest, actual });
        }
        let size = fs::metadata(&path).map_err(ImageError::io("read", &path))?.len();
        descriptor.check_size(&name, size)?;
        Ok(path)
    }

    pub(crate) fn blob_document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ImageError> {
        let path = self.blob(descriptor)?;
        read_document(&format!("blob {}", descriptor.digest), &path)
    }
}

pub(crate) fn read_document(name: &str, path: &Path) -> Result<Vec<u8>, ImageError> {
    let file = File::open(path).map_err(ImageError::io("open", path))?;
    let mut bytes = Vec::new();
    file.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(ImageError::io("read", path))?;
    if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
        return Err(ImageError::TooLarge {
            what: name.to_owned(),
            limit: format!("{} MiB", DOCUMENT_BYTES_MAX >> 20),
        });
    }
    Ok(bytes)
}

pub(crate) fn digest_of(path: &Path) -> Result<Digest, ImageError> {
    let mut file = Digesting::new(File::open(path).map_err(ImageError::io("open", path))?);
    io::copy(&mut file, &mut io::sink()).map_err(ImageError::io("read", path))?;
    Ok(file.finish().1)
}

/// Writes the archive's regular files under numbered names into `dir`: its own names never touch the file system.
pub(crate) fn extract(reader: impl Read, dir: &Path) -> Result<Files, ImageError> {
    let broken = |error: io::Error| ImageError::broken(ARCHIVE, &error);
    let stream = decompress(ARCHIVE, "", reader)?;
    let (budget, spender) = Budget::new(stream.take(ARCHIVE_BYTES_MAX));
    let mut archive = tar::Archive::new(budget);
    let (mut files, mut links) = (BTreeMap::new(), BTreeMap::new());
    let (mut bytes, mut names_bytes) = (0, 0);
    let mut space = Space::new(dir);
    space.check_room(0).map_err(no_room)?;
    let mut entries = archive.entries().map_err(broken)?;
    for number in 0.. {
        spender.headers();
        let Some(entry) = entries.next() else { break };
        spender.content();
        if number >= ENTRIES_MAX {
            return Err(ImageError::TooLarge {
                what: ARCHIVE.into(),
                limit: format!("{ENTRIES_MAX} entries"),
            });
        }
        let mut entry = entry.map_err(broken)?;
        let given = entry.path().map_err(broken)?.into_owned();
        let name_bytes = given.as_os_str().len();
        names_bytes += name_bytes;
        if name_bytes > NAME_BYTES_MAX || names_bytes > NAMES_BYTES_MAX {
            let limit = format!("{NAME_BYTES_MAX} bytes of a name, and {} MiB of all", NAMES_BYTES_MAX >> 20);
            return Err(ImageError::TooLarge { what: ARCHIVE.into(), limit });
        }
        let outside =
            |what: &Path| ImageError::BrokenArchive { detail: format!("{what:?} leads outside the archive") };
        let name = names::clean(&given).ok_or_else(|| outside(&given))?;
        let kind = entry.header().entry_type();
        if kind.is_symlink() || kind.is_hard_link() {
            let target = entry.link_name().map_err(broken)?.unwrap_or_default().into_owned();
            let from = if kind.is_symlink() { name.parent() } else { None };
            names_bytes += target.as_os_str().len();
            let target = join(from.unwrap_or(Path::new("")), &target).ok_or_else(|| outside(&target))?;
            links.insert(name, target);
        } else if kind.is_file() {
            let path = dir.join(number.to_string());
            let file = File::create_new(&path).map_err(ImageError::io("create", &path))?;
            let mut file = Digesting::new(file);
            let size = entry.size();
            loop {
                let part = (&mut entry).take(COPY_BYTES as u64);
                // Reading and writing fail alike here: what the system says tells which it was.
                let count = io::copy(&mut { part }, &mut file).map_err(broken)?;
                bytes += count;
                space.bytes(count).map_err(no_room)?;
                if count == 0 {
                    break;
                }
            }
            let (_, digest, written) = file.finish();
            if written != size {
                return Err(ImageError::BrokenArchive { detail: format!("{given:?} ends early") });
            }
            files.insert(name, (path, digest));
        }
        if bytes >= ARCHIVE_BYTES_MAX {
            let limit = format!("{} GiB", ARCHIVE_BYTES_MAX >> 30);
            return Err(ImageError::TooLarge { what: ARCHIVE.into(), limit });
        }
    }
    Ok(Files::Staged { files, links })
}

fn no_room(exceeded: Exceeded) -> ImageError {
    exceeded.into_error(ARCHIVE.to_owned())
}

/// `from/target` without `..`; `None` when it leads out.
fn join(from: &Path, target: &Path) -> Option<PathBuf> {
    if target.is_absolute() {
        return None;
    }
    let mut joined = from.to_owned();
    for component in target.components() {
        match component {
            std::path::Component::ParentDir => joined.pop().then_some(())?,
            std::path::Component::Normal(name) => joined.push(name),
            _ => {}
        }
    }
    Some(joined)
}
