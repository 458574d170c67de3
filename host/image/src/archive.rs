//! Importing archives: `docker save` (manifest.json) and OCI layouts (index.json), as a tar file, a stream or a directory.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::archive_files::{Files, digest_of, extract, read_document};
use crate::compression::layer_media_type;
use crate::index::Index;
use crate::layer::layers;
use crate::manifest::{self, Config, Descriptor, Document, INDEX_DEPTH_MAX, Manifest};
use crate::meter::Taken;
use crate::platform::{Platform, pick};
use crate::staging::Staging;
use crate::store::{Writing, key, size_bytes};
use crate::{Digest, ImageError, ImageStore, ImportedImage, Reference};

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
        let files = extract(reader, staging.path())?;
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
        let taken = Taken::default();
        for (at, (layer, file)) in layers.iter().zip(&image.layers).enumerate() {
            if self.find_layer(*layer).is_none() {
                let below = self.stack(&layers[..at])?.unwrap_or_default();
                let media_type = &image.manifest.layers[at].media_type;
                self.unpack_layer(*layer, file, media_type, Some(&below), &taken)?;
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

/// The images of an OCI layout.
fn oci(files: &Files, index: &[u8]) -> Result<Vec<Found>, ImageError> {
    manifest::check_json("index.json", index)?;
    let index: manifest::Index = manifest::parse("index.json", index)?;
    let host = Platform::host();
    // An index.json may itself list one image by platform; then the other platforms are not asked for.
    let foreign =
        |entry: &Descriptor| entry.platform.as_ref().is_some_and(|platform| !platform.matches(&host));
    let candidates: Vec<&Descriptor> = match index
        .manifests
        .iter()
        .filter(|entry| entry.is_image() && !foreign(entry))
        .collect::<Vec<_>>()
    {
        ours if ours.is_empty() => vec![pick(&index)?],
        ours => ours,
    };
    candidates.into_iter().map(|entry| oci_image(files, entry)).collect()
}

fn oci_image(files: &Files, entry: &Descriptor) -> Result<Found, ImageError> {
    let mut descriptor = entry.clone();
    for _ in 0..INDEX_DEPTH_MAX {
        let bytes = files.blob_document(&descriptor)?;
        match Document::parse(&bytes, &descriptor.media_type)? {
            Document::Index(index) => descriptor = pick(&index)?.clone(),
            Document::Manifest(manifest) => {
                manifest.layers.iter().try_for_each(manifest::check_layer_type)?;
                return Ok(Found {
                    names: oci_name(entry)?,
                    config: files.blob_document(&manifest.config)?,
                    layers: manifest
                        .layers
                        .iter()
                        .map(|layer| files.blob(layer))
                        .collect::<Result<_, _>>()?,
                    manifest_bytes: bytes,
                    manifest: *manifest,
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
    manifest::check_json("manifest.json", manifest_json)?;
    let images: Vec<DockerImage> = manifest::parse("manifest.json", manifest_json)?;
    if images.is_empty() {
        return Err(ImageError::NoManifest);
    }
    images.into_iter().map(|image| docker_image(files, image)).collect()
}

fn docker_image(files: &Files, image: DockerImage) -> Result<Found, ImageError> {
    let layers = image.layers.unwrap_or_default();
    manifest::check_layer_count(layers.len())?;
    let (config_path, _) = files.require(&image.config)?;
    let config = read_document(&image.config, &config_path)?;
    let mut manifest = Manifest {
        schema_version: 2,
        media_type: manifest::OCI_MANIFEST.to_owned(),
        config: Descriptor::new(manifest::OCI_CONFIG, Digest::of(&config), config.len() as u64),
        layers: Vec::with_capacity(layers.len()),
    };
    let mut paths = Vec::with_capacity(layers.len());
    for name in &layers {
        let (path, digest) = files.require(name)?;
        let digest = match digest {
            Some(digest) => digest,
            None => digest_of(&path)?,
        };
        let file = File::open(&path).map_err(ImageError::io("open", &path))?;
        let size = file.metadata().map_err(ImageError::io("read", &path))?.len();
        let media_type = layer_media_type(file).map_err(ImageError::io("read", &path))?;
        manifest.layers.push(Descriptor::new(media_type, digest, size));
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
