//! Where a container's image comes from.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use berth_api::time::Timestamp;
use berth_image::{Digest, Image, ImageError, ImageStore, PullOptions, Reference, RegistryConfig};
use tokio::sync::Semaphore;

use crate::clock;
use crate::node::image_failure::ImageFailure;
use crate::node::pull_secrets::{PullSecret, logins_for};

/// Pulls from one registry at the same time: more only share the line. Each registry has its own: a slow one stops nobody
/// who pulls from another.
const PULLS_PER_REGISTRY_MAX: usize = 3;

/// The node's images.
pub(crate) struct Images {
    pub(crate) store: ImageStore,
    options: PullOptions,
    /// How many pulls each registry may still have.
    registries: Held<Semaphore>,
    /// One pull per name at a time; who comes second finds what the first has fetched.
    running: Held<tokio::sync::Mutex<()>>,
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

impl Images {
    pub(crate) fn open(directory: PathBuf, registries: Arc<RegistryConfig>) -> Result<Images, ImageError> {
        let store = ImageStore::open(&directory)?;
        let pulled_path = directory.join("pulled.json");
        let pulled = fs::read(&pulled_path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(Images {
            store,
            options: PullOptions { registries, ..PullOptions::default() },
            registries: Held::default(),
            running: Held::default(),
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
        secrets: &[PullSecret],
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
        let gate = self.running.get(&reference.to_string(), Default::default);
        let _alone = gate.lock().await;
        // Somebody else may have fetched it while this one waited.
        if policy != "Always"
            && let Some(found) = self.local(&reference, policy)?
        {
            return Ok(found);
        }
        let registry = self.registries.get(reference.registry(), || Semaphore::new(PULLS_PER_REGISTRY_MAX));
        let _permit = registry.acquire().await;
        let found_logins = logins_for(secrets, &reference);
        let image = self.store.pull(&reference, &found_logins.logins, &self.options).await;
        let image = image.map_err(|error| found_logins.explain(failed(error)))?;
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

/// Things by name, each there as long as somebody holds it.
struct Held<T>(Mutex<HashMap<String, Weak<T>>>);

impl<T> Default for Held<T> {
    fn default() -> Held<T> {
        Held(Mutex::default())
    }
}

impl<T> Held<T> {
    fn get(&self, name: &str, new: impl FnOnce() -> T) -> Arc<T> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, thing| thing.strong_count() > 0);
        if let Some(thing) = held.get(name).and_then(Weak::upgrade) {
            return thing;
        }
        let thing = Arc::new(new());
        held.insert(name.to_owned(), Arc::downgrade(&thing));
        thing
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

/// The longest message that a pod's status gets of a pull, in characters: registries have a say in it.
const MESSAGE_CHARS_MAX: usize = 2048;

fn failed(error: ImageError) -> ImageFailure {
    let message = error.to_string().chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX).collect();
    ImageFailure { reason: "ErrImagePull", message }
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
