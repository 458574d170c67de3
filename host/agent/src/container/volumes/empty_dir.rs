//! `emptyDir`.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::manifest::EmptyDir;

/// Where an `emptyDir` is kept.
pub(super) enum Medium {
    /// On the node's disk.
    Disk,
    /// In memory, up to this size. Whatever is in it counts as its writers' memory.
    Memory { size_bytes: u64 },
}

impl Medium {
    pub(super) fn of(empty: &EmptyDir, room: Room) -> Result<Medium, String> {
        match empty.medium.as_str() {
            "" => Ok(Medium::Disk),
            "Memory" => {
                let limit = empty.size_limit.as_ref().map(|size| size.0.value());
                let limit = limit.and_then(|size| u64::try_from(size).ok()).filter(|size| *size > 0);
                Ok(Medium::Memory { size_bytes: room.size_bytes(limit) })
            }
            other => Err(format!("the medium {other} of emptyDir is not supported on this node")),
        }
    }
}

/// The memory there is for a file system in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// What the pod's containers may use together, if each of them has a limit.
    pub(super) of_pod: Option<u64>,
    /// What the node's pods may use.
    pub(super) of_node: u64,
}

impl Room {
    /// How large one with this limit becomes: never so large that the pod cannot fill it.
    fn size_bytes(self, limit: Option<u64>) -> u64 {
        match (limit, self.of_pod) {
            // Half of it, as the kernel has it: what is in such a file system is not given back when its writers are killed.
            (None, None) => self.of_node / 2,
            (limit, of_pod) => [limit, of_pod].into_iter().flatten().fold(self.of_node, u64::min),
        }
    }
}

/// Makes the directory, owned by the pod's `fsGroup`. One that is there is the containers' by now, with whatever they
/// have put in its place below it and the permissions they gave it: it is left alone.
pub(super) fn make(directory: &Path, medium: &Medium, fs_group: Option<u32>) -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot create {}: {error}", directory.display());
    // Writable for everybody; what is made in a directory of the group belongs to the group as well.
    let mode = if fs_group.is_some() { 0o2777 } else { 0o777 };
    match medium {
        Medium::Disk => make_on_disk(directory, mode, fs_group).map_err(failed),
        Medium::Memory { size_bytes } => {
            fs::create_dir_all(directory).map_err(failed)?;
            if is_mount_point(directory).map_err(failed)? {
                return Ok(());
            }
            let mut options = format!("mode={mode:o},size={size_bytes}");
            options.extend(fs_group.map(|gid| format!(",gid={gid}")));
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            mount(Some("tmpfs"), directory, Some("tmpfs"), flags, Some(options.as_str()))
                .map_err(|error| format!("cannot mount a tmpfs at {}: {error}", directory.display()))
        }
    }
}

/// It appears with owner and permissions, or not at all: one that is there is complete.
fn make_on_disk(directory: &Path, mode: u32, fs_group: Option<u32>) -> io::Result<()> {
    if directory.exists() {
        return Ok(());
    }
    // No volume has a dot in its name.
    let new = directory.with_extension("new");
    fs::create_dir_all(&new)?;
    chown(&new, None, fs_group)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(mode))?;
    fs::rename(&new, directory)
}

/// Whether something is mounted exactly here.
pub(crate) fn is_mount_point(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let own = fs::metadata(path)?.dev();
    Ok(path.parent().map(fs::metadata).transpose()?.is_some_and(|parent| parent.dev() != own))
}

/// Unmounts everything below a directory, the innermost first.
pub(crate) fn unmount(below: &Path) -> io::Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    let mut points: Vec<_> = points.filter(|point| Path::new(point).starts_with(below)).collect();
    points.sort();
    for point in points.iter().rev() {
        umount2(point.as_str(), MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?;
    }
    Ok(())
}

/// Undoes mountinfo's octal escapes.
fn unescape(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_by_the_volume_the_pod_and_the_node() {
        let of_node = 1000;
        for (limit, of_pod, expected) in [
            (None, None, 500),
            (Some(900), None, 900),
            (Some(2000), None, 1000),
            (None, Some(300), 300),
            (Some(200), Some(300), 200),
            (Some(400), Some(300), 300),
            (None, Some(5000), 1000),
        ] {
            assert_eq!(Room { of_pod, of_node }.size_bytes(limit), expected, "{limit:?} {of_pod:?}");
        }
    }
}
