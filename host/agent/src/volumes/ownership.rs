//! `fsGroup`: a volume's files belong to a group that the pod's processes are in.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;

/// Gives everything below to the group: readable and writable, and what is made in it later belongs to it as well.
/// With `on_root_mismatch`, only if the directory itself does not look like that yet.
pub(super) fn give(directory: &Path, gid: u32, on_root_mismatch: bool) -> io::Result<()> {
    let root = fs::metadata(directory)?;
    if on_root_mismatch && root.gid() == gid && root.mode() & 0o2070 == 0o2070 {
        return Ok(());
    }
    give_all(directory, gid)
}

fn give_all(path: &Path, gid: u32) -> io::Result<()> {
    lchown(path, None, Some(gid))?;
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let added = if metadata.is_dir() { 0o2770 } else { 0o660 };
    fs::set_permissions(path, fs::Permissions::from_mode(metadata.mode() & 0o7777 | added))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            give_all(&entry?.path(), gid)?;
        }
    }
    Ok(())
}
