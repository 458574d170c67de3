//! The nodes in `/dev`.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, makedev, mknodat, umask};
use nix::unistd::{Gid, Uid, fchownat, symlinkat};

use super::When;
use super::resolve::Root;
use crate::error::{StartError, StartErrorKind};
use crate::spec::ContainerSpec;

/// Character devices every container has: name, major, minor.
const STANDARD: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// Directories of the machine's `/dev` that are mounts of their own, or not devices.
const NOT_DEVICES: [&str; 6] = ["pts", "shm", "mqueue", "fd", "console", "hugepages"];

/// Makes the standard nodes and those that are asked for; all of the machine's when privileged.
pub(super) fn make(root: &Root, spec: &ContainerSpec) -> Result<(), StartError> {
    let before = umask(Mode::empty());
    let made = make_all(root, spec);
    umask(before);
    made
}

fn make_all(root: &Root, spec: &ContainerSpec) -> Result<(), StartError> {
    standard(root).when(StartErrorKind::Mount, || "make the standard devices".into())?;
    for device in &spec.devices {
        copy_node(root, &device.host_path, &device.container_path)
            .when(StartErrorKind::Mount, || format!("make the device {}", device.container_path.display()))?;
    }
    if spec.privileged {
        let host = Path::new("/dev");
        copy_all(root, host, 0).when(StartErrorKind::Mount, || "make the devices of the machine".into())?;
    }
    Ok(())
}

fn standard(root: &Root) -> io::Result<()> {
    let dev = root.make_directory(Path::new("/dev"))?;
    for (name, major, minor) in STANDARD {
        let mode = Mode::from_bits_truncate(0o666);
        mknodat(&dev, name, SFlag::S_IFCHR, mode, makedev(major, minor))?;
    }
    for (target, name) in LINKS {
        symlinkat(target, &dev, name)?;
    }
    Ok(())
}

fn copy_node(root: &Root, host: &Path, container: &Path) -> io::Result<()> {
    let metadata = fs::metadata(host)?;
    let kind = match metadata.file_type() {
        kind if kind.is_char_device() => SFlag::S_IFCHR,
        kind if kind.is_block_device() => SFlag::S_IFBLK,
        _ => return Err(io::Error::other(format!("{} is not a device node", host.display()))),
    };
    let (Some(parent), Some(name)) = (container.parent(), container.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = root.make_directory(parent)?;
    match mknodat(&parent, name, kind, Mode::from_bits_truncate(metadata.mode() & 0o7777), metadata.rdev()) {
        Ok(()) => {}
        // One of the standard nodes.
        Err(nix::errno::Errno::EEXIST) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let (uid, gid) = (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()));
    Ok(fchownat(&parent, name, Some(uid), Some(gid), nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW)?)
}

/// How deep below `/dev` nodes are looked for.
const DEPTH_MAX: u32 = 4;

fn copy_all(root: &Root, directory: &Path, depth: u32) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path: PathBuf = entry.path();
        let kind = entry.file_type()?;
        let skipped = depth == 0 && NOT_DEVICES.iter().any(|name| entry.file_name() == *name);
        if kind.is_dir() && !skipped && depth < DEPTH_MAX {
            copy_all(root, &path, depth + 1)?;
        } else if kind.is_char_device() || kind.is_block_device() {
            match copy_node(root, &path, &path) {
                // Unplugged meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
    }
    Ok(())
}
