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
        let credentials = credentials_for(credentials, reference.registry());
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

/// The credentials that the first fitting pull secret has for a registry.
fn credentials_for(secrets: &[Value], registry: &str) -> Option<Credentials> {
    secrets.iter().find_map(|secret| from_secret(secret, registry))
}

fn from_secret(secret: &Value, registry: &str) -> Option<Credentials> {
    let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).ok();
    let config = secret["data"][".dockerconfigjson"].as_str().and_then(decode)?;
    let config: Value = serde_json::from_slice(&config).ok()?;
    let (_, entry) = config["auths"].as_object()?.iter().find(|(server, _)| is_for(server, registry))?;
    let text = |key: &str| entry[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    if let (Some(username), Some(password)) = (text("username"), text("password")) {
        return Some(Credentials::Basic { username, password });
    }
    let pair = String::from_utf8(decode(entry["auth"].as_str()?)?).ok()?;
    let (username, password) = pair.split_once(':')?;
    Some(Credentials::Basic { username: username.to_owned(), password: password.to_owned() })
}

/// Whether a key of `auths` means a registry; Docker Hub is written as it was in 2013.
fn is_for(server: &str, registry: &str) -> bool {
    let host = server.trim_start_matches("https://").trim_start_matches("http://");
    let host = host.split('/').next().unwrap_or(host);
    host == registry
        || (registry == "docker.io" && (host == "index.docker.io" || host == "registry-1.docker.io"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pull_secrets_are_matched_by_registry() {
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let auths = json!({ "auths": {
            "https://index.docker.io/v1/": { "auth": encode("hub:h") },
            "registry.example.com:5000": { "username": "u", "password": "p" },
        } });
        let secrets = [json!({ "data": { ".dockerconfigjson": encode(&auths.to_string()) } })];
        let of = |registry: &str| match credentials_for(&secrets, registry) {
            Some(Credentials::Basic { username, password }) => format!("{username}:{password}"),
            _ => "none".to_owned(),
        };
        assert_eq!(of("docker.io"), "hub:h");
        assert_eq!(of("registry.example.com:5000"), "u:p");
        assert_eq!(of("other.example.com"), "none");
    }
}
