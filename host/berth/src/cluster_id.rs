//! The cluster's id, from which all names in the kernel derive.

use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};

/// The id kept in `<data>/cluster-id`; made when it is not there.
pub(crate) fn of(data_dir: &Path) -> anyhow::Result<String> {
    if let Some(id) = existing(data_dir)? {
        return Ok(id);
    }
    let path = data_dir.join("cluster-id");
    let mut random = [0_u8; 3];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut random))
        .context("no randomness for the cluster's id could be read from /dev/urandom")?;
    let id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    super::data_dir::write_durably(&path, id.as_bytes())?;
    Ok(id)
}

/// The id, when the cluster has been started before.
pub(crate) fn existing(data_dir: &Path) -> anyhow::Result<Option<String>> {
    let path = data_dir.join("cluster-id");
    match super::data_dir::read(&path)? {
        Some(id) if id.len() == 6 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) => {
            Ok(Some(id))
        }
        Some(_) => bail!("{} holds no cluster id; restore it from a backup", path.display()),
        None => Ok(None),
    }
}
