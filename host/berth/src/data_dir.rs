//! The data directory: its mode, its format number, and who may use it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nix::libc::O_NOFOLLOW;

/// The layout of the data directory. Raised with every change that an older berth must not touch; migrations go forward only.
const FORMAT: u32 = 1;

/// Opens a data directory for `berth up`: makes it (mode 0700) when it is not there, and checks that nobody else can get
/// at it, and its format.
pub(crate) fn open(path: &Path) -> anyhow::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(|| {
        format!(
            "the data directory {} cannot be made; run berth as root or choose another --data-dir",
            path.display()
        )
    })?;
    let path = path.canonicalize().with_context(|| format!("{} cannot be resolved", path.display()))?;
    make_private(&path)?;
    let format = path.join("format");
    match read(&format)? {
        Some(text) => check(&path, &text)?,
        None => write_durably(&format, FORMAT.to_string().as_bytes())?,
    }
    Ok(path)
}

/// Opens the data directory of a cluster that must be there already.
pub(crate) fn existing(path: &Path) -> anyhow::Result<PathBuf> {
    found(path)?.with_context(|| {
        format!("{} holds no cluster; start one with `berth up --data-dir {0}`", path.display())
    })
}

/// The data directory of a cluster, if there is one. Changes nothing.
pub(crate) fn found(path: &Path) -> anyhow::Result<Option<PathBuf>> {
    let Some(format) = read(&path.join("format"))? else { return Ok(None) };
    check(path, &format)?;
    path.canonicalize().map(Some).with_context(|| format!("{} cannot be resolved", path.display()))
}

/// A small text of the data directory, without its end of line and never through a link; `None` when it is not there.
pub(crate) fn read(path: &Path) -> anyhow::Result<Option<String>> {
    let file = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(path);
    match file.and_then(io::read_to_string) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(error).with_context(|| format!("{} cannot be read; run berth as root", path.display()))
        }
    }
}

/// Keys and everybody's secrets are in there: it must be ours, and closed to others. One that is empty is closed; the mode
/// of another is its administrator's to change, since it may be `/srv`.
fn make_private(path: &Path) -> anyhow::Result<()> {
    let found = fs::metadata(path).with_context(|| format!("{} cannot be looked at", path.display()))?;
    let us = nix::unistd::geteuid().as_raw();
    if found.uid() != us {
        bail!(
            "the data directory {} belongs to user {}, and berth runs as user {us}; choose another --data-dir, or run \
             chown {us} {0}",
            path.display(),
            found.uid()
        );
    }
    let mode = found.mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let is_empty = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    if !is_empty {
        bail!(
            "the data directory {} is open to other users (mode {mode:04o}); run chmod 700 {0}, or choose another \
             --data-dir",
            path.display()
        );
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("the mode of {} cannot be changed", path.display()))
}

fn check(path: &Path, format: &str) -> anyhow::Result<()> {
    match format.trim().parse::<u32>() {
        Ok(FORMAT) => Ok(()),
        Ok(newer) if newer > FORMAT => {
            bail!(
                "{} has format {newer} of a newer berth; this one knows formats up to {FORMAT}",
                path.display()
            )
        }
        _ => bail!("{}/format holds no format number; this is no data directory of berth's", path.display()),
    }
}

/// Keeps a second berth off the directory as long as the returned file lives.
pub(crate) fn lock(path: &Path) -> anyhow::Result<File> {
    let name = path.join("lock");
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600).custom_flags(O_NOFOLLOW);
    let file = options.open(&name);
    let file = file.with_context(|| format!("{} cannot be opened", name.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            bail!("another berth is running on {}; stop it, or choose another --data-dir", path.display())
        }
        Err(fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{} cannot be locked", name.display()))
        }
    }
}

/// Writes a small file so that after a crash it is either not there or whole.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o600).custom_flags(O_NOFOLLOW);
        let mut file = options.open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_mode(mode: u32, file: Option<&str>) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        if let Some(name) = file {
            fs::write(directory.path().join(name), "x").unwrap();
        }
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
        directory
    }

    #[test]
    fn a_data_directory_is_closed_to_others() {
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        let empty = with_mode(0o755, None);
        let path = open(empty.path()).unwrap();
        assert_eq!(mode(&path), 0o700);
        open(&path).unwrap();
        for open_mode in [0o755, 0o707, 0o1777] {
            let used = with_mode(open_mode, Some("registries.yaml"));
            let error = open(used.path()).unwrap_err().to_string();
            assert!(
                error.contains(&format!("is open to other users (mode {open_mode:04o}); run chmod 700 /")),
                "{error}"
            );
            assert_eq!(mode(used.path()), open_mode, "it is not berth's to close");
        }
        assert!(open(with_mode(0o700, Some("registries.yaml")).path()).is_ok());
    }

    #[test]
    fn nothing_of_it_is_read_or_written_through_a_link() {
        let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let target = elsewhere.path().join("target");
        for name in ["lock", "format", "cluster-id.new"] {
            std::os::unix::fs::symlink(&target, data.path().join(name)).unwrap();
        }
        assert!(open(data.path()).is_err() && existing(data.path()).is_err() && lock(data.path()).is_err());
        assert!(write_durably(&data.path().join("cluster-id"), b"abcdef").is_err());
        assert!(!target.exists());
    }
}
