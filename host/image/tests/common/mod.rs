//! Builds images: layers as tar files, docker-save and OCI archives around them.
#![allow(dead_code)] // Each test file uses its part.

use std::io::Write;
use std::path::Path;

use berth_image::{Digest, ImageStore};
use serde_json::{Value, json};
use tar::{EntryType, Header};

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A tar archive being written, also with names that the `tar` crate would refuse.
#[derive(Clone, Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    pub(crate) fn new() -> Tar {
        assert!(nix::unistd::geteuid().is_root(), "layers need root: run these tests with sudo");
        Tar::default()
    }

    pub(crate) fn entry(self, kind: EntryType, name: &str, link: &str, mode: u32, data: &[u8]) -> Tar {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(12);
        header.set_gid(34);
        header.set_mtime(1_000_000_000);
        header.set_size(data.len() as u64);
        self.raw(header, data)
    }

    /// Any header, with its checksum made right.
    pub(crate) fn raw(mut self, mut header: Header, data: &[u8]) -> Tar {
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// A header that gives the next entry a name of this length.
    pub(crate) fn long_name(self, bytes: usize) -> Tar {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..13].copy_from_slice(b"././@LongLink");
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(bytes as u64);
        self.raw(header, &vec![b'a'; bytes])
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Tar {
        self.entry(EntryType::Regular, name, "", 0o644, data)
    }

    pub(crate) fn dir(self, name: &str) -> Tar {
        self.entry(EntryType::Directory, name, "", 0o755, b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Tar {
        self.entry(EntryType::Symlink, name, target, 0o777, b"")
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Tar {
        self.entry(EntryType::Link, name, target, 0o644, b"")
    }

    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Tar {
        let mut data = Vec::new();
        for (key, value) in records {
            // The length counts itself.
            let rest = key.len() + value.len() + 3;
            let length =
                (1..).map(|digits| rest + digits).find(|n| n.to_string().len() + rest == *n).unwrap();
            data.extend(format!("{length} {key}=").into_bytes());
            data.extend(*value);
            data.push(b'\n');
        }
        self.entry(EntryType::XHeader, "pax", "", 0o644, &data)
    }

    /// As it is after something was added.
    pub(crate) fn build_with(self, add: impl FnOnce(Tar) -> Tar) -> Vec<u8> {
        add(self).build()
    }

    pub(crate) fn build(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 1).unwrap()
}

/// The host's architecture in the words of images.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A config for these uncompressed layers.
pub(crate) fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    json!({
        "architecture": architecture(), "os": "linux", "created": "2026-01-02T03:04:05Z",
        "config": {
            "Entrypoint": ["/app"], "Cmd": ["serve"], "Env": ["A=b"], "WorkingDir": "/srv", "User": "1000:1000",
            "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/data": {}}, "StopSignal": "SIGQUIT", "Labels": {"l": "v"}
        },
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
    .to_string()
    .into_bytes()
}

/// A `docker save` archive of one image; `stored` are the layers as they lie in it.
pub(crate) fn docker_archive(tags: &[&str], layers: &[Vec<u8>], stored: &[Vec<u8>]) -> Vec<u8> {
    let names: Vec<String> = (0..stored.len()).map(|n| format!("layer{n}/layer.tar")).collect();
    let manifest = json!([{"Config": "config.json", "RepoTags": tags, "Layers": names}]).to_string();
    let mut tar = Tar::new();
    for (name, layer) in names.iter().zip(stored) {
        tar = tar.file(name, layer);
    }
    tar.file("config.json", &config(layers)).file("manifest.json", manifest.as_bytes()).build()
}

/// An OCI blob and its descriptor.
pub(crate) fn blob(media_type: &str, bytes: Vec<u8>) -> (Value, Vec<u8>) {
    (json!({"mediaType": media_type, "digest": Digest::of(&bytes).to_string(), "size": bytes.len()}), bytes)
}

/// A manifest's descriptor and all blobs of an image.
pub(crate) fn oci_image(layers: &[Vec<u8>], stored: &[Vec<u8>]) -> (Value, Vec<Vec<u8>>) {
    let (config, config_bytes) = blob("application/vnd.oci.image.config.v1+json", config(layers));
    let stored: Vec<_> = stored
        .iter()
        .map(|bytes| blob("application/vnd.oci.image.layer.v1.tar+gzip", bytes.clone()))
        .collect();
    let descriptors: Vec<&Value> = stored.iter().map(|(descriptor, _)| descriptor).collect();
    let manifest =
        json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": descriptors});
    let (descriptor, manifest_bytes) = blob(OCI_MANIFEST, manifest.to_string().into_bytes());
    let blobs = stored.iter().map(|(_, bytes)| bytes.clone()).chain([config_bytes, manifest_bytes]).collect();
    (descriptor, blobs)
}

/// An OCI archive with these top-level descriptors.
pub(crate) fn oci_archive(manifests: &[Value], blobs: &[Vec<u8>]) -> Vec<u8> {
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).to_string();
    let mut tar = Tar::new()
        .file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
        .file("index.json", index.as_bytes());
    for bytes in blobs {
        tar = tar.file(&format!("blobs/sha256/{}", Digest::of(bytes).hex()), bytes);
    }
    tar.build()
}

/// A store in a directory that is removed at the end.
pub(crate) struct Store {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: ImageStore,
}

impl Store {
    pub(crate) fn new() -> Store {
        Store::at(tempfile::tempdir().unwrap())
    }

    /// In memory: for tests that make many.
    pub(crate) fn in_memory() -> Store {
        Store::at(tempfile::tempdir_in("/dev/shm").unwrap())
    }

    fn at(dir: tempfile::TempDir) -> Store {
        let store = ImageStore::open(dir.path().join("images")).unwrap();
        Store { dir, store }
    }

    /// What lies below a part of the store.
    pub(crate) fn count(&self, part: &str) -> usize {
        std::fs::read_dir(self.dir.path().join("images").join(part)).unwrap().count()
    }
}

/// Unpacks one layer through the store: where it lies, or the error.
pub(crate) fn unpack(store: &Store, layer: Vec<u8>) -> Result<std::path::PathBuf, String> {
    let archive = docker_archive(&["t"], std::slice::from_ref(&layer), std::slice::from_ref(&layer));
    store.store.import_reader(archive.as_slice()).map_err(|error| error.to_string())?;
    Ok(store.store.resolve("t").unwrap().unwrap().layer_dirs.remove(0))
}

/// Imports an image of these layers, the lowest first.
pub(crate) fn import(store: &Store, name: &str, layers: &[Vec<u8>]) -> Result<berth_image::Image, String> {
    let archive = docker_archive(&[name], layers, layers);
    store.store.import_reader(archive.as_slice()).map_err(|error| error.to_string())?;
    Ok(store.store.resolve(name).unwrap().unwrap())
}

/// What a script prints in the image's root directory, as a container sees it.
pub(crate) fn seen(image: &berth_image::Image, script: &str) -> String {
    let lower: Vec<&str> = image.layer_dirs.iter().map(|dir| dir.to_str().unwrap()).collect();
    // A mount namespace of its own: nothing stays mounted, whatever happens. An empty layer on top, as one is not enough.
    let script = format!(
        "mount -t tmpfs t /mnt && mkdir /mnt/m /mnt/e && mount -t overlay o -o lowerdir=/mnt/e:{} /mnt/m && cd /mnt/m && {script}",
        lower.join(":")
    );
    let output = std::process::Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", &script])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// All files of an image with their content, links with their targets, directories with a slash.
pub(crate) fn listing(image: &berth_image::Image) -> String {
    let list = "find . -mindepth 1 | sort | while read -r f; do \
         if [ -h \"$f\" ]; then echo \"$f -> $(readlink \"$f\")\"; elif [ -d \"$f\" ]; then echo \"$f/\"; \
         else echo \"$f = $(cat \"$f\")\"; fi; done";
    let lines = seen(image, list);
    lines.lines().map(|line| format!("{}\n", line.trim_start_matches("./"))).collect()
}

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}
