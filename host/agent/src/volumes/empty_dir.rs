//! `emptyDir`.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::pod::EmptyDir;

/// Where an `emptyDir` is kept.
pub(super) enum Medium {
    /// On the node's disk.
    Disk,
    /// In memory, up to this size; half of the machine's memory without one.
    Memory { size_bytes: Option<u64> },
}

impl Medium {
    pub(super) fn of(empty: &EmptyDir) -> Result<Medium, String> {
        match empty.medium.as_str() {
            "" => Ok(Medium::Disk),
            "Memory" => {
                let size = empty.size_limit.as_ref().map(|size| size.0.value());
                Ok(Medium::Memory {
                    size_bytes: size.and_then(|size| u64::try_from(size).ok()).filter(|size| *size > 0),
                })
            }
            other => Err(format!("the medium {other} of emptyDir is not supported on this node")),
        }
    }
}

/// Makes the directory; one that is there keeps its content.
pub(super) fn make(directory: &Path, medium: &Medium) -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot create {}: {error}", directory.display());
    fs::create_dir_all(directory).map_err(failed)?;
    if let Medium::Memory { size_bytes } = medium
        && !is_mount_point(directory).map_err(failed)?
    {
        let options =
            size_bytes.map_or_else(|| "mode=0777".to_owned(), |size| format!("mode=0777,size={size}"));
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("tmpfs"), directory, Some("tmpfs"), flags, Some(options.as_str()))
            .map_err(|error| format!("cannot mount a tmpfs at {}: {error}", directory.display()))?;
    }
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).map_err(failed)
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
