//! Unpacking one layer's tar stream into a directory that overlayfs can use as a lower layer.
//!
//! Whiteouts (`.wh.<name>`) become character devices 0/0, opaque directories (`.wh..wh..opq`) get
//! `trusted.overlay.opaque=y`, as the OCI image specification's "layer.md" and the kernel's overlayfs.rst define them.
//! Device nodes are made as Docker makes them; what a container may do with them is the runtime's device policy.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, makedev, mkdirat, mknodat};
use nix::unistd::symlinkat;
use tar::{EntryType, Header};

use crate::attributes::Attributes;
use crate::hard_links::LateLink;
use crate::headers::Budget;
use crate::meter::{Exceeded, Meter};
use crate::names;
use crate::safe_dir::{Parent, PlaceError, SafeDir};
use crate::view::WalkError;

const COPY_BYTES: usize = 64 << 10;
/// The longest path of an entry, in bytes: the kernel takes no longer ones.
const PATH_BYTES_MAX: usize = 4000;
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// AUFS' own files in old images; no image content.
const AUFS: &[u8] = b".wh..wh.";

/// Why a layer was not unpacked.
#[derive(Debug)]
pub(crate) enum UnpackError {
    /// The stream ended early, is no tar, or could not be read.
    Stream(io::Error),
    /// An entry is refused, or the system refused to make it.
    Entry { path: PathBuf, reason: String },
    /// It takes more than it may.
    Exceeded(Exceeded),
    /// What it holds depends on the layers below, and they are not known yet.
    Below,
}

impl From<Exceeded> for UnpackError {
    fn from(exceeded: Exceeded) -> UnpackError {
        UnpackError::Exceeded(exceeded)
    }
}

/// Unpacks `stream` into the empty directory `target`. `below` are the directories of the layers below, the top-most
/// first; `None` when they are not known yet. Returns whether what was unpacked holds only on top of them.
pub(crate) fn unpack(
    stream: impl Read,
    target: &Path,
    below: Option<&[PathBuf]>,
    meter: Meter,
) -> Result<bool, UnpackError> {
    let (budget, spender) = Budget::new(stream);
    let mut archive = tar::Archive::new(budget);
    let dir = SafeDir::open(target, below).map_err(|error| UnpackError::Stream(error.into()))?;
    let mut unpacker = Unpacker { dir, meter, late_links: Vec::new(), hiding: BTreeSet::new() };
    let mut entries = archive.entries().map_err(UnpackError::Stream)?;
    loop {
        spender.headers();
        let Some(entry) = entries.next() else { break };
        let entry = entry.map_err(UnpackError::Stream)?;
        spender.content();
        unpacker.entry(entry)?;
    }
    unpacker.finish()
}

pub(crate) struct Unpacker {
    pub(crate) dir: SafeDir,
    pub(crate) meter: Meter,
    /// Hard links whose targets were not there yet.
    pub(crate) late_links: Vec<LateLink>,
    /// The directories that hold whiteouts, from the root, without links.
    hiding: BTreeSet<PathBuf>,
}

/// What is said of an entry that cannot be made.
pub(crate) struct Refusal<'a>(pub(crate) &'a Path);

impl Refusal<'_> {
    pub(crate) fn because(&self, reason: impl Into<String>) -> UnpackError {
        UnpackError::Entry { path: self.0.to_owned(), reason: reason.into() }
    }

    pub(crate) fn system(&self, error: Errno) -> UnpackError {
        self.because(explain(error))
    }

    pub(crate) fn place(&self, error: PlaceError) -> UnpackError {
        match error {
            PlaceError::Exceeded(exceeded) => UnpackError::Exceeded(exceeded),
            PlaceError::Walk(WalkError::Below) => UnpackError::Below,
            PlaceError::Walk(WalkError::System(error)) => self.system(error),
        }
    }
}

/// The system's word, and what it means for whoever has made the image or runs the node.
fn explain(error: Errno) -> String {
    let why = match error {
        Errno::ENOTDIR => {
            "its path leads through what is a file, in this layer or below: build the image again"
        }
        Errno::ELOOP => {
            "its path leads through more than 40 symbolic links, or through a link to itself: build the image again"
        }
        Errno::ENAMETOOLONG => "a part of its path is longer than this node's file system takes",
        Errno::EINVAL => "the system takes no such name or attribute: build the image again",
        Errno::ENOSPC | Errno::EDQUOT => {
            "the file system of the data directory is full: make room, or remove images that nobody needs"
        }
        Errno::EPERM | Errno::EACCES => "berth lacks the right to make it: it has to run as root",
        Errno::EOPNOTSUPP => {
            "the file system of the data directory cannot hold it: use one such as ext4 or xfs"
        }
        _ => return error.desc().to_owned(),
    };
    format!("{} ({})", why, error.desc())
}

impl Unpacker {
    fn entry<R: Read>(&mut self, mut entry: tar::Entry<'_, R>) -> Result<(), UnpackError> {
        self.meter.check_cancelled()?;
        let given = entry.path().map_err(UnpackError::Stream)?.into_owned();
        let refusal = Refusal(&given);
        let path = clean(&given).map_err(|reason| refusal.because(reason))?;
        let kind = kind(&entry, &given);
        if kind.is_pax_global_extensions() {
            return Ok(()); // Comments for the whole archive (git archive); nothing about files.
        }
        check_sparse(&mut entry).map_err(|reason| refusal.because(reason))?;
        let attributes = Attributes::of_entry(&mut entry).map_err(|reason| refusal.because(reason))?;
        if path.as_os_str().is_empty() {
            return if kind.is_dir() {
                self.root(&attributes, &refusal)
            } else {
                Err(refusal.because("no name"))
            };
        }
        self.meter.file()?;
        if path.file_name().is_some_and(|name| name.as_bytes().starts_with(WHITEOUT)) {
            let place = self.dir.existing_parent(&path, &mut self.meter);
            // Where there is no directory, there is nothing to hide in it.
            let Some((parent, name)) = place.map_err(|error| refusal.place(error))? else { return Ok(()) };
            return self.whiteout(&parent, &name, &path).map_err(|error| refusal.system(error));
        }
        let (parent, name) = self.dir.parent(&path, &mut self.meter).map_err(|error| refusal.place(error))?;
        let system = |error| refusal.system(error);
        match kind {
            EntryType::Directory => {
                let path = parent.path.join(&name);
                self.directory(&parent, &name).map_err(system)?;
                self.dir.remember_time(path, attributes.mtime).map_err(|error| refusal.place(error))?;
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.make_room(&parent, &name).map_err(system)?;
                self.file(&parent.fd, &name, &refusal, entry)?;
            }
            EntryType::Symlink => {
                let target = link_target(&entry).map_err(|reason| refusal.because(reason))?;
                self.make_room(&parent, &name).map_err(system)?;
                symlinkat(target.as_path(), &*parent.fd, &*name).map_err(system)?;
            }
            EntryType::Link => {
                let target = link_target(&entry).map_err(|reason| refusal.because(reason))?;
                let target = clean(&target).map_err(|reason| {
                    refusal.because(format!("the target {target:?} of the hard link: {reason}"))
                })?;
                // Owner and mode are the target's.
                return self.hard_link(LateLink { given: given.clone(), path, target });
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                self.make_room(&parent, &name).map_err(system)?;
                node(&parent.fd, &name, entry.header()).map_err(|reason| refusal.because(reason))?;
            }
            other => {
                let kind = char::from(other.as_byte());
                return Err(refusal.because(format!("unsupported entry type {kind:?}")));
            }
        }
        attributes.apply(&parent.fd, &name, kind.is_symlink()).map_err(system)
    }

    /// Removes what an earlier entry put at this name.
    pub(crate) fn make_room(&mut self, parent: &Parent, name: &OsStr) -> nix::Result<()> {
        if names::look(&parent.fd, name)?.is_none() {
            return Ok(());
        }
        self.dir.forget();
        names::remove(&parent.fd, name)
    }

    /// Makes a directory, unless there is one. One that follows something else of this layer starts empty.
    fn directory(&mut self, parent: &Parent, name: &OsStr) -> nix::Result<()> {
        match names::look(&parent.fd, name)? {
            Some(found) if names::kind(&found) == SFlag::S_IFDIR => Ok(()),
            Some(_) => {
                self.make_room(parent, name)?;
                names::make_new(&parent.fd, name, true)
            }
            None => mkdirat(&*parent.fd, name, Mode::from_bits_truncate(0o700)),
        }
    }

    pub(crate) fn file(
        &mut self,
        parent: &OwnedFd,
        name: &OsStr,
        refusal: &Refusal<'_>,
        mut content: impl Read,
    ) -> Result<(), UnpackError> {
        let written = |error: io::Error| match error.raw_os_error() {
            Some(number) => refusal.system(Errno::from_raw(number)),
            None => refusal.because(error.to_string()),
        };
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(parent, name, flags, Mode::from_bits_truncate(0o600))
            .map_err(|error| refusal.system(error))?;
        let mut file = File::from(fd);
        let mut buffer = vec![0; COPY_BYTES];
        let mut length = 0_u64;
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(UnpackError::Stream(error)),
            };
            length += count as u64;
            self.meter.bytes(count as u64)?;
            // Zeros become a hole: an archive that promises terabytes of them fills no disk.
            let part = &buffer[..count];
            let done = if part.iter().all(|byte| *byte == 0) {
                file.seek(SeekFrom::Current(count as i64)).map(drop)
            } else {
                file.write_all(part)
            };
            done.map_err(written)?;
        }
        file.set_len(length).map_err(written)
    }

    fn whiteout(&mut self, parent: &Parent, name: &OsStr, path: &Path) -> nix::Result<()> {
        let name = name.as_bytes();
        if name == OPAQUE {
            return self.dir.seal(&parent.fd);
        }
        let hidden = OsStr::from_bytes(&name[WHITEOUT.len()..]);
        if name.starts_with(AUFS) || matches!(hidden.as_bytes(), b"" | b"." | b"..") {
            tracing::debug!(path = %path.display(), "layer: an entry of AUFS' own is left out");
            return Ok(());
        }
        match names::look(&parent.fd, hidden)? {
            // A whiteout hides lower layers only; what this layer itself holds stays.
            Some(found) if names::kind(&found) == SFlag::S_IFDIR => {
                let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let directory = openat(&*parent.fd, hidden, flags, Mode::empty())?;
                self.dir.seal(&directory)
            }
            Some(_) => Ok(()),
            // Where the layers below show nothing, there is nothing to hide.
            None if self.dir.is_sealed(parent)? => Ok(()),
            None => {
                self.dir.forget();
                self.hiding.insert(parent.path.clone());
                mknodat(&*parent.fd, hidden, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0))
            }
        }
    }

    fn root(&mut self, attributes: &Attributes, refusal: &Refusal<'_>) -> Result<(), UnpackError> {
        attributes.apply(self.dir.root(), OsStr::new("."), false).map_err(|error| refusal.system(error))?;
        self.dir.remember_time(PathBuf::new(), attributes.mtime).map_err(|error| refusal.place(error))
    }

    fn finish(mut self) -> Result<bool, UnpackError> {
        self.make_late_links()?;
        for path in &self.hiding {
            let refusal = Refusal(path);
            self.dir.drop_idle_whiteouts(path).map_err(|error| refusal.place(error.into()))?;
        }
        self.dir.set_times().map_err(|(path, error)| Refusal(&path).system(error))?;
        Ok(self.dir.depends_on_below())
    }
}

/// A path of an entry, relative to the root.
fn clean(path: &Path) -> Result<PathBuf, &'static str> {
    if path.as_os_str().len() > PATH_BYTES_MAX {
        return Err("the path is longer than 4000 bytes");
    }
    names::clean(path).ok_or("the path contains \"..\"")
}

/// Before POSIX a directory was a file whose name ends in a slash.
fn kind<R: Read>(entry: &tar::Entry<'_, R>, given: &Path) -> EntryType {
    let header = entry.header();
    match header.as_bytes()[156] {
        0 if given.as_os_str().as_bytes().ends_with(b"/") => EntryType::Directory,
        _ => header.entry_type(),
    }
}

/// Sparse files in the form of GNU's PAX records have a map where their content should begin.
fn check_sparse<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<(), String> {
    let Some(records) = entry.pax_extensions().map_err(|error| error.to_string())? else { return Ok(()) };
    let is_sparse = |key: &str| key.starts_with("GNU.sparse.");
    if records.filter_map(Result::ok).any(|record| record.key().is_ok_and(is_sparse)) {
        return Err(
            "a sparse file in the form of PAX is not supported: write the layer without --sparse".into()
        );
    }
    Ok(())
}

fn link_target<R: Read>(entry: &tar::Entry<'_, R>) -> Result<PathBuf, String> {
    let target = entry.link_name().map_err(|error| error.to_string())?;
    let target = target.filter(|target| !target.as_os_str().is_empty());
    target.map(|target| target.into_owned()).ok_or_else(|| "a link without a target".to_owned())
}

fn node(parent: &OwnedFd, name: &OsStr, header: &Header) -> Result<(), String> {
    let part = |value: io::Result<Option<u32>>| {
        Ok::<_, String>(value.map_err(|e| e.to_string())?.unwrap_or(0).into())
    };
    let (kind, device) = match header.entry_type() {
        EntryType::Fifo => (SFlag::S_IFIFO, 0),
        EntryType::Block => {
            (SFlag::S_IFBLK, makedev(part(header.device_major())?, part(header.device_minor())?))
        }
        _ => (SFlag::S_IFCHR, makedev(part(header.device_major())?, part(header.device_minor())?)),
    };
    mknodat(parent, name, kind, Mode::empty(), device).map_err(explain)
}
