//! Image references, parsed and normalised as Docker and the kubelet do (distribution's `reference` grammar).

use std::fmt;
use std::str::FromStr;

use crate::{Digest, ImageError};

/// The longest repository name (host excluded from no one: `host/path`) the distribution grammar allows, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// The longest tag, in bytes.
const TAG_BYTES_MAX: usize = 128;
/// Where names without a registry live, as Docker writes it.
const DEFAULT_REGISTRY: &str = "docker.io";

/// A normalised image reference: `registry/repository` with a tag, a digest, or both.
///
/// `nginx` becomes `docker.io/library/nginx:latest`; `Display` prints that full form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry's host and port, for example `docker.io` or `127.0.0.1:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path inside the registry, for example `library/nginx`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `None` only where a digest stands alone.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest, where the reference pins one.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// `registry/repository@digest`: the form a pod's `imageID` has.
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference { tag: None, digest: Some(digest), ..self.clone() }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Reference, ImageError> {
        let refuse = |reason| ImageError::InvalidReference { reference: text.to_owned(), reason };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(digest.parse().map_err(|_| refuse("invalid reference format"))?))
            }
            None => (text, None),
        };
        let (name, tag) = match rest.rfind(':') {
            // A colon before the last slash separates a port, not a tag.
            Some(at) if !rest[at..].contains('/') => (&rest[..at], Some(&rest[at + 1..])),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(refuse("invalid reference format"));
        }
        let (registry, path) = split_registry(name);
        if path.bytes().any(|b| b.is_ascii_uppercase()) && is_repository(&path.to_ascii_lowercase()) {
            return Err(refuse("invalid reference format: repository name must be lowercase"));
        }
        if !is_registry(registry) || !is_repository(path) {
            return Err(refuse("invalid reference format"));
        }
        let repository = match registry {
            DEFAULT_REGISTRY if !path.contains('/') => format!("library/{path}"),
            _ => path.to_owned(),
        };
        if registry.len() + 1 + repository.len() > NAME_BYTES_MAX {
            return Err(refuse("repository name must not be more than 255 characters"));
        }
        let tag = match (tag, digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some("latest".to_owned()),
        };
        Ok(Reference { registry: registry.to_owned(), repository, tag, digest })
    }
}

/// Docker's rule: the part before the first slash is a registry only if it looks like a host.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((host, path)) if looks_like_host(host) => match host {
            "index.docker.io" => (DEFAULT_REGISTRY, path),
            _ => (host, path),
        },
        _ => (DEFAULT_REGISTRY, name),
    }
}

fn looks_like_host(host: &str) -> bool {
    host == "localhost" || host.contains(['.', ':']) || host.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_registry(registry: &str) -> bool {
    let (host, port) = match registry.rfind(':') {
        Some(at) if !registry.ends_with(']') => (&registry[..at], Some(&registry[at + 1..])),
        _ => (registry, None),
    };
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit())) {
        return false;
    }
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    host.split('.').all(|label| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

/// Path components of lower-case letters and digits, joined inside by `.`, `_`, `__` or any number of `-`.
fn is_repository(path: &str) -> bool {
    path.split('/').all(is_component)
}

fn is_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    alphanumeric(first)
        && alphanumeric(last)
        && bytes.split(|&b| alphanumeric(b)).filter(|run| !run.is_empty()).all(is_separator)
}

fn is_separator(run: &[u8]) -> bool {
    matches!(run, b"." | b"_" | b"__") || run.iter().all(|&b| b == b'-')
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !tag.is_empty()
        && tag.len() <= TAG_BYTES_MAX
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn normalises_as_docker_does() {
        let digest = format!("@sha256:{HEX}");
        let cases = [
            ("nginx", "docker.io/library/nginx:latest".to_owned()),
            ("nginx:1.27", "docker.io/library/nginx:1.27".to_owned()),
            ("grafana/loki", "docker.io/grafana/loki:latest".to_owned()),
            ("index.docker.io/nginx", "docker.io/library/nginx:latest".to_owned()),
            ("docker.io/nginx", "docker.io/library/nginx:latest".to_owned()),
            ("localhost/app", "localhost/app:latest".to_owned()),
            ("localhost:5000/app", "localhost:5000/app:latest".to_owned()),
            ("ghcr.io/a/b_c/d--e:V1.0-x", "ghcr.io/a/b_c/d--e:V1.0-x".to_owned()),
            ("[::1]:5000/app", "[::1]:5000/app:latest".to_owned()),
            (&format!("nginx{digest}"), format!("docker.io/library/nginx{digest}")),
            (&format!("nginx:1{digest}"), format!("docker.io/library/nginx:1{digest}")),
        ];
        for (given, expected) in cases {
            let reference: Reference = given.parse().unwrap();
            assert_eq!(reference.to_string(), expected);
            assert_eq!(
                expected.parse::<Reference>().unwrap(),
                reference,
                "the full form names the same image"
            );
        }
    }

    #[test]
    fn refuses_in_the_kubelets_words() {
        let long = format!("a.io/{}", "x".repeat(NAME_BYTES_MAX));
        let bad = [
            "",
            ":",
            "a:",
            "a b",
            "-a",
            "a/",
            "/a",
            "a//b",
            "a..b",
            "a___b",
            "a@sha256:12",
            "a:b:c",
            "a.io:x/b",
            "a:-x",
        ];
        for text in bad.into_iter().chain([long.as_str()]) {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("couldn't parse image reference {text:?}: ")), "{error}");
        }
        assert_eq!(
            "MyApp:latest".parse::<Reference>().unwrap_err().to_string(),
            "couldn't parse image reference \"MyApp:latest\": invalid reference format: repository name must be lowercase"
        );
    }
}
