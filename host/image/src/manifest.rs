//! Manifests, indexes and configs: the few fields that matter, of the OCI image specification 1.1 and of Docker's
//! distribution schema 2. Unknown fields are kept out of the way: a document is stored byte for byte.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Digest, ImageError};

/// The largest manifest, index or config read, in bytes; registries refuse larger manifests too (distribution: 4 MiB).
pub(crate) const DOCUMENT_BYTES_MAX: u64 = 8 << 20;
/// The most layers an image may have: overlayfs takes 500 lower directories.
pub(crate) const LAYERS_MAX: usize = 500;
/// How deep an index may nest indexes.
pub(crate) const INDEX_DEPTH_MAX: usize = 3;

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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
}

/// What a manifest of an index runs on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
}

impl Platform {
    /// The host's, in Go's words, which images use.
    pub(crate) fn host() -> Platform {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Platform { architecture: architecture.to_owned(), os: "linux".to_owned() }
    }

    pub(crate) fn matches(&self, other: &Platform) -> bool {
        self.architecture == other.architecture && self.os == other.os
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)
    }
}

/// An image manifest.
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
    Manifest(Manifest),
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
        let shape: Shape = parse("image manifest", bytes)?;
        let named = [shape.media_type.as_str(), media_type].into_iter().find(|name| !name.is_empty());
        match named {
            Some(OCI_INDEX | DOCKER_LIST) => Ok(Document::Index(parse("image index", bytes)?)),
            Some(OCI_MANIFEST | DOCKER_MANIFEST) => manifest(bytes),
            None if shape.manifests.is_some() => Ok(Document::Index(parse("image index", bytes)?)),
            None if shape.layers.is_some() => manifest(bytes),
            other => Err(ImageError::UnsupportedMediaType {
                what: "the image manifest".to_owned(),
                media_type: other.unwrap_or_default().to_owned(),
            }),
        }
    }
}

fn manifest(bytes: &[u8]) -> Result<Document, ImageError> {
    let manifest: Manifest = parse("image manifest", bytes)?;
    if !matches!(manifest.config.media_type.as_str(), "" | OCI_CONFIG | DOCKER_CONFIG) {
        return Err(ImageError::UnsupportedMediaType {
            what: "the manifest's config: this is an artifact, not an image".to_owned(),
            media_type: manifest.config.media_type,
        });
    }
    check_layer_count(manifest.layers.len())?;
    Ok(Document::Manifest(manifest))
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

/// The manifest for this host in an index.
pub(crate) fn pick(index: &Index) -> Result<&Descriptor, ImageError> {
    let host = Platform::host();
    let unnamed = match index.manifests.as_slice() {
        [only] if only.platform.is_none() => Some(only),
        _ => None,
    };
    let named = |entry: &&Descriptor| entry.platform.as_ref().is_some_and(|p| p.matches(&host));
    index.manifests.iter().find(named).or(unnamed).ok_or_else(|| {
        let offered: Vec<String> = index
            .manifests
            .iter()
            .filter_map(|entry| entry.platform.as_ref())
            .map(Platform::to_string)
            .collect();
        ImageError::NoPlatform {
            wanted: host.to_string(),
            offered: if offered.is_empty() { "none".to_owned() } else { offered.join(", ") },
        }
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
        let config: Config = parse("image config", bytes)?;
        let platform = Platform { architecture: config.architecture.clone(), os: config.os.clone() };
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
    serde_json::from_slice(bytes)
        .map_err(|error| ImageError::InvalidDocument { what: what.to_owned(), detail: error.to_string() })
}

/// Go writes empty slices and maps as `null`.
fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
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
    fn picks_the_hosts_platform() {
        let entry = |os: &str, arch: &str| {
            format!(
                r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{D}","size":1,"platform":{{"os":"{os}","architecture":"{arch}"}}}}"#
            )
        };
        let host = Platform::host();
        let index = |entries: &[String]| -> Index {
            parse("index", format!(r#"{{"manifests":[{}]}}"#, entries.join(",")).as_bytes()).unwrap()
        };
        let both = index(&[entry("windows", "amd64"), entry("linux", &host.architecture)]);
        assert_eq!(pick(&both).unwrap().platform.as_ref().unwrap().os, "linux");
        let error =
            pick(&index(&[entry("windows", "amd64"), entry("linux", "vax")])).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("no match for platform {host} in manifest; it offers windows/amd64, linux/vax")
        );
    }

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
