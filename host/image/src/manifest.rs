//! Manifests, indexes and configs: the few fields that matter, of the OCI image specification 1.1 and of Docker's
//! distribution schema 2. Unknown fields are kept out of the way: a document is stored byte for byte.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::plain;
use crate::platform::Platform;
use crate::{Digest, ImageError};

/// The largest manifest, index or config read, in bytes; registries refuse larger manifests too (distribution: 4 MiB).
pub(crate) const DOCUMENT_BYTES_MAX: u64 = 8 << 20;
/// The most layers an image may have: overlayfs takes 500 lower directories.
pub(crate) const LAYERS_MAX: usize = 500;
/// The most values of a document from outside; an image of 500 layers with its history has some thousand.
const VALUES_MAX: usize = 100_000;
/// How deep its values may nest; images need five.
const DEPTH_MAX: usize = 32;
/// How deep an index may nest indexes.
pub(crate) const INDEX_DEPTH_MAX: usize = 3;

/// BuildKit's mark on what belongs to an image and is none.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// A pointer to content.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    #[serde(default)]
    pub(crate) size: u64,
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    /// Where it is besides in the registry ("foreign" layers).
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub(crate) urls: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    /// Of what is no image: an attestation, a signature.
    #[serde(default, deserialize_with = "null_default", skip_serializing)]
    artifact_type: String,
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, digest: Digest, size: u64) -> Descriptor {
        Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size,
            annotations: BTreeMap::new(),
            urls: Vec::new(),
            platform: None,
            artifact_type: String::new(),
        }
    }

    /// Refuses content that is not the one meant.
    pub(crate) fn check(&self, what: &str, bytes: &[u8]) -> Result<(), ImageError> {
        self.digest.check(what, bytes)?;
        self.check_size(what, bytes.len() as u64)
    }

    /// Refuses content of another size. Some writers of archives leave it out.
    pub(crate) fn check_size(&self, what: &str, bytes: u64) -> Result<(), ImageError> {
        if self.size != 0 && self.size != bytes {
            let detail = format!("it has {bytes} bytes, and {} are stated", self.size);
            return Err(ImageError::InvalidDocument { what: what.to_owned(), detail });
        }
        Ok(())
    }

    /// Whether it may be an image: not an attestation that BuildKit puts beside one, nor another artifact.
    pub(crate) fn is_image(&self) -> bool {
        let is_unknown = self.platform.as_ref().is_some_and(Platform::is_unknown);
        !is_unknown && self.artifact_type.is_empty() && !self.annotations.contains_key(REFERENCE_TYPE)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// An index: manifests by platform.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Index {
    #[serde(default)]
    pub(crate) manifests: Vec<Descriptor>,
}

/// A manifest or an index, told apart by media type or, where that is missing, by shape.
pub(crate) enum Document {
    Manifest(Box<Manifest>),
    Index(Index),
}

impl Document {
    pub(crate) fn parse(bytes: &[u8], media_type: &str) -> Result<Document, ImageError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Shape {
            #[serde(default)]
            media_type: String,
            manifests: Option<serde::de::IgnoredAny>,
            layers: Option<serde::de::IgnoredAny>,
        }
        check_json("image manifest", bytes)?;
        let shape: Shape = parse("image manifest", bytes)?;
        if shape.manifests.is_some() && shape.layers.is_some() {
            // Whoever checks one reading and whoever runs the other would see different images (CVE-2021-41190).
            let detail = "it has both manifests and layers".to_owned();
            return Err(ImageError::InvalidDocument { what: "image manifest".to_owned(), detail });
        }
        let named = [shape.media_type.as_str(), media_type].into_iter().find(|name| !name.is_empty());
        match named {
            Some(OCI_INDEX | DOCKER_LIST) => Ok(Document::Index(parse("image index", bytes)?)),
            Some(OCI_MANIFEST | DOCKER_MANIFEST) => manifest(bytes),
            None if shape.manifests.is_some() => Ok(Document::Index(parse("image index", bytes)?)),
            None if shape.layers.is_some() => manifest(bytes),
            other => Err(ImageError::UnsupportedMediaType {
                what: "the image manifest".to_owned(),
                media_type: plain(other.unwrap_or_default()),
            }),
        }
    }
}

fn manifest(bytes: &[u8]) -> Result<Document, ImageError> {
    let manifest: Manifest = parse("image manifest", bytes)?;
    if !matches!(manifest.config.media_type.as_str(), "" | OCI_CONFIG | DOCKER_CONFIG) {
        return Err(ImageError::UnsupportedMediaType {
            what: "the manifest's config: this is an artifact, not an image".to_owned(),
            media_type: plain(&manifest.config.media_type),
        });
    }
    check_layer_count(manifest.layers.len())?;
    Ok(Document::Manifest(Box::new(manifest)))
}

pub(crate) fn check_layer_count(count: usize) -> Result<(), ImageError> {
    if count > LAYERS_MAX {
        return Err(ImageError::TooLarge {
            what: format!("the image's number of layers ({count})"),
            limit: LAYERS_MAX.to_string(),
        });
    }
    Ok(())
}

/// Refuses a layer that is no file system: encrypted, an attestation, a model.
pub(crate) fn check_layer_type(layer: &Descriptor) -> Result<(), ImageError> {
    const TYPES: [&str; 5] = [
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.docker.container.image.rootfs.diff+x-gtar",
    ];
    let media_type = layer.media_type.as_str();
    let rest = TYPES.iter().find_map(|known| media_type.strip_prefix(known));
    if media_type.is_empty() || matches!(rest, Some("" | "+gzip" | ".gzip" | "+zstd" | ".zstd")) {
        return Ok(());
    }
    Err(ImageError::UnsupportedMediaType {
        what: format!("layer {}", layer.digest),
        media_type: plain(media_type),
    })
}

/// An image config, as far as a node needs it.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Config {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default, deserialize_with = "null_default")]
    pub(crate) created: String,
    #[serde(default, deserialize_with = "null_default")]
    pub(crate) config: RunConfig,
    pub(crate) rootfs: RootFs,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct RootFs {
    #[serde(default, deserialize_with = "null_default")]
    pub(crate) diff_ids: Vec<Digest>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct RunConfig {
    #[serde(deserialize_with = "null_default")]
    pub(crate) user: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) env: Vec<String>,
    #[serde(deserialize_with = "null_default")]
    pub(crate) entrypoint: Vec<String>,
    #[serde(deserialize_with = "null_default")]
    pub(crate) cmd: Vec<String>,
    #[serde(deserialize_with = "null_default")]
    pub(crate) working_dir: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) stop_signal: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) exposed_ports: BTreeMap<String, serde::de::IgnoredAny>,
    #[serde(deserialize_with = "null_default")]
    pub(crate) volumes: BTreeMap<String, serde::de::IgnoredAny>,
    #[serde(deserialize_with = "null_default")]
    pub(crate) labels: BTreeMap<String, String>,
}

impl Config {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Config, ImageError> {
        check_json("image config", bytes)?;
        let config: Config = parse("image config", bytes)?;
        let (architecture, os) = (config.architecture.clone(), config.os.clone());
        let platform = Platform { architecture, os, variant: String::new() };
        let host = Platform::host();
        // Old builders left the fields out; only what is named can be wrong.
        if !platform.os.is_empty() && !platform.architecture.is_empty() && !platform.matches(&host) {
            return Err(ImageError::NoPlatform { wanted: host.to_string(), offered: platform.to_string() });
        }
        check_layer_count(config.rootfs.diff_ids.len())?;
        Ok(config)
    }
}

/// Parses JSON, naming the document in the error.
pub(crate) fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|error| ImageError::InvalidDocument {
        what: what.to_owned(),
        detail: plain(&error.to_string()),
    })
}

/// Refuses a document from outside that would take much more memory than it has bytes, before anything is made of it.
pub(crate) fn check_json(what: &str, bytes: &[u8]) -> Result<(), ImageError> {
    let (mut depth, mut values, mut in_string, mut escaped) = (0_usize, 1_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                values += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        let limit = match () {
            () if depth > DEPTH_MAX => format!("{DEPTH_MAX} values inside each other"),
            () if values > VALUES_MAX => format!("{VALUES_MAX} values"),
            () => continue,
        };
        return Err(ImageError::TooLarge { what: what.to_owned(), limit });
    }
    Ok(())
}

/// Go writes empty slices and maps as `null`.
pub(crate) fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn configs_with_nulls_are_read_and_other_platforms_refused() {
        let config = Config::parse(
            br#"{"created":null,"config":{"Env":null,"Entrypoint":null,"Cmd":["x"],"Volumes":{"/d":{}}},"rootfs":{"diff_ids":null}}"#,
        )
        .unwrap();
        assert_eq!(config.config.cmd, ["x"]);
        assert!(config.config.volumes.contains_key("/d"));
        let error = Config::parse(br#"{"os":"windows","architecture":"amd64","rootfs":{}}"#).unwrap_err();
        assert!(matches!(error, ImageError::NoPlatform { .. }));
    }

    #[test]
    fn artifacts_and_unknown_types_are_no_images() {
        let helm = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"{D}","size":2}},"layers":[]}}"#
        );
        for (bytes, media_type) in [(helm.as_str(), ""), ("{}", "text/html"), ("{}", "")] {
            let result = Document::parse(bytes.as_bytes(), media_type);
            assert!(matches!(result, Err(ImageError::UnsupportedMediaType { .. })), "{bytes}");
        }
    }
}
