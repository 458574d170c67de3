//! The image store: names to images, images to layer directories.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::{Digest, ImageError};

/// A store of images under one directory. Clones share it.
#[derive(Clone, Debug)]
pub struct ImageStore {
    pub(crate) root: Arc<PathBuf>,
}

/// An image that is present and unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The digest of its manifest, as in `name@digest`.
    pub digest: Digest,
    /// The digest of its config: Docker's image ID.
    pub config_digest: Digest,
    /// The names that point to it, in full form, sorted; empty for an image imported without one.
    pub names: Vec<String>,
    /// How to run it.
    pub config: ImageConfig,
    /// The unpacked layers, **top-most first**: overlayfs' `lowerdir` order.
    pub layer_dirs: Vec<PathBuf>,
    /// The size of config and (compressed) layers as the manifest states it, in bytes: what `kubectl describe node` shows.
    pub size_bytes: u64,
    /// When it was built, RFC 3339; empty when the config does not say.
    pub created: String,
}

/// How a container of an image runs when the pod does not say otherwise (OCI image config, `config`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// The command; the pod's `command` replaces it **and** `cmd`.
    pub entrypoint: Vec<String>,
    /// Arguments; the pod's `args` replace them.
    pub cmd: Vec<String>,
    /// `NAME=value` pairs.
    pub env: Vec<String>,
    /// The working directory; empty for `/`.
    pub working_dir: String,
    /// `user`, `uid`, `user:group` or `uid:gid`; empty for root.
    pub user: String,
    /// For example `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// For example `SIGQUIT` or `3`; empty for SIGTERM.
    pub stop_signal: String,
    /// Paths that want a volume of their own.
    pub volumes: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// One line of `berth images`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSummary {
    /// The manifest's digest.
    pub digest: Digest,
    /// The config's digest: Docker's image ID.
    pub config_digest: Digest,
    /// The names that point to it, in full form, sorted.
    pub names: Vec<String>,
    /// As [`Image::size_bytes`].
    pub size_bytes: u64,
    /// As [`Image::created`].
    pub created: String,
}

/// One image taken from an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedImage {
    /// The names the archive gives it, in full form; empty when it gives none (then it is found by its digest).
    pub names: Vec<String>,
    /// The manifest's digest.
    pub digest: Digest,
    /// As [`Image::size_bytes`].
    pub size_bytes: u64,
}

/// What [`ImageStore::remove`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The name is gone; other names still point to the image.
    Untagged,
    /// The name was the image's last: the next [`ImageStore::gc`] frees its content.
    Unreferenced,
    /// There was no such name.
    NotFound,
}

/// What [`ImageStore::gc`] freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Manifests and configs deleted.
    pub blobs: usize,
    /// Layer directories deleted.
    pub layers: usize,
}

impl ImageStore {
    /// Opens the store in `dir`, creating it (mode 0700) when it is not there, and clears what a crash left half-written.
    pub fn open(dir: impl Into<PathBuf>) -> Result<ImageStore, ImageError> {
        let _ = dir.into();
        unimplemented!()
    }

    /// Imports every image of a `docker save` or OCI archive file (plain, gzip or zstd), or of an OCI layout directory.
    /// Either all of its images are named afterwards, or none.
    pub fn import_archive(&self, path: &Path) -> Result<Vec<ImportedImage>, ImageError> {
        let _ = path;
        unimplemented!()
    }

    /// As [`ImageStore::import_archive`], from a stream (an upload, standard input).
    pub fn import_reader(&self, reader: impl Read) -> Result<Vec<ImportedImage>, ImageError> {
        let _ = reader;
        unimplemented!()
    }

    /// The image a name points to. Short and full forms name the same (`my-app`, `docker.io/library/my-app:latest`);
    /// `name@sha256:…` and a bare manifest or config digest `sha256:…` are found too.
    /// `Ok(None)` when it is not here; an error when the name is no reference or the store is damaged.
    pub fn resolve(&self, name: &str) -> Result<Option<Image>, ImageError> {
        let _ = name;
        unimplemented!()
    }

    /// All images, sorted by first name.
    pub fn list(&self) -> Result<Vec<ImageSummary>, ImageError> {
        unimplemented!()
    }

    /// Removes a name; content stays until [`ImageStore::gc`].
    pub fn remove(&self, name: &str) -> Result<Removal, ImageError> {
        let _ = name;
        unimplemented!()
    }

    /// Deletes manifests, configs and layers that no name reaches, except of the images in `in_use`
    /// (manifest digests of the images that containers run from). Waits for running imports and pulls.
    pub fn gc(&self, in_use: &BTreeSet<Digest>) -> Result<GcReport, ImageError> {
        let _ = in_use;
        let _ = SystemTime::now();
        unimplemented!()
    }
}
