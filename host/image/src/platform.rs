//! What images run on, and which one of an index this host runs.

use serde::{Deserialize, Serialize};

use crate::ImageError;
use crate::error::plain;
use crate::manifest::{Descriptor, Index, null_default};

/// What a manifest of an index runs on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub(crate) variant: String,
}

impl Platform {
    /// The host's, in Go's words, which images use.
    pub(crate) fn host() -> Platform {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        Platform { architecture: architecture.to_owned(), os: "linux".to_owned(), variant: String::new() }
    }

    pub(crate) fn is_unknown(&self) -> bool {
        self.os == "unknown" || self.architecture == "unknown"
    }

    pub(crate) fn matches(&self, other: &Platform) -> bool {
        self.architecture == other.architecture && self.os == other.os
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", plain(&self.os), plain(&self.architecture))
    }
}

/// How many platforms are named in an error.
const OFFERED_MAX: usize = 20;

/// The manifest for this host in an index: of several the one that asks for the least of the processor.
pub(crate) fn pick(index: &Index) -> Result<&Descriptor, ImageError> {
    let host = Platform::host();
    let images = || index.manifests.iter().filter(|entry| entry.is_image());
    let ours = images().filter_map(|entry| entry.platform.as_ref().map(|platform| (platform, entry)));
    let named = ours
        .filter(|(platform, _)| platform.matches(&host))
        .min_by_key(|(platform, _)| platform.variant.as_str())
        .map(|(_, entry)| entry);
    let unnamed = images().find(|entry| entry.platform.is_none());
    named.or(unnamed).ok_or_else(|| {
        let mut offered: Vec<String> =
            images().filter_map(|entry| entry.platform.as_ref()).map(Platform::to_string).collect();
        offered.dedup();
        if offered.len() > OFFERED_MAX {
            offered.truncate(OFFERED_MAX);
            offered.push("more".to_owned());
        }
        ImageError::NoPlatform {
            wanted: host.to_string(),
            offered: if offered.is_empty() { "none".to_owned() } else { offered.join(", ") },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{OCI_MANIFEST, parse};

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
}
