//! The image store: names to images, images to layer directories.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{Flock, FlockArg};
use tokio::sync::Semaphore;

use crate::index::{self, Index};
use crate::layer;
use crate::manifest::{self, Config, Manifest};
use crate::staging::Staging;
use crate::{Digest, ImageError, Reference};

/// A store of images under one directory. Clones share it.
#[derive(Clone, Debug)]
pub struct ImageStore {
    pub(crate) root: Arc<PathBuf>,
    /// Held while a pulled layer is unpacked.
    pub(crate) unpacking: Arc<Semaphore>,
}

/// How many pulled layers are unpacked at once: it takes a core each, and a zstd window of up to 128 MiB.
const UNPACKING_MAX: usize = 4;

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

/// Held by whoever writes anything, content that no name reaches yet or temporary files: garbage collection waits for it,
/// and a store that is opened leaves `tmp` alone.
pub(crate) struct Writing {
    _lock: Flock<File>,
}

impl ImageStore {
    /// Opens the store in `dir`, creating it (mode 0700) when it is not there, and clears what a crash left half-written.
    pub fn open(dir: impl Into<PathBuf>) -> Result<ImageStore, ImageError> {
        let root = dir.into();
        for part in ["blobs/sha256", "layers", "tmp"] {
            let path = root.join(part);
            fs::create_dir_all(&path).map_err(ImageError::io("create", path))?;
        }
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700))
            .map_err(ImageError::io("change", &root))?;
        let root = root.canonicalize().map_err(ImageError::io("resolve", &root))?;
        let store = ImageStore { root: Arc::new(root), unpacking: Arc::new(Semaphore::new(UNPACKING_MAX)) };
        // Nobody else is writing: what lies in tmp is a dead process's.
        if let Ok(_alone) = index::lock(&store.root, GC_LOCK, FlockArg::LockExclusiveNonblock) {
            let tmp = store.root.join("tmp");
            for entry in files(&tmp)? {
                fs::remove_dir_all(&entry).map_err(ImageError::io("remove", entry))?;
            }
        }
        Index::read(&store.root)?;
        Ok(store)
    }

    /// The image a name points to. Short and full forms name the same (`my-app`, `docker.io/library/my-app:latest`);
    /// `name@sha256:…` and a bare manifest or config digest `sha256:…` are found too.
    /// `Ok(None)` when it is not here, or not completely; an error when the name is no reference or the store is damaged.
    pub fn resolve(&self, name: &str) -> Result<Option<Image>, ImageError> {
        let index = Index::read(&self.root)?;
        match find(&index, name)? {
            Found::Manifest(digest) => self.load(&index, digest),
            Found::Unknown => Ok(None),
            Found::PerhapsConfig(config) => {
                let digests: BTreeSet<Digest> = index.references.values().copied().collect();
                for digest in digests {
                    if let Some(image) =
                        self.load(&index, digest)?.filter(|image| image.config_digest == config)
                    {
                        return Ok(Some(image));
                    }
                }
                Ok(None)
            }
        }
    }

    /// All images, sorted by first name.
    pub fn list(&self) -> Result<Vec<ImageSummary>, ImageError> {
        let index = Index::read(&self.root)?;
        let digests: BTreeSet<Digest> = index.references.values().copied().collect();
        let mut images = Vec::with_capacity(digests.len());
        for digest in digests {
            if let Some(Image { digest, config_digest, names, size_bytes, created, .. }) =
                self.load(&index, digest)?
            {
                images.push(ImageSummary { digest, config_digest, names, size_bytes, created });
            }
        }
        images.sort_by(|a, b| (&a.names, a.digest).cmp(&(&b.names, b.digest)));
        Ok(images)
    }

    /// Removes a name; content stays until [`ImageStore::gc`]. A bare digest `sha256:…` removes an image without a name.
    pub fn remove(&self, name: &str) -> Result<Removal, ImageError> {
        let key = key(name)?;
        let _writing = self.writing()?;
        Index::update(&self.root, |index| match index.references.remove(&key) {
            None => Removal::NotFound,
            Some(digest) if index.references.values().any(|other| *other == digest) => Removal::Untagged,
            Some(_) => Removal::Unreferenced,
        })
    }

    /// Deletes manifests, configs and layers that no name reaches, except of the images in `in_use`
    /// (manifest digests of the images that containers run from). Waits for running imports and pulls.
    pub fn gc(&self, in_use: &BTreeSet<Digest>) -> Result<GcReport, ImageError> {
        let _alone = index::lock(&self.root, GC_LOCK, FlockArg::LockExclusive)?;
        let index = Index::read(&self.root)?;
        let (mut blobs, mut layers) = (BTreeSet::new(), BTreeSet::new());
        for digest in index.references.values().chain(in_use) {
            let is_running = in_use.contains(digest);
            blobs.insert(digest.hex());
            let Some(manifest) = self.manifest(*digest)? else { continue };
            blobs.insert(manifest.config.digest.hex());
            if let Some(config) = self.read_blob(manifest.config.digest)? {
                let chain = layer::layers(&Config::parse(&config)?.rootfs.diff_ids);
                layers.extend(self.kept_layers(&chain, is_running));
            }
        }
        let staging = Staging::new(&self.root)?;
        Ok(GcReport {
            blobs: sweep(&self.root.join("blobs/sha256"), &blobs, &staging)?,
            layers: sweep(&self.root.join("layers"), &layers, &staging)?,
        })
    }

    /// Announces that something is written.
    pub(crate) fn writing(&self) -> Result<Writing, ImageError> {
        Ok(Writing { _lock: index::lock(&self.root, GC_LOCK, FlockArg::LockShared)? })
    }

    pub(crate) fn put_blob(&self, bytes: &[u8]) -> Result<Digest, ImageError> {
        let digest = Digest::of(bytes);
        // Written again even if it is there: that heals a damaged one.
        index::write_durably(&self.root, &self.blob_path(digest), bytes)?;
        Ok(digest)
    }

    /// A blob's bytes, checked against its digest.
    pub(crate) fn read_blob(&self, digest: Digest) -> Result<Option<Vec<u8>>, ImageError> {
        let path = self.blob_path(digest);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(ImageError::io("read", &path))?,
        };
        match Digest::of(&bytes) {
            actual if actual == digest => Ok(Some(bytes)),
            actual => {
                Err(ImageError::WrongDigest { what: path.display().to_string(), expected: digest, actual })
            }
        }
    }

    fn blob_path(&self, digest: Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    fn manifest(&self, digest: Digest) -> Result<Option<Manifest>, ImageError> {
        let Some(bytes) = self.read_blob(digest)? else { return Ok(None) };
        manifest::parse("image manifest", &bytes).map(Some)
    }

    pub(crate) fn load(&self, index: &Index, digest: Digest) -> Result<Option<Image>, ImageError> {
        let Some(manifest) = self.manifest(digest)? else { return Ok(None) };
        let Some(bytes) = self.read_blob(manifest.config.digest)? else { return Ok(None) };
        let config = Config::parse(&bytes)?;
        let Some(layer_dirs) = self.layer_dirs(&layer::layers(&config.rootfs.diff_ids))? else {
            tracing::warn!(%digest, "image store: an image lacks a layer; it has to be pulled or imported again");
            return Ok(None);
        };
        let names = index.references.iter().filter(|(name, to)| **to == digest && !is_digest(name));
        Ok(Some(Image {
            digest,
            config_digest: manifest.config.digest,
            names: names.map(|(name, _)| name.clone()).collect(),
            layer_dirs,
            size_bytes: size_bytes(&manifest),
            created: config.created,
            config: run_config(config.config),
        }))
    }
}

const GC_LOCK: &str = "gc.lock";

/// Config and layers, as the manifest states them.
pub(crate) fn size_bytes(manifest: &Manifest) -> u64 {
    manifest.layers.iter().fold(manifest.config.size, |sum, layer| sum.saturating_add(layer.size))
}

enum Found {
    Manifest(Digest),
    PerhapsConfig(Digest),
    Unknown,
}

fn is_digest(name: &str) -> bool {
    name.starts_with("sha256:")
}

/// How the index writes a name. `name:tag@digest` is kept as `name@digest`: the digest alone decides.
pub(crate) fn key(name: &str) -> Result<String, ImageError> {
    if is_digest(name) {
        return Ok(name.parse::<Digest>()?.to_string());
    }
    let reference: Reference = name.parse()?;
    Ok(match reference.digest() {
        Some(digest) => reference.with_digest(digest).to_string(),
        None => reference.to_string(),
    })
}

fn find(index: &Index, name: &str) -> Result<Found, ImageError> {
    if let Some(digest) = index.references.get(&key(name)?) {
        return Ok(Found::Manifest(*digest));
    }
    if is_digest(name) {
        let digest = name.parse()?;
        let known = index.references.values().any(|to| *to == digest);
        return Ok(if known { Found::Manifest(digest) } else { Found::PerhapsConfig(digest) });
    }
    let reference: Reference = name.parse()?;
    let repository = format!("{}/{}", reference.registry(), reference.repository());
    let same_repository =
        |known: &str| known.strip_prefix(&repository).is_some_and(|rest| rest.starts_with([':', '@']));
    // A tag of the repository that has the digest asked for.
    let by_digest =
        |digest| index.references.iter().any(|(known, to)| *to == digest && same_repository(known));
    Ok(match reference.digest() {
        Some(digest) if by_digest(digest) => Found::Manifest(digest),
        _ => Found::Unknown,
    })
}

fn run_config(config: manifest::RunConfig) -> ImageConfig {
    ImageConfig {
        entrypoint: config.entrypoint,
        cmd: config.cmd,
        env: config.env,
        working_dir: config.working_dir,
        user: config.user,
        exposed_ports: config.exposed_ports.into_keys().collect(),
        stop_signal: config.stop_signal,
        volumes: config.volumes.into_keys().collect(),
        labels: config.labels,
    }
}

/// Deletes the entries of `dir` that are not in `keep`. A layer is moved away first, so that none is ever half there.
fn sweep(dir: &Path, keep: &BTreeSet<String>, staging: &Staging) -> Result<usize, ImageError> {
    let mut count = 0;
    for path in files(dir)? {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if keep.contains(name) {
            continue;
        }
        fs::rename(&path, staging.path().join(name)).map_err(ImageError::io("remove", &path))?;
        count += 1;
    }
    Ok(count)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let entries = fs::read_dir(dir).map_err(ImageError::io("read", dir))?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(ImageError::io("read", dir))).collect()
}
