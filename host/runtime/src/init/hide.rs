//! Masked and read-only paths, after `pivot_root`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat, makedev};

use super::When;
use super::filesystem::{self, HARMLESS, Parameter};
use super::resolve::Root;
use crate::error::{StartError, StartErrorKind};
use crate::sys;

/// Covers files with `/dev/null` and directories with an empty, read-only file system. What is not there needs no
/// mask.
pub(super) fn mask(root: &Root, paths: &[PathBuf]) -> Result<(), StartError> {
    for path in paths {
        mask_one(root, path).when(StartErrorKind::Security, || format!("mask {}", path.display()))?;
    }
    Ok(())
}

fn mask_one(root: &Root, path: &Path) -> io::Result<()> {
    let Some(target) = find(root, path)? else { return Ok(()) };
    let is_directory = SFlag::from_bits_truncate(fstat(&target)?.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR;
    let cover = if is_directory {
        let empty = [Parameter::Value(c"size", "4k"), Parameter::Value(c"mode", "755")];
        filesystem::new(c"tmpfs", &empty, HARMLESS | sys::MOUNT_ATTR_RDONLY)?
    } else {
        sys::open_tree_clone(null(root)?.as_fd())?
    };
    sys::move_mount(cover.as_fd(), target.as_fd())
}

/// `/dev/null`, and nothing that somebody has put in its place: a link there would show another file instead
/// (CVE-2025-31133).
fn null(root: &Root) -> io::Result<OwnedFd> {
    let null = root.open(Path::new("/dev/null"), OFlag::O_PATH | OFlag::O_NOFOLLOW)?;
    let status = fstat(&null)?;
    let is_character = SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT == SFlag::S_IFCHR;
    if !is_character || status.st_rdev != makedev(1, 3) {
        return Err(io::Error::other("/dev/null in the container is not the null device"));
    }
    Ok(null)
}

/// Covers paths with themselves, read-only.
pub(super) fn make_read_only(root: &Root, paths: &[PathBuf]) -> Result<(), StartError> {
    for path in paths {
        read_only_one(root, path)
            .when(StartErrorKind::Security, || format!("make {} read-only", path.display()))?;
    }
    Ok(())
}

fn read_only_one(root: &Root, path: &Path) -> io::Result<()> {
    let Some(target) = find(root, path)? else { return Ok(()) };
    let cover = sys::open_tree_clone(target.as_fd())?;
    sys::mount_setattr(cover.as_fd(), sys::MOUNT_ATTR_RDONLY, 0, true)?;
    sys::move_mount(cover.as_fd(), target.as_fd())
}

fn find(root: &Root, path: &Path) -> io::Result<Option<OwnedFd>> {
    match root.find(path) {
        Ok(target) => Ok(Some(target)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
