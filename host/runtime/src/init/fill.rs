//! Filling the volumes that an image declares with what it has in their places.
//!
//! The image is not trusted: every entry is reached by a descriptor of its directory, and no link is followed.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, fstat, fstatat, mkdirat, mknodat,
    utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat, linkat, symlinkat};

use super::When;
use super::mounts::Source;
use super::resolve::Root;
use crate::error::{StartError, StartErrorKind};
use crate::sys;

/// Directories in directories that are copied: each holds two descriptors open, and no image's data lies as deep.
const DEPTH_MAX: usize = 256;

/// A file, whatever it is called.
type Inode = (u64, u64);

/// Copies what the root file system has where volumes of the image are to be mounted, with owners, permissions, extended
/// attributes, times and hard links. It must not have any other mounts yet.
pub(super) fn fill(root: &Root, sources: &[Source<'_>]) -> Result<(), StartError> {
    let mut contents = Vec::new();
    for source in sources.iter().filter(|source| source.is_filled()) {
        let place = source.destination();
        match root.open(place, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
            Ok(directory) => contents.push((source, directory)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let what = || format!("the image's volume {}", place.display());
                return Err(error).when(StartErrorKind::Mount, what);
            }
        }
    }
    let inode_of = |directory: &OwnedFd| fstat(directory).map(|status| inode(&status));
    let volumes: HashSet<Inode> = contents
        .iter()
        .map(|(_, directory)| inode_of(directory))
        .collect::<nix::Result<_>>()
        .when(StartErrorKind::Mount, || "look at the image's volumes".into())?;
    for (source, directory) in contents {
        let copied = source.open().and_then(|volume| Copy::new(&volume, &volumes).tree(&directory, &volume));
        copied.when(StartErrorKind::Mount, || {
            format!("fill the image's volume {}", source.destination().display())
        })?;
    }
    Ok(())
}

fn inode(status: &FileStat) -> Inode {
    (status.st_dev, status.st_ino)
}

/// One volume that is being filled.
struct Copy<'a> {
    volume: &'a OwnedFd,
    /// Directories that become volumes of their own: of these only the directory is copied, not what is in it.
    volumes: &'a HashSet<Inode>,
    /// Where in the volume files are that have further names.
    links: HashMap<Inode, PathBuf>,
}

impl Copy<'_> {
    fn new<'a>(volume: &'a OwnedFd, volumes: &'a HashSet<Inode>) -> Copy<'a> {
        Copy { volume, volumes, links: HashMap::new() }
    }

    fn tree(&mut self, from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
        self.entries(from, to, Path::new(""))?;
        attributes(from, to, &fstat(from)?)
    }

    fn entries(&mut self, from: &OwnedFd, to: &OwnedFd, path: &Path) -> io::Result<()> {
        if path.components().count() > DEPTH_MAX {
            return Err(io::Error::other(format!("more than {DEPTH_MAX} directories in each other")));
        }
        for name in names(from)? {
            let path = path.join(OsStr::from_bytes(name.to_bytes()));
            self.entry(from, to, &name, &path).map_err(|error| {
                // Once: with the innermost path.
                let is_named = error.raw_os_error().is_none();
                if is_named { error } else { named(&path, &error) }
            })?;
        }
        Ok(())
    }

    fn entry(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CStr, path: &Path) -> io::Result<()> {
        let status = fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        let kind = SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT;
        if kind != SFlag::S_IFDIR && status.st_nlink > 1 {
            if let Some(known) = self.links.get(&inode(&status)) {
                return Ok(linkat(self.volume, known.as_path(), to, name, AtFlags::empty())?);
            }
            self.links.insert(inode(&status), path.to_owned());
        }
        let mode = permissions(&status);
        match kind {
            SFlag::S_IFDIR => self.directory(from, to, name, path, &status),
            SFlag::S_IFREG => file(from, to, name, &status),
            SFlag::S_IFLNK => {
                let target = readlinkat(from, name)?;
                symlinkat(target.as_os_str(), to, name)?;
                own(to, name, &status)?;
                times(to, name, &status)
            }
            special => {
                mknodat(to, name, special, mode, status.st_rdev)?;
                own(to, name, &status)?;
                fchmodat(to, name, mode, FchmodatFlags::FollowSymlink)?;
                times(to, name, &status)
            }
        }
    }

    fn directory(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        name: &CStr,
        path: &Path,
        status: &FileStat,
    ) -> io::Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        mkdirat(to, name, Mode::S_IRWXU)?;
        let (from, to) = (openat(from, name, flags, Mode::empty())?, openat(to, name, flags, Mode::empty())?);
        if !self.volumes.contains(&inode(status)) {
            self.entries(&from, &to, path)?;
        }
        attributes(&from, &to, status)
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::other(format!("{}: {}", path.display(), crate::error::describe(error)))
}

fn names(directory: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::from_fd(directory.try_clone()?)?.iter() {
        let name = entry?.file_name().to_owned();
        if ![c".", c".."].contains(&name.as_c_str()) {
            names.push(name);
        }
    }
    Ok(names)
}

fn file(from: &OwnedFd, to: &OwnedFd, name: &CStr, status: &FileStat) -> io::Result<()> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let from = openat(from, name, flags | OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty())?;
    let new = flags | OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
    let to = openat(to, name, new, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let (mut from, mut to) = (File::from(from), File::from(to));
    io::copy(&mut from, &mut to)?;
    attributes(&from.into(), &to.into(), status)
}

/// Owner, extended attributes, permissions and times, in the order in which none undoes another.
fn attributes(from: &OwnedFd, to: &OwnedFd, status: &FileStat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
    nix::unistd::fchown(to, Some(uid), Some(gid))?;
    for name in sys::list_attributes(from.as_fd())? {
        let value = sys::get_attribute(from.as_fd(), &name)?;
        sys::set_attribute(to.as_fd(), &name, &value)?;
    }
    fchmod(to, permissions(status))?;
    let (accessed, modified) = both_times(status);
    Ok(nix::sys::stat::futimens(to, &accessed, &modified)?)
}

fn permissions(status: &FileStat) -> Mode {
    Mode::from_bits_truncate(status.st_mode & 0o7777)
}

fn own(directory: &OwnedFd, name: &CStr, status: &FileStat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
    Ok(fchownat(directory, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?)
}

fn times(directory: &OwnedFd, name: &CStr, status: &FileStat) -> io::Result<()> {
    let (accessed, modified) = both_times(status);
    Ok(utimensat(directory, name, &accessed, &modified, UtimensatFlags::NoFollowSymlink)?)
}

fn both_times(status: &FileStat) -> (TimeSpec, TimeSpec) {
    (
        TimeSpec::new(status.st_atime, status.st_atime_nsec),
        TimeSpec::new(status.st_mtime, status.st_mtime_nsec),
    )
}
