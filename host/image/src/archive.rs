//! Importing archives: `docker save` (manifest.json) and OCI layouts (index.json), as a tar file, a stream or a directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::compression::{decompress, layer_media_type};
use crate::digest::Digesting;
use crate::index::Index;
use crate::layer::layers;
use crate::manifest::{
    self, Config, DOCUMENT_BYTES_MAX, Descriptor, Document, INDEX_DEPTH_MAX, Manifest, Platform,
};
use crate::safe_dir;
use crate::staging::Staging;
use crate::store::{Writing, key, size_bytes};
use crate::unpack::Budget;
use crate::{Digest, ImageError, ImageStore, ImportedImage, Reference};

/// The most entries of an archive: a few per layer and image.
const ENTRIES_MAX: usize = 100_000;
/// The most bytes of an archive, decompressed; it is staged on disk before it is believed.
const ARCHIVE_BYTES_MAX: u64 = 256 << 30;
/// How many links lead from one name to another (old `docker save` shares layers that way).
const LINKS_MAX: usize = 8;
const CONTAINERD_NAME: &str = "io.containerd.image.name";
const OCI_NAME: &str = "org.opencontainers.image.ref.name";

impl ImageStore {
    /// Imports every image of a `docker save` or OCI archive file (plain, gzip or zstd), or of an OCI layout directory.
    /// Either all of its images are named afterwards, or none.
    pub fn import_archive(&self, path: &Path) -> Result<Vec<ImportedImage>, ImageError> {
        if path.is_dir() {
            return self.import(&Files::Directory(path.to_owned()), &self.writing()?);
        }
        self.import_reader(File::open(path).map_err(ImageError::io("open", path))?)
    }

    /// As [`ImageStore::import_archive`], from a stream (an upload, standard input).
    pub fn import_reader(&self, reader: impl Read) -> Result<Vec<ImportedImage>, ImageError> {
        // Before anything is staged: a store that is opened clears what nobody is writing.
        let writing = self.writing()?;
        let staging = Staging::new(&self.root)?;
        let files = stage(reader, staging.path())?;
        self.import(&files, &writing)
    }

    fn import(&self, files: &Files, _: &Writing) -> Result<Vec<ImportedImage>, ImageError> {
        let found = match (files.document("index.json")?, files.document("manifest.json")?) {
            (Some(index), _) => oci(files, &index)?,
            (None, Some(manifest)) => docker(files, &manifest)?,
            (None, None) => return Err(ImageError::NoManifest),
        };
        let mut imported: Vec<ImportedImage> = Vec::new();
        for image in found {
            let done = self.add(image)?;
            match imported.iter_mut().find(|other| other.digest == done.digest) {
                Some(other) => other.names.extend(done.names),
                None => imported.push(done),
            }
        }
        Index::update(&self.root, |index| {
            for image in &imported {
                let unnamed = image.names.is_empty().then(|| image.digest.to_string());
                for name in image.names.iter().cloned().chain(unnamed) {
                    index.references.insert(name, image.digest);
                }
            }
        })?;
        Ok(imported)
    }

    fn add(&self, image: Found) -> Result<ImportedImage, ImageError> {
        let config = Config::parse(&image.config)?;
        check_layers(&config, image.layers.len())?;
        let layers = layers(&config.rootfs.diff_ids);
        for (at, (layer, file)) in layers.iter().zip(&image.layers).enumerate() {
            if self.find_layer(*layer).is_none()
                && let Some(pending) = self.unpack_layer(*layer, file)?
            {
                self.complete_layer(pending, *layer, &layers[..at])?;
            }
        }
        self.put_blob(&image.config)?;
        let digest = self.put_blob(&image.manifest_bytes)?;
        Ok(ImportedImage { names: image.names, digest, size_bytes: size_bytes(&image.manifest) })
    }
}

/// A config names one `diff_id` for each of the manifest's layers.
pub(crate) fn check_layers(config: &Config, layers: usize) -> Result<(), ImageError> {
    let diff_ids = config.rootfs.diff_ids.len();
    if diff_ids != layers {
        let detail = format!("it names {diff_ids} layers, the manifest {layers}");
        return Err(ImageError::InvalidDocument { what: "image config".to_owned(), detail });
    }
    Ok(())
}

/// An image of the archive, its documents read and checked.
struct Found {
    names: Vec<String>,
    manifest: Manifest,
    manifest_bytes: Vec<u8>,
    config: Vec<u8>,
    layers: Vec<PathBuf>,
}

/// The archive's files by name.
enum Files {
    Directory(PathBuf),
    Staged { files: BTreeMap<PathBuf, (PathBuf, Digest)>, links: BTreeMap<PathBuf, PathBuf> },
}

impl Files {
    fn find(&self, name: &str) -> Result<Option<(PathBuf, Option<Digest>)>, ImageError> {
        let bad =
            || ImageError::BrokenArchive { detail: format!("the name {name:?} leads outside the archive") };
        let mut path = safe_dir::clean(Path::new(name)).ok_or_else(bad)?;
        match self {
            Files::Directory(root) => Ok(Some((root.join(path), None)).filter(|(path, _)| path.is_file())),
            Files::Staged { files, links } => {
                for _ in 0..LINKS_MAX {
                    match links.get(&path) {
                        Some(target) => path.clone_from(target),
                        None => break,
                    }
                }
                Ok(files.get(&path).map(|(file, digest)| (file.clone(), Some(*digest))))
            }
        }
    }

    fn need(&self, name: &str) -> Result<(PathBuf, Option<Digest>), ImageError> {
        self.find(name)?.ok_or_else(|| ImageError::MissingFile { name: name.to_owned() })
    }

    fn document(&self, name: &str) -> Result<Option<Vec<u8>>, ImageError> {
        self.find(name)?.map(|(path, _)| read_document(name, &path)).transpose()
    }

    /// The blob a descriptor names, whose digest is checked.
    fn blob(&self, descriptor: &Descriptor) -> Result<PathBuf, ImageError> {
        let name = format!("blobs/sha256/{}", descriptor.digest.hex());
        let (path, known) = self.need(&name)?;
        let actual = match known {
            Some(digest) => digest,
            None => digest_of(&path)?,
        };
        if actual != descriptor.digest {
            return Err(ImageError::WrongDigest { what: name, expected: descriptor.digest, actual });
        }
        Ok(path)
    }

    fn blob_document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ImageError> {
        let path = self.blob(descriptor)?;
        read_document(&format!("blob {}", descriptor.digest), &path)
    }
}

fn read_document(name: &str, path: &Path) -> Result<Vec<u8>, ImageError> {
    let file = File::open(path).map_err(ImageError::io("open", path))?;
    let mut bytes = Vec::new();
    file.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(ImageError::io("read", path))?;
    if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
        return Err(ImageError::TooLarge {
            what: name.to_owned(),
            limit: format!("{} MiB", DOCUMENT_BYTES_MAX >> 20),
        });
    }
    Ok(bytes)
}

fn digest_of(path: &Path) -> Result<Digest, ImageError> {
    let mut file = Digesting::new(File::open(path).map_err(ImageError::io("open", path))?);
    io::copy(&mut file, &mut io::sink()).map_err(ImageError::io("read", path))?;
    Ok(file.finish().1)
}

/// Writes the archive's regular files under numbered names into `dir`: its own names never touch the file system.
fn stage(reader: impl Read, dir: &Path) -> Result<Files, ImageError> {
    let broken = |error: io::Error| ImageError::broken("", &error);
    let plain = decompress("image archive", reader)?;
    let (budget, spender) = Budget::new(plain.take(ARCHIVE_BYTES_MAX));
    let mut archive = tar::Archive::new(budget);
    let (mut files, mut links) = (BTreeMap::new(), BTreeMap::new());
    let mut bytes = 0;
    let mut entries = archive.entries().map_err(broken)?;
    for number in 0.. {
        spender.headers();
        let Some(entry) = entries.next() else { break };
        spender.content();
        if number >= ENTRIES_MAX {
            return Err(ImageError::TooLarge {
                what: "image archive".into(),
                limit: format!("{ENTRIES_MAX} entries"),
            });
        }
        let mut entry = entry.map_err(broken)?;
        let given = entry.path().map_err(broken)?.into_owned();
        let outside =
            |what: &Path| ImageError::BrokenArchive { detail: format!("{what:?} leads outside the archive") };
        let name = safe_dir::clean(&given).ok_or_else(|| outside(&given))?;
        let kind = entry.header().entry_type();
        if kind.is_symlink() || kind.is_hard_link() {
            let target = entry.link_name().map_err(broken)?.unwrap_or_default().into_owned();
            let from = if kind.is_symlink() { name.parent() } else { None };
            let target = join(from.unwrap_or(Path::new("")), &target).ok_or_else(|| outside(&target))?;
            links.insert(name, target);
        } else if kind.is_file() {
            let path = dir.join(number.to_string());
            let file = File::create_new(&path).map_err(ImageError::io("create", &path))?;
            let mut file = Digesting::new(file);
            let size = entry.size();
            bytes += io::copy(&mut entry, &mut file).map_err(broken)?;
            let (_, digest, written) = file.finish();
            if written != size {
                return Err(ImageError::BrokenArchive { detail: format!("{given:?} ends early") });
            }
            files.insert(name, (path, digest));
        }
        if bytes >= ARCHIVE_BYTES_MAX {
            let limit = format!("{} GiB", ARCHIVE_BYTES_MAX >> 30);
            return Err(ImageError::TooLarge { what: "image archive".into(), limit });
        }
    }
    Ok(Files::Staged { files, links })
}

/// `from/target` without `..`; `None` when it leads out.
fn join(from: &Path, target: &Path) -> Option<PathBuf> {
    if target.is_absolute() {
        return None;
    }
    let mut joined = from.to_owned();
    for component in target.components() {
        match component {
            std::path::Component::ParentDir => joined.pop().then_some(())?,
            std::path::Component::Normal(name) => joined.push(name),
            _ => {}
        }
    }
    Some(joined)
}

/// The images of an OCI layout.
fn oci(files: &Files, index: &[u8]) -> Result<Vec<Found>, ImageError> {
    let index: manifest::Index = manifest::parse("index.json", index)?;
    let host = Platform::host();
    // An index.json may itself list one image by platform; then the other platforms are not asked for.
    let foreign =
        |entry: &Descriptor| entry.platform.as_ref().is_some_and(|platform| !platform.matches(&host));
    let candidates: Vec<&Descriptor> =
        match index.manifests.iter().filter(|entry| !foreign(entry)).collect::<Vec<_>>() {
            ours if ours.is_empty() => vec![manifest::pick(&index)?],
            ours => ours,
        };
    candidates.into_iter().map(|entry| oci_image(files, entry)).collect()
}

fn oci_image(files: &Files, entry: &Descriptor) -> Result<Found, ImageError> {
    let mut descriptor = entry.clone();
    for _ in 0..INDEX_DEPTH_MAX {
        let bytes = files.blob_document(&descriptor)?;
        match Document::parse(&bytes, &descriptor.media_type)? {
            Document::Index(index) => descriptor = manifest::pick(&index)?.clone(),
            Document::Manifest(manifest) => {
                return Ok(Found {
                    names: oci_name(entry)?,
                    config: files.blob_document(&manifest.config)?,
                    layers: manifest
                        .layers
                        .iter()
                        .map(|layer| files.blob(layer))
                        .collect::<Result<_, _>>()?,
                    manifest_bytes: bytes,
                    manifest,
                });
            }
        }
    }
    Err(ImageError::TooLarge {
        what: "the nesting of image indexes".into(),
        limit: INDEX_DEPTH_MAX.to_string(),
    })
}

/// containerd's annotation has the full name; the specification's may be a name or only a tag, of which a name is made.
fn oci_name(entry: &Descriptor) -> Result<Vec<String>, ImageError> {
    let name = entry.annotations.get(CONTAINERD_NAME).or_else(|| entry.annotations.get(OCI_NAME));
    name.map(|name| key(name)).transpose().map(|name| name.into_iter().collect())
}

/// One image of docker save's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// The images of a `docker save` archive. It has no manifests, so one is made from what it has.
fn docker(files: &Files, manifest_json: &[u8]) -> Result<Vec<Found>, ImageError> {
    let images: Vec<DockerImage> = manifest::parse("manifest.json", manifest_json)?;
    if images.is_empty() {
        return Err(ImageError::NoManifest);
    }
    images.into_iter().map(|image| docker_image(files, image)).collect()
}

fn docker_image(files: &Files, image: DockerImage) -> Result<Found, ImageError> {
    let layers = image.layers.unwrap_or_default();
    manifest::check_layer_count(layers.len())?;
    let (config_path, _) = files.need(&image.config)?;
    let config = read_document(&image.config, &config_path)?;
    let mut manifest = Manifest {
        schema_version: 2,
        media_type: manifest::OCI_MANIFEST.to_owned(),
        config: descriptor(manifest::OCI_CONFIG, Digest::of(&config), config.len() as u64),
        layers: Vec::with_capacity(layers.len()),
    };
    let mut paths = Vec::with_capacity(layers.len());
    for name in &layers {
        let (path, digest) = files.need(name)?;
        let digest = match digest {
            Some(digest) => digest,
            None => digest_of(&path)?,
        };
        let file = File::open(&path).map_err(ImageError::io("open", &path))?;
        let size = file.metadata().map_err(ImageError::io("read", &path))?.len();
        let media_type = layer_media_type(file).map_err(ImageError::io("read", &path))?;
        manifest.layers.push(descriptor(media_type, digest, size));
        paths.push(path);
    }
    let manifest_bytes = serde_json::to_vec(&manifest).map_err(|error| ImageError::InvalidDocument {
        what: "image manifest".to_owned(),
        detail: error.to_string(),
    })?;
    let tags: BTreeSet<String> = image.repo_tags.unwrap_or_default().into_iter().collect();
    let names = tags
        .iter()
        .map(|tag| tag.parse::<Reference>().map(|tag| tag.to_string()))
        .collect::<Result<_, _>>()?;
    Ok(Found { names, manifest, manifest_bytes, config, layers: paths })
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        annotations: BTreeMap::new(),
        platform: None,
    }
}
