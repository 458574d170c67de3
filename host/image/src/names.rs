//! What is done to the names in an open directory, no link followed.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::attributes::set_xattr;
use crate::safe_dir::DEPTH_MAX;
use crate::view::{OPAQUE_XATTR, is_opaque, is_whiteout, path_of};

/// Directories that no layer mentions but something in them.
pub(crate) const NEW_DIR_MODE: Mode = Mode::from_bits_truncate(0o755);

/// Makes a directory that no layer below has, perhaps where this layer has a whiteout; `hides`: whether layers below
/// would show in it otherwise.
pub(crate) fn make_new(parent: &OwnedFd, name: &OsStr, hides: bool) -> nix::Result<()> {
    if look(parent, name)?.is_some_and(|found| is_whiteout(&found)) {
        unlinkat(parent, name, UnlinkatFlags::NoRemoveDir)?;
    }
    mkdirat(parent, name, NEW_DIR_MODE)?;
    // The mode given to mkdirat is cut by the umask. Nobody else writes here: it is the one just made.
    fchmodat(parent, name, NEW_DIR_MODE, FchmodatFlags::FollowSymlink)?;
    if hides { set_xattr(parent, name, OPAQUE_XATTR, b"y") } else { Ok(()) }
}

/// What is at `name`, not following a link; `None` when nothing is.
pub(crate) fn look(parent: &OwnedFd, name: &OsStr) -> nix::Result<Option<FileStat>> {
    match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// Removes `name` and what is below it.
pub(crate) fn remove(parent: &OwnedFd, name: &OsStr) -> nix::Result<()> {
    remove_at_depth(parent, name, 0)
}

fn remove_at_depth(parent: &OwnedFd, name: &OsStr, depth: usize) -> nix::Result<()> {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR | Errno::EPERM) if depth < DEPTH_MAX => {}
        result => return result,
    }
    let fd = open_directory(parent, name)?;
    for child in names(&fd)? {
        remove_at_depth(&fd, &child, depth + 1)?;
    }
    unlinkat(parent, name, UnlinkatFlags::RemoveDir)
}

/// Removes the whiteouts in a directory and below, except where it was done already.
pub(crate) fn remove_whiteouts(directory: &OwnedFd, depth: usize) -> nix::Result<()> {
    for name in names(directory)? {
        match look(directory, &name)? {
            Some(found) if is_whiteout(&found) => unlinkat(directory, &*name, UnlinkatFlags::NoRemoveDir)?,
            Some(found) if kind(&found) == SFlag::S_IFDIR && depth < DEPTH_MAX => {
                let below = open_directory(directory, &name)?;
                if !is_opaque(&path_of(&below)?)? {
                    remove_whiteouts(&below, depth + 1)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

pub(crate) fn open_directory(parent: &OwnedFd, name: &OsStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
    openat(parent, name, flags, Mode::empty())
}

fn names(dir: &OwnedFd) -> nix::Result<Vec<OsString>> {
    let copy = dir
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    let mut entries = Dir::from_fd(copy)?;
    let mut names = Vec::new();
    for entry in entries.iter() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(&name).to_owned());
        }
    }
    Ok(names)
}

/// A path of an archive, relative to its root: leading slashes and `.` components do not count; `..` is refused.
pub(crate) fn clean(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}
