//! The data directory: its mode, its format number, and who may use it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The layout of the data directory. Raised with every change that an older berth must not touch; migrations go forward only.
const FORMAT: u32 = 1;

/// Opens a data directory for `berth up`: makes it (mode 0700) when it is not there, and checks its format.
pub(crate) fn open(path: &Path) -> anyhow::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(|| {
        format!(
            "the data directory {} cannot be made; run berth as root or choose another --data-dir",
            path.display()
        )
    })?;
    let path = path.canonicalize().with_context(|| format!("{} cannot be resolved", path.display()))?;
    let format = path.join("format");
    match fs::read_to_string(&format) {
        Ok(text) => check(&path, &text)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            write_durably(&format, FORMAT.to_string().as_bytes())?
        }
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", format.display())),
    }
    Ok(path)
}

/// Opens the data directory of a cluster that must be there already.
pub(crate) fn existing(path: &Path) -> anyhow::Result<PathBuf> {
    let format = path.join("format");
    let text = match fs::read_to_string(&format) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("{} holds no cluster; start one with `berth up --data-dir {0}`", path.display())
        }
        Err(error) => {
            return Err(error)
                .with_context(|| format!("{} cannot be read; run berth as root", format.display()));
        }
    };
    check(path, &text)?;
    path.canonicalize().with_context(|| format!("{} cannot be resolved", path.display()))
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
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&name);
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
    let write = || -> std::io::Result<()> {
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}
