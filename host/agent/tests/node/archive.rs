//! Images that differ from busybox in what a test is about.

use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Archive, Builder, EntryType, Header};

/// An archive, as `docker save` writes it, of busybox with this configuration, and with this layer on top.
pub(crate) fn on_busybox(busybox: &Path, name: &str, config: &Value, layer: &[u8]) -> Vec<u8> {
    let busybox = std::fs::read(busybox).unwrap();
    let manifest: Value = serde_json::from_slice(&member(&busybox, "manifest.json")).unwrap();
    let base = member(&busybox, manifest[0]["Layers"][0].as_str().unwrap());
    let diff_id = |layer: &[u8]| {
        let digest = Sha256::digest(layer);
        format!("sha256:{}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    };
    let rootfs = json!({ "type": "layers", "diff_ids": [diff_id(&base), diff_id(layer)] });
    let config = json!({ "architecture": "amd64", "os": "linux", "config": config, "rootfs": rootfs });
    let manifest =
        json!([{ "Config": "config.json", "RepoTags": [name], "Layers": ["base.tar", "top.tar"] }]);
    let mut archive = Builder::new(Vec::new());
    for (path, bytes) in [
        ("manifest.json", manifest.to_string().as_bytes()),
        ("config.json", config.to_string().as_bytes()),
        ("base.tar", &base),
        ("top.tar", layer),
    ] {
        add(&mut archive, path, EntryType::Regular, (0o644, 0), bytes);
    }
    archive.into_inner().unwrap()
}

/// A layer of directories (with a slash at the end) and files: name, mode, owner, content.
pub(crate) fn layer(entries: &[(&str, u32, u64, &str)]) -> Vec<u8> {
    let mut layer = Builder::new(Vec::new());
    for (path, mode, owner, content) in entries {
        let kind = if path.ends_with('/') { EntryType::Directory } else { EntryType::Regular };
        add(&mut layer, path, kind, (*mode, *owner), content.as_bytes());
    }
    layer.into_inner().unwrap()
}

fn add(archive: &mut Builder<Vec<u8>>, path: &str, kind: EntryType, about: (u32, u64), bytes: &[u8]) {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(about.0);
    header.set_uid(about.1);
    header.set_gid(about.1);
    header.set_size(bytes.len() as u64);
    archive.append_data(&mut header, path, bytes).unwrap();
}

fn member(archive: &[u8], path: &str) -> Vec<u8> {
    let mut archive = Archive::new(archive);
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    let is_wanted = |found: &Path| found.strip_prefix("./").unwrap_or(found) == Path::new(path);
    let mut entry = entries.find(|entry| is_wanted(&entry.path().unwrap())).unwrap();
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).unwrap();
    bytes
}
