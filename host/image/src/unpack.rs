//! Unpacking one layer's tar stream into a directory that overlayfs can use as a lower layer.
//!
//! Whiteouts (`.wh.<name>`) become character devices 0/0, opaque directories (`.wh..wh..opq`) get
//! `trusted.overlay.opaque=y`, as the OCI image specification's "layer.md" and the kernel's overlayfs.rst define them.
//! Device nodes are made as Docker makes them; what a container may do with them is the runtime's device policy.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmodat, makedev, mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat, linkat, symlinkat};
use tar::{EntryType, Header};

use crate::safe_dir::{self, SafeDir};

/// The most entries of a layer; the largest images of the field have some hundred thousand.
const ENTRIES_MAX: usize = 5_000_000;
/// The most bytes of a layer, unpacked: more than any real one, less than a disk. Zeros cost nothing: they become holes.
const LAYER_BYTES_MAX: u64 = 256 << 30;
/// The most bytes an entry's headers (long names, PAX records, sparse maps) may take: they are held in memory.
const HEADER_BYTES_MAX: u64 = 1 << 20;
const COPY_BYTES: usize = 64 << 10;
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// AUFS' own files in old images; no image content.
const AUFS: &[u8] = b".wh..wh.";
const XATTR_PREFIX: &str = "SCHILY.xattr.";

/// Why a layer was not unpacked.
#[derive(Debug)]
pub(crate) enum UnpackError {
    /// The stream ended early, is no tar, or could not be read.
    Stream(io::Error),
    /// An entry is refused, or the system refused to make it.
    Entry { path: PathBuf, reason: String },
    /// A limit was passed.
    TooLarge(String),
}

/// Unpacks `stream` into the empty directory `target`. Returns the directories that have no entry of their own, parents
/// first: their owner and mode are a lower layer's business ([`inherit`]).
pub(crate) fn unpack(stream: impl Read, target: &Path) -> Result<BTreeSet<PathBuf>, UnpackError> {
    let (budget, spender) = Budget::new(stream);
    let mut archive = tar::Archive::new(budget);
    let dir = SafeDir::open(target).map_err(|error| UnpackError::Stream(error.into()))?;
    let mut unpacker = Unpacker { dir, bytes: 0, dir_times: Vec::new() };
    let mut entries = archive.entries().map_err(UnpackError::Stream)?;
    for count in 0.. {
        spender.headers();
        let Some(entry) = entries.next() else { break };
        let entry = entry.map_err(UnpackError::Stream)?;
        spender.content();
        if count >= ENTRIES_MAX {
            return Err(UnpackError::TooLarge(format!("{ENTRIES_MAX} entries")));
        }
        unpacker.entry(entry)?;
    }
    unpacker.finish()
}

/// Gives a directory that a layer only implied the owner, mode and time it has in the top-most of the layers below.
pub(crate) fn inherit(layer: &Path, dir: &Path, below: &[PathBuf]) -> Result<(), UnpackError> {
    let adopt = || {
        for lower in below {
            let Some(found) = SafeDir::open(lower)?.stat_dir(dir)? else { continue };
            let meta = Meta {
                uid: Uid::from_raw(found.st_uid),
                gid: Gid::from_raw(found.st_gid),
                mode: Mode::from_bits_truncate(found.st_mode & 0o7777),
                mtime: TimeSpec::new(found.st_mtime, found.st_mtime_nsec),
                xattrs: Vec::new(),
            };
            let (parent, name) = SafeDir::open(layer)?.existing_parent(dir)?;
            return apply(&parent, &name, &meta, false);
        }
        Ok(())
    };
    adopt().map_err(|error| UnpackError::Entry { path: dir.to_owned(), reason: error.desc().to_owned() })
}

/// A reader that refuses to go on once the budget for headers is used up.
pub(crate) struct Budget<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

/// The other end of a [`Budget`]: whoever reads an archive says what it reads.
pub(crate) struct Spender(Rc<Cell<u64>>);

impl<R> Budget<R> {
    pub(crate) fn new(inner: R) -> (Budget<R>, Spender) {
        let left = Rc::new(Cell::new(HEADER_BYTES_MAX));
        (Budget { inner, left: Rc::clone(&left) }, Spender(left))
    }
}

impl Spender {
    /// An entry's headers come next.
    pub(crate) fn headers(&self) {
        self.0.set(HEADER_BYTES_MAX);
    }

    /// Its content comes next.
    pub(crate) fn content(&self) {
        self.0.set(u64::MAX);
    }
}

impl<R: Read> Read for Budget<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 && !buffer.is_empty() {
            return Err(io::Error::other(format!(
                "an entry's headers are larger than {HEADER_BYTES_MAX} bytes"
            )));
        }
        let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.inner.read(&mut buffer[..length])?;
        self.left.set(left - count as u64);
        Ok(count)
    }
}

struct Unpacker {
    dir: SafeDir,
    bytes: u64,
    /// Directories get their times last: making their entries changes them.
    dir_times: Vec<(PathBuf, TimeSpec)>,
}

/// What an entry's headers say about owner, mode and time.
struct Meta {
    uid: Uid,
    gid: Gid,
    mode: Mode,
    mtime: TimeSpec,
    xattrs: Vec<(String, Vec<u8>)>,
}

impl Unpacker {
    fn entry<R: Read>(&mut self, mut entry: tar::Entry<'_, R>) -> Result<(), UnpackError> {
        let given = entry.path().map_err(UnpackError::Stream)?.into_owned();
        let refuse = |reason: String| UnpackError::Entry { path: given.clone(), reason };
        let path = safe_dir::clean(&given).ok_or_else(|| refuse("the path contains \"..\"".into()))?;
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            return Ok(()); // Comments for the whole archive (git archive); nothing about files.
        }
        let meta = meta(&mut entry).map_err(&refuse)?;
        let explained = |error: Errno| refuse(error.desc().to_owned());
        if path.as_os_str().is_empty() {
            return if kind.is_dir() {
                self.root(&meta).map_err(explained)
            } else {
                Err(refuse("no name".into()))
            };
        }
        let (parent, name) = self.dir.parent(&path).map_err(explained)?;
        if name.as_bytes().starts_with(WHITEOUT) {
            return self.whiteout(&parent, &name, &path).map_err(explained);
        }
        self.make_room(&parent, &name, kind.is_dir()).map_err(explained)?;
        match kind {
            EntryType::Directory => {
                self.dir_times.push((path.clone(), meta.mtime));
                self.dir.explicit(&path);
                match mkdirat(&*parent, &*name, Mode::from_bits_truncate(0o700)) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(error) => return Err(explained(error)),
                }
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(&parent, &name, &given, entry)?
            }
            EntryType::Symlink => {
                let target = link_target(&entry).map_err(&refuse)?;
                symlinkat(target.as_path(), &*parent, &*name).map_err(explained)?;
            }
            EntryType::Link => {
                let target = link_target(&entry).map_err(&refuse)?;
                return self.hard_link(&target, &parent, &name).map_err(refuse); // Owner and mode are the target's.
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                node(&parent, &name, entry.header()).map_err(&refuse)?;
            }
            other => return Err(refuse(format!("unsupported entry type {:?}", char::from(other.as_byte())))),
        }
        apply(&parent, &name, &meta, kind.is_symlink()).map_err(explained)
    }

    /// Removes what an earlier entry put at this name, unless both are directories.
    fn make_room(&mut self, parent: &OwnedFd, name: &OsStr, is_dir: bool) -> nix::Result<()> {
        let Some(found) = safe_dir::look(parent, name)? else {
            return Ok(());
        };
        if is_dir && safe_dir::kind(&found) == SFlag::S_IFDIR {
            return Ok(());
        }
        self.dir.forget();
        safe_dir::remove(parent, name)
    }

    fn file(
        &mut self,
        parent: &OwnedFd,
        name: &OsStr,
        given: &Path,
        mut entry: impl Read,
    ) -> Result<(), UnpackError> {
        let refuse =
            |error: io::Error| UnpackError::Entry { path: given.to_owned(), reason: error.to_string() };
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(parent, name, flags, Mode::from_bits_truncate(0o600))
            .map_err(|error| refuse(error.into()))?;
        let mut file = File::from(fd);
        let mut buffer = vec![0; COPY_BYTES];
        let mut length = 0_u64;
        loop {
            let count = match entry.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(UnpackError::Stream(error)),
            };
            length += count as u64;
            self.bytes += count as u64;
            if self.bytes > LAYER_BYTES_MAX {
                return Err(UnpackError::TooLarge(format!("{} GiB unpacked", LAYER_BYTES_MAX >> 30)));
            }
            // Zeros become a hole: an archive that promises terabytes of them fills no disk.
            let part = &buffer[..count];
            let written = if part.iter().all(|byte| *byte == 0) {
                file.seek(SeekFrom::Current(count as i64)).map(drop)
            } else {
                file.write_all(part)
            };
            written.map_err(refuse)?;
        }
        file.set_len(length).map_err(refuse)
    }

    fn hard_link(&self, target: &Path, parent: &OwnedFd, name: &OsStr) -> Result<(), String> {
        let clean =
            safe_dir::clean(target).ok_or_else(|| format!("the link's target {target:?} contains \"..\""))?;
        let linked = self.dir.existing_parent(&clean).and_then(|(from, from_name)| {
            // No AT_SYMLINK_FOLLOW: a link to a symbolic link links that, not what it points to.
            linkat(&from, &*from_name, parent, name, AtFlags::empty())
        });
        linked.map_err(|error| match error {
            Errno::ENOENT => format!("a hard link to {target:?}, which the layer does not hold"),
            other => other.desc().to_owned(),
        })
    }

    fn whiteout(&mut self, parent: &OwnedFd, name: &OsStr, path: &Path) -> nix::Result<()> {
        let name = name.as_bytes();
        if name == OPAQUE {
            return set_xattr(parent, OsStr::new("."), "trusted.overlay.opaque", b"y");
        }
        let hidden = OsStr::from_bytes(&name[WHITEOUT.len()..]);
        if name.starts_with(AUFS) || matches!(hidden.as_bytes(), b"" | b"." | b"..") {
            tracing::debug!(path = %path.display(), "layer: an entry of AUFS' own is left out");
            return Ok(());
        }
        match safe_dir::look(parent, hidden)? {
            // A whiteout hides lower layers only; what this layer itself holds stays.
            Some(found) if safe_dir::kind(&found) == SFlag::S_IFDIR => {
                let dir = openat(
                    parent,
                    hidden,
                    OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
                    Mode::empty(),
                )?;
                set_xattr(&dir, OsStr::new("."), "trusted.overlay.opaque", b"y")
            }
            Some(_) => Ok(()),
            None => mknodat(parent, hidden, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0)),
        }
    }

    fn root(&mut self, meta: &Meta) -> nix::Result<()> {
        self.dir_times.push((PathBuf::new(), meta.mtime));
        apply(self.dir.root(), OsStr::new("."), meta, false)
    }

    fn finish(self) -> Result<BTreeSet<PathBuf>, UnpackError> {
        for (path, mtime) in self.dir_times.iter().rev() {
            let set = || match path.file_name() {
                None => set_mtime(self.dir.root(), OsStr::new("."), *mtime),
                Some(_) => {
                    let (parent, name) = self.dir.existing_parent(path)?;
                    set_mtime(&parent, &name, *mtime)
                }
            };
            match set() {
                // A later entry put something else in its place.
                Ok(()) | Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(error) => {
                    return Err(UnpackError::Entry { path: path.clone(), reason: error.desc().to_owned() });
                }
            }
        }
        Ok(self.dir.into_implied())
    }
}

fn meta<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Meta, String> {
    let header = entry.header();
    let number = |value: io::Result<u64>| value.map_err(|error| error.to_string());
    let id = |value: u64| u32::try_from(value).map_err(|_| format!("owner {value} is no 32-bit number"));
    let (mut uid, mut gid) = (number(header.uid())?, number(header.gid())?);
    let mode = Mode::from_bits_truncate(header.mode().map_err(|error| error.to_string())? & 0o7777);
    let mut mtime = (i64::try_from(number(header.mtime())?).unwrap_or(i64::MAX), 0);
    let mut xattrs = Vec::new();
    if let Some(records) = entry.pax_extensions().map_err(|error| error.to_string())? {
        for record in records {
            let record = record.map_err(|error| error.to_string())?;
            let (key, value) = (record.key().unwrap_or_default(), record.value_bytes());
            let text = || String::from_utf8_lossy(value);
            match key {
                "uid" => uid = text().parse().map_err(|_| "PAX uid is no number".to_owned())?,
                "gid" => gid = text().parse().map_err(|_| "PAX gid is no number".to_owned())?,
                "mtime" => mtime = pax_time(&text()).ok_or("PAX mtime is no time")?,
                _ => {
                    xattrs.extend(key.strip_prefix(XATTR_PREFIX).and_then(|name| allowed_xattr(name, value)))
                }
            }
        }
    }
    let mtime = TimeSpec::new(mtime.0, mtime.1);
    Ok(Meta { uid: Uid::from_raw(id(uid)?), gid: Gid::from_raw(id(gid)?), mode, mtime, xattrs })
}

/// File capabilities and user attributes. Others (`trusted.overlay.*` above all) would speak to the kernel in our name.
fn allowed_xattr(name: &str, value: &[u8]) -> Option<(String, Vec<u8>)> {
    if name == "security.capability" || name.starts_with("user.") {
        return Some((name.to_owned(), value.to_vec()));
    }
    tracing::debug!(name, "layer: an extended attribute that images may not set is left out");
    None
}

/// `<seconds>[.<fraction>]`.
fn pax_time(text: &str) -> Option<(i64, i64)> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    Some((seconds.parse().ok()?, digits.parse().ok()?))
}

fn link_target<R: Read>(entry: &tar::Entry<'_, R>) -> Result<PathBuf, String> {
    let target = entry.link_name().map_err(|error| error.to_string())?;
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
    mknodat(parent, name, kind, Mode::empty(), device).map_err(|error| error.desc().to_owned())
}

/// Owner first: changing it clears setuid bits and capabilities.
fn apply(parent: &OwnedFd, name: &OsStr, meta: &Meta, is_symlink: bool) -> nix::Result<()> {
    fchownat(parent, name, Some(meta.uid), Some(meta.gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if !is_symlink {
        // The name was made by us a moment ago in a directory nobody else writes to; it is no link.
        fchmodat(parent, name, meta.mode, FchmodatFlags::FollowSymlink)?;
    }
    for (key, value) in &meta.xattrs {
        match set_xattr(parent, name, key, value) {
            Err(Errno::EPERM | Errno::EOPNOTSUPP) if key.starts_with("user.") => {
                tracing::debug!(key, "layer: this file system or file type takes no user attributes");
            }
            result => result?,
        }
    }
    set_mtime(parent, name, meta.mtime)
}

fn set_mtime(parent: &OwnedFd, name: &OsStr, mtime: TimeSpec) -> nix::Result<()> {
    utimensat(parent, name, &mtime, &mtime, UtimensatFlags::NoFollowSymlink)
}

/// There is no `setxattrat` before Linux 6.13; `/proc/self/fd/<dir>/<name>` names the same file without a lookup on the way.
fn set_xattr(parent: &OwnedFd, name: &OsStr, key: &str, value: &[u8]) -> nix::Result<()> {
    let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
    path.extend(name.as_bytes());
    let (path, key) = match (std::ffi::CString::new(path), std::ffi::CString::new(key)) {
        (Ok(path), Ok(key)) => (path, key),
        _ => return Err(Errno::EINVAL),
    };
    // SAFETY: the three pointers are valid for the lengths given; the kernel only reads them.
    let result =
        unsafe { libc::lsetxattr(path.as_ptr(), key.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    Errno::result(result).map(drop)
}
