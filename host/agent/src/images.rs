//! Where a container's image comes from.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use base64::Engine;
use berth_api::time::Timestamp;
use berth_image::{
    Credentials, Digest, Image, ImageError, ImageStore, PullOptions, Reference, RegistryConfig,
};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::clock;

/// Pulls at the same time: more only share the line, and a burst of pods must not fill the disk at once.
const PULLS_MAX: usize = 3;

/// The node's images.
pub(crate) struct Images {
    pub(crate) store: ImageStore,
    options: PullOptions,
    pulls: Semaphore,
    /// One pull per name at a time; who comes second finds what the first has fetched.
    running: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
    /// Names that came from a registry, with what they meant then. All others were imported here.
    pulled: Mutex<BTreeMap<String, String>>,
    pulled_path: PathBuf,
    /// When an image was last used, or first seen. Whoever removes one holds the lock while deciding and doing it.
    used: Mutex<HashMap<Digest, Timestamp>>,
}

/// An image found for a container.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub(crate) image: Arc<Image>,
    /// `status.image`.
    pub(crate) reference: String,
    /// `status.imageID`.
    pub(crate) id: String,
    /// Milliseconds that pulling took; `None` when it was here.
    pub(crate) pulled_ms: Option<u128>,
}

/// An image on this node, as one looks at it who wants to remove some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Surveyed {
    pub(crate) digest: Digest,
    /// When it was last used, or first seen.
    pub(crate) used_at: Timestamp,
    /// It came from a registry under each of its names, and can come from there again.
    pub(crate) replaceable: bool,
}

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageFailure {
    /// The status' reason.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Images {
    pub(crate) fn open(directory: PathBuf, registries: Arc<RegistryConfig>) -> Result<Images, ImageError> {
        let store = ImageStore::open(&directory)?;
        let pulled_path = directory.join("pulled.json");
        let pulled = fs::read(&pulled_path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(Images {
            store,
            options: PullOptions { registries, progress: None },
            pulls: Semaphore::new(PULLS_MAX),
            running: Mutex::default(),
            pulled: Mutex::new(pulled.unwrap_or_default()),
            pulled_path,
            used: Mutex::default(),
        })
    }

    /// Finds an image by policy, here or at its registry. `pulling` is told when the network is needed.
    pub(crate) async fn resolve(
        &self,
        name: &str,
        policy: &str,
        credentials: &[Value],
        pulling: impl FnOnce(),
    ) -> Result<Resolved, ImageFailure> {
        let reference: Reference = name.parse().map_err(|error: ImageError| invalid(name, &error))?;
        if let Some(found) = self.local(&reference, policy)? {
            return Ok(found);
        }
        if policy == "Never" {
            let message = format!("Container image {name:?} is not present with pull policy of Never");
            return Err(ImageFailure { reason: "ErrImageNeverPull", message });
        }
        pulling();
        let begun = std::time::Instant::now();
        let gate = self.gate(&reference);
        let _alone = gate.lock().await;
        // Somebody else may have fetched it while this one waited.
        if policy != "Always"
            && let Some(found) = self.local(&reference, policy)?
        {
            return Ok(found);
        }
        let _permit = self.pulls.acquire().await;
        let credentials = credentials_for(credentials, &reference);
        let image = self.store.pull(&reference, credentials.as_ref(), &self.options).await.map_err(failed)?;
        self.used().insert(image.digest, clock::now());
        self.remember(&reference, &image);
        Ok(Resolved { pulled_ms: Some(begun.elapsed().as_millis()), ..found(&reference, image) })
    }

    /// The image on this node, if the policy lets it be used without asking its origin: a name that was imported here
    /// has this store as its origin.
    fn local(&self, reference: &Reference, policy: &str) -> Result<Option<Resolved>, ImageFailure> {
        // Found and marked in one: it is not removed in between.
        let mut used = self.used();
        let Some(image) = self.store.resolve(&reference.to_string()).map_err(failed)? else {
            return Ok(None);
        };
        used.insert(image.digest, clock::now());
        drop(used);
        let ask_origin = policy == "Always" && self.is_pulled(&reference.to_string(), image.digest);
        Ok((!ask_origin).then(|| found(reference, image)))
    }

    /// Whether a name means what a registry gave for it.
    fn is_pulled(&self, name: &str, digest: Digest) -> bool {
        let pulled = self.pulled.lock().unwrap_or_else(PoisonError::into_inner);
        pulled.get(name).is_some_and(|known| *known == digest.to_string())
    }

    fn used(&self) -> MutexGuard<'_, HashMap<Digest, Timestamp>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All images, those of `in_use` as used now, and those not seen before as well.
    pub(crate) fn survey(
        &self,
        in_use: &BTreeSet<Digest>,
        now: Timestamp,
    ) -> Result<Vec<Surveyed>, ImageError> {
        let images = self.store.list()?;
        let mut used = self.used();
        used.retain(|digest, _| images.iter().any(|image| image.digest == *digest));
        let surveyed = images.into_iter().map(|image| {
            let last = used.entry(image.digest).or_insert(now);
            if in_use.contains(&image.digest) {
                *last = now;
            }
            let pulled = image.names.iter().all(|name| self.is_pulled(name, image.digest));
            Surveyed { digest: image.digest, used_at: *last, replaceable: pulled && !image.names.is_empty() }
        });
        Ok(surveyed.collect())
    }

    /// Takes away the names of an image, unless it has been used since it was surveyed; whether it did.
    pub(crate) fn untag(&self, image: &Surveyed) -> Result<bool, ImageError> {
        let used = self.used();
        if used.get(&image.digest) != Some(&image.used_at) {
            return Ok(false);
        }
        let names = self.store.list()?.into_iter().find(|known| known.digest == image.digest);
        for name in names.map(|known| known.names).unwrap_or_default() {
            self.store.remove(&name)?;
        }
        Ok(true)
    }

    fn gate(&self, reference: &Reference) -> Arc<tokio::sync::Mutex<()>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, gate| gate.strong_count() > 0);
        let name = reference.to_string();
        if let Some(gate) = running.get(&name).and_then(Weak::upgrade) {
            return gate;
        }
        let gate = Arc::default();
        running.insert(name, Arc::downgrade(&gate));
        gate
    }

    fn remember(&self, reference: &Reference, image: &Image) {
        let mut pulled = self.pulled.lock().unwrap_or_else(PoisonError::into_inner);
        pulled.insert(reference.to_string(), image.digest.to_string());
        let written = serde_json::to_vec(&*pulled).map_err(std::io::Error::other).and_then(|bytes| {
            let new = self.pulled_path.with_extension("new");
            fs::write(&new, bytes)?;
            fs::rename(&new, &self.pulled_path)
        });
        if let Err(error) = written {
            // Then it counts as imported after a restart: `Always` asks its registry no more.
            tracing::warn!(%error, image = %reference, "where an image came from could not be written down");
        }
    }
}

fn found(reference: &Reference, image: Image) -> Resolved {
    Resolved {
        reference: reference.to_string(),
        id: reference.with_digest(image.digest).to_string(),
        image: Arc::new(image),
        pulled_ms: None,
    }
}

fn failed(error: ImageError) -> ImageFailure {
    ImageFailure { reason: "ErrImagePull", message: error.to_string() }
}

fn invalid(name: &str, error: &ImageError) -> ImageFailure {
    let why = match error {
        ImageError::InvalidReference { reason, .. } => {
            format!("couldn't parse image name {name:?}: {reason}")
        }
        other => other.to_string(),
    };
    ImageFailure {
        reason: "InvalidImageName",
        message: format!("Failed to apply default image tag {name:?}: {why}"),
    }
}

/// The credentials that the pull secrets have for a reference: of the fitting entries the one that says most about the
/// repository, as the kubelet chooses.
fn credentials_for(secrets: &[Value], reference: &Reference) -> Option<Credentials> {
    let known = secrets.iter().flat_map(entries).collect::<Vec<_>>();
    let fitting =
        known.iter().filter_map(|(server, entry)| Some((fit(server, reference)?, credentials(entry)?)));
    // Of several the first.
    fitting.rev().max_by_key(|(path_bytes, _)| *path_bytes).map(|(_, credentials)| credentials)
}

/// Servers and what a secret says of each: a `config.json` of Docker's, or the older form without anything around it.
fn entries(secret: &Value) -> Vec<(String, Value)> {
    let read = |key: &str| -> Option<Value> {
        let bytes = base64::engine::general_purpose::STANDARD.decode(secret["data"][key].as_str()?).ok()?;
        serde_json::from_slice(&bytes).ok()
    };
    let auths = match (read(".dockerconfigjson"), read(".dockercfg")) {
        (Some(mut config), _) => config["auths"].take(),
        (None, auths) => auths.unwrap_or_default(),
    };
    let Value::Object(auths) = auths else { return Vec::new() };
    auths.into_iter().collect()
}

fn credentials(entry: &Value) -> Option<Credentials> {
    let text = |key: &str| entry[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    if let (Some(username), Some(password)) = (text("username"), text("password")) {
        return Some(Credentials::Basic { username, password });
    }
    let pair = base64::engine::general_purpose::STANDARD.decode(entry["auth"].as_str()?).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (username, password) = pair.split_once(':')?;
    Some(Credentials::Basic { username: username.to_owned(), password: password.to_owned() })
}

/// Whether a key of `auths` means this image: a registry, perhaps with `*` in the parts of its name, and perhaps with
/// the beginning of a repository's path. The length of that path, if it does.
fn fit(server: &str, reference: &Reference) -> Option<usize> {
    let server = server.trim_start_matches("https://").trim_start_matches("http://");
    let (host, path) = server.split_once('/').unwrap_or((server, ""));
    // Docker Hub is written as it was in 2013.
    let host = if matches!(host, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { host };
    let path = path.strip_prefix("v1").or_else(|| path.strip_prefix("v2")).unwrap_or(path).trim_matches('/');
    let is_host = host.split('.').count() == reference.registry().split('.').count()
        && host.split('.').zip(reference.registry().split('.')).all(|(pattern, part)| is_like(pattern, part));
    let rest = reference.repository().strip_prefix(path)?;
    let is_path = path.is_empty() || rest.is_empty() || rest.starts_with('/');
    (is_host && is_path).then_some(path.len())
}

/// Whether a part of a name is as the pattern has it, in which `*` stands for anything.
fn is_like(pattern: &str, part: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = part.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        let Some((_, after)) = rest.split_once(piece) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pull_secrets_are_matched_by_registry_and_path() {
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let auths = json!({ "auths": {
            "https://index.docker.io/v1/": { "auth": encode("hub:h") },
            "registry.example.com:5000": { "username": "u", "password": "p" },
            "git.example.com": { "auth": encode("all:g") },
            "git.example.com/team/app": { "auth": encode("app:g") },
            "git.example.com/team": { "auth": encode("team:g") },
            "*.cloud.example.com": { "auth": encode("any:c") },
        } });
        let old = json!({ "old.example.com": { "auth": encode("old:o") } });
        let secrets = [
            json!({ "data": { ".dockerconfigjson": encode(&auths.to_string()) } }),
            json!({ "data": { ".dockercfg": encode(&old.to_string()) } }),
            json!({ "data": { ".dockerconfigjson": encode("nonsense") } }),
        ];
        let of = |image: &str| match credentials_for(&secrets, &image.parse().unwrap()) {
            Some(Credentials::Basic { username, password }) => format!("{username}:{password}"),
            _ => "none".to_owned(),
        };
        for (image, expected) in [
            ("nginx", "hub:h"),
            ("registry.example.com:5000/x", "u:p"),
            ("git.example.com/team/app:1", "app:g"),
            ("git.example.com/team/app/part", "app:g"),
            ("git.example.com/team/apple", "team:g"),
            ("git.example.com/other", "all:g"),
            ("eu.cloud.example.com/x", "any:c"),
            ("a.eu.cloud.example.com/x", "none"),
            ("old.example.com/x", "old:o"),
            ("other.example.com/x", "none"),
        ] {
            assert_eq!(of(image), expected, "{image}");
        }
        for (pattern, part, expected) in [
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "ac", false),
            ("*", "", true),
            ("a*a", "a", false),
            ("a", "ab", false),
        ] {
            assert_eq!(is_like(pattern, part), expected, "{pattern} {part}");
        }
    }
}
