//! The root file system: an overlay, or a directory.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sys::stat::Mode;

use super::When;
use super::filesystem::{self, HARMLESS, Parameter};
use super::resolve::Root;
use crate::error::{StartError, StartErrorKind};
use crate::spec::Rootfs;
use crate::sys;

/// Mounts it at `point` and returns its root directory.
pub(super) fn mount(rootfs: &Rootfs, point: &Path) -> Result<OwnedFd, StartError> {
    let kind = StartErrorKind::Rootfs;
    let mount = match rootfs {
        Rootfs::Directory(path) => {
            bind(path).when(kind, || format!("bind the root directory {}", path.display()))?
        }
        Rootfs::Overlay { lowers, upper, work } => {
            for layer in lowers.iter().chain([upper, work]) {
                fs::metadata(layer).when(kind, || format!("image layer {}", layer.display()))?;
            }
            overlay(lowers, upper, work)
                .when(kind, || format!("mount an overlay of {} layers", lowers.len()))?
        }
    };
    let target = open_path(point).when(kind, || format!("open the mount point {}", point.display()))?;
    sys::move_mount(mount.as_fd(), target.as_fd()).when(kind, || format!("mount on {}", point.display()))?;
    Ok(mount)
}

fn open_path(path: &Path) -> nix::Result<OwnedFd> {
    open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
}

fn bind(path: &Path) -> io::Result<OwnedFd> {
    let directory = open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mount = sys::open_tree_clone(directory.as_fd())?;
    sys::mount_setattr(mount.as_fd(), 0, libc::MS_PRIVATE, true)?;
    Ok(mount)
}

/// The overlay, by the interface that takes layers one by one; before Linux 6.8 all in one string.
fn overlay(lowers: &[PathBuf], upper: &Path, work: &Path) -> io::Result<OwnedFd> {
    // Short names for layers whose paths the interfaces could not take: they have limits of 255 and 4096 bytes.
    let lowers: Vec<OwnedFd> = lowers.iter().map(|path| open_path(path)).collect::<nix::Result<_>>()?;
    let (upper, work) = (open_path(upper)?, open_path(work)?);
    // overlayfs wants the topmost layer first.
    let lowers: Vec<String> = lowers.iter().rev().map(name).collect();
    let layers = match sys::kernel_version()? >= sys::OVERLAY_LAYERS_ONE_BY_ONE {
        true => Layers::OneByOne(&lowers),
        false => Layers::Joined(&lowers),
    };
    layers.mount(&name(&upper), &name(&work))
}

fn name(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// The lower layers, the topmost first, and how to pass them.
enum Layers<'a> {
    OneByOne(&'a [String]),
    Joined(&'a [String]),
}

impl Layers<'_> {
    fn mount(&self, upper: &str, work: &str) -> io::Result<OwnedFd> {
        let fs = sys::fsopen(c"overlay")?;
        let set = |key, value: &str| sys::fsconfig_string(fs.as_fd(), key, &CString::new(value)?);
        match self {
            Layers::OneByOne(lowers) => lowers.iter().try_for_each(|lower| set(c"lowerdir+", lower))?,
            Layers::Joined(lowers) => {
                let joined = lowers.join(":");
                if joined.len() > FSCONFIG_BYTES_MAX {
                    return mount_by_option_string(&joined, upper, work);
                }
                set(c"lowerdir", &joined)?;
            }
        }
        set(c"upperdir", upper)?;
        set(c"workdir", work)?;
        sys::fsconfig_flag(fs.as_fd(), c"volatile")?;
        sys::fsconfig_create(fs.as_fd())?;
        sys::fsmount(fs.as_fd(), 0)
    }
}

/// Longest value of a parameter.
const FSCONFIG_BYTES_MAX: usize = 255;

/// `mount(2)` takes one page of options, which is enough for about 240 layers under short names. It has no detached
/// mounts, so the overlay is mounted on its work directory first and taken from there.
fn mount_by_option_string(lowers: &str, upper: &str, work: &str) -> io::Result<OwnedFd> {
    let options = format!("lowerdir={lowers},upperdir={upper},workdir={work},volatile");
    if options.len() >= OPTIONS_BYTES_MAX {
        return Err(io::Error::other("too many layers for this kernel; Linux 6.8 takes 500"));
    }
    nix::mount::mount(Some("overlay"), work, Some("overlay"), MsFlags::empty(), Some(options.as_str()))?;
    // Through the name of the covered directory one sees the covering mount only by looking it up again.
    let covered = fs::read_link(work)?;
    let mount = sys::open_tree_clone(open_path(&covered)?.as_fd())?;
    umount2(&covered, MntFlags::MNT_DETACH)?;
    sys::mount_setattr(mount.as_fd(), 0, libc::MS_PRIVATE, true)?;
    Ok(mount)
}

/// `mount(2)` copies one page of options, and cuts longer ones without a word.
const OPTIONS_BYTES_MAX: usize = 4096;

/// Makes an empty directory, in which nothing can be made, all that this process sees of any file system. It has a
/// mount namespace of its own already; `point` is a directory in it to mount something on.
pub(crate) fn enter_nothing(point: &Path) -> io::Result<()> {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
    let empty = [Parameter::Value(c"size", "4k"), Parameter::Value(c"mode", "755")];
    let mount = filesystem::new(c"tmpfs", &empty, HARMLESS | sys::MOUNT_ATTR_RDONLY)?;
    sys::move_mount(mount.as_fd(), open_path(point)?.as_fd())?;
    pivot(&Root::new(mount))
}

/// Makes `root` the root of this mount namespace, and lets go of the old one.
pub(super) fn pivot(root: &Root) -> io::Result<()> {
    nix::unistd::fchdir(root)?;
    // Stacks the old root on top of the new one, and takes it off: no directory for it is needed in the image.
    nix::unistd::pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    nix::unistd::chdir("/")?;
    Ok(())
}
