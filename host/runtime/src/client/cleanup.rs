//! Removing what pods leave on the machine, without the help of their shims.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};

use crate::cgroups::{Cgroups, Group};
use crate::error::{Error, Result};

/// Removes a directory and all below; one that is not there is fine.
pub(super) fn remove_directory(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(Error::io(format!("remove {}", path.display()))),
    }
}

/// Unmounts a path; one where nothing is mounted is fine.
pub(super) fn unmount(path: &Path) -> Result<()> {
    match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => Ok(()),
        Err(error) => Err(Error::io(format!("unmount {}", path.display()))(error.into())),
    }
}

/// Unmounts everything below a directory, the innermost first.
pub(super) fn mounts_below(directory: &Path) -> Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(Error::io("read /proc/self/mountinfo"))?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    let mut ours: Vec<PathBuf> = points.filter(|point| point.starts_with(directory)).collect();
    ours.sort();
    ours.iter().rev().try_for_each(|point| unmount(point))
}

/// Undoes mountinfo's octal escapes of space, tab, newline and backslash.
fn unescape(field: &str) -> PathBuf {
    let text = field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n");
    PathBuf::from(text.replace("\\134", "\\"))
}

/// Ends and removes the groups of pods that have no directory any more.
pub(super) fn stray_cgroups(cgroups: &dyn Cgroups) -> Result<()> {
    for pod_id in cgroups.pods().map_err(Error::io("list the pods' cgroups"))? {
        let group = Group::Pod(&pod_id);
        cgroups.kill(group).map_err(Error::io(format!("kill the processes in {group}")))?;
        cgroups.remove(group).map_err(Error::io(format!("remove {group}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_mount_points_are_read() {
        assert_eq!(unescape(r"/a\040b\134c"), Path::new(r"/a b\c"));
    }
}
