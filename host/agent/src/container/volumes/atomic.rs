//! Files that change all at once: the kubelet's layout, so that programs that watch `..data` see what they expect.
//!
//! ```text
//! key        -> ..data/key
//! ..data     -> ..2025_11_21_10_45_13.000123
//! ..2025_…/  key
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

use super::payload::{File, Files};
use crate::clock;

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// Brings `directory` to hold these files, owned by root and `gid`. Nothing is written when it does already.
pub(super) fn write(directory: &Path, files: &Files, gid: Option<u32>) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    let before = present(directory);
    if before.as_ref().is_some_and(|before| is_same(&directory.join(before), files)) {
        return Ok(());
    }
    let name = fresh_name(directory);
    let fresh = directory.join(&name);
    fs::create_dir(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    for (path, file) in files {
        write_file(&fresh, path, file, gid)?;
    }
    // One rename switches all files.
    let new = directory.join(DATA_NEW);
    remove_link(&new)?;
    symlink(&name, &new)?;
    fs::rename(&new, directory.join(DATA))?;
    link_names(directory, files)?;
    match before {
        Some(before) => fs::remove_dir_all(directory.join(before)).or_else(ignore_missing),
        None => Ok(()),
    }
}

/// The directory that is in use, if the link to it is one that is made here. It lies next to the link; what leads
/// anywhere else was made by a container, and must not be followed: the directory is removed in the end
/// (CVE-2017-1002102).
fn present(directory: &Path) -> Option<PathBuf> {
    let target = fs::read_link(directory.join(DATA)).ok()?;
    let mut parts = target.components();
    let is_next_to_it = match (parts.next(), parts.next()) {
        (Some(Component::Normal(name)), None) => name.as_bytes().starts_with(b".."),
        _ => false,
    };
    is_next_to_it.then_some(target)
}

fn write_file(root: &Path, path: &str, file: &File, gid: Option<u32>) -> io::Result<()> {
    let target = root.join(path);
    make_directories(root, Path::new(path).parent().unwrap_or(Path::new("")))?;
    // A group that the pod asks for must be able to read what the owner can.
    let mode = if gid.is_some() { file.mode | 0o040 } else { file.mode };
    let mut handle = fs::File::options().write(true).create_new(true).mode(mode).open(&target)?;
    handle.write_all(&file.bytes)?;
    // The mode given to open is cut by the umask.
    handle.set_permissions(fs::Permissions::from_mode(mode))?;
    match gid {
        Some(gid) => chown(&target, None, Some(gid)),
        None => Ok(()),
    }
}

/// Makes the directories of a path below `root`, for everybody to look into, whatever the umask.
fn make_directories(root: &Path, path: &Path) -> io::Result<()> {
    let mut directory = root.to_owned();
    for part in path {
        directory.push(part);
        match fs::create_dir(&directory) {
            Ok(()) => fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Links the first part of every path, and removes links to what is gone.
fn link_names(directory: &Path, files: &Files) -> io::Result<()> {
    let names: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for name in &names {
        let (link, target) = (directory.join(name), Path::new(DATA).join(name));
        if fs::read_link(&link).ok() != Some(target.clone()) {
            remove_link(&link)?;
            symlink(target, link)?;
        }
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if !name.starts_with("..") && !names.contains(name) && entry.file_type()?.is_symlink() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn is_same(directory: &Path, files: &Files) -> bool {
    let same = |(path, file): (&String, &File)| {
        fs::read(directory.join(path)).is_ok_and(|bytes| bytes == file.bytes)
    };
    count(directory).is_ok_and(|count| count == files.len()) && files.iter().all(same)
}

fn count(directory: &Path) -> io::Result<usize> {
    let mut files = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        files += if entry.file_type()?.is_dir() { count(&entry.path())? } else { 1 };
    }
    Ok(files)
}

fn fresh_name(directory: &Path) -> PathBuf {
    let time = clock::now().rfc3339_micro();
    let stem = format!("..{}", time.trim_end_matches('Z').replace(['-', 'T', ':'], "_"));
    let mut candidates = (0..).map(|number: u32| match number {
        0 => PathBuf::from(&stem),
        number => PathBuf::from(format!("{stem}_{number}")),
    });
    // There are always further numbers.
    candidates.find(|name| !directory.join(name).exists()).unwrap_or_default()
}

fn remove_link(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(ignore_missing)
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pairs: &[(&str, &str)]) -> Files {
        let file = |text: &str| File { bytes: text.as_bytes().to_vec(), mode: 0o640 };
        pairs.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect()
    }

    #[test]
    fn a_change_shows_at_once_and_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let read = |path: &str| fs::read_to_string(root.join(path)).ok();
        write(root, &files(&[("a", "1"), ("d/b", "2")]), None).unwrap();
        assert_eq!((read("a"), read("d/b")), (Some("1".to_owned()), Some("2".to_owned())));
        assert_eq!(fs::metadata(root.join("a")).unwrap().permissions().mode() & 0o777, 0o640);
        let first = fs::read_link(root.join(DATA)).unwrap();
        write(root, &files(&[("a", "1"), ("d/b", "2")]), None).unwrap();
        assert_eq!(fs::read_link(root.join(DATA)).unwrap(), first, "the same again changes nothing");
        write(root, &files(&[("a", "3")]), None).unwrap();
        assert_eq!((read("a"), read("d/b")), (Some("3".to_owned()), None));
        let mut left: Vec<_> = fs::read_dir(root)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left.len(), 3, "one directory, ..data and a: {left:?}");
    }

    #[test]
    fn a_link_of_somebody_elses_making_is_not_followed() {
        let base = tempfile::tempdir().unwrap();
        let (volume, elsewhere) = (base.path().join("volume"), base.path().join("elsewhere"));
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("precious"), "").unwrap();
        for target in [elsewhere.as_path(), Path::new("../elsewhere"), Path::new(".."), Path::new(".")] {
            write(&volume, &files(&[("a", "1")]), None).unwrap();
            remove_link(&volume.join(DATA)).unwrap();
            symlink(target, volume.join(DATA)).unwrap();
            write(&volume, &files(&[("a", "2")]), None).unwrap();
            assert_eq!(fs::read_to_string(volume.join("a")).unwrap(), "2", "{target:?}");
            assert!(elsewhere.join("precious").exists(), "{target:?} was removed");
        }
    }
}
