//! Pulling an image from a registry.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::archive::check_layers;
use crate::download::Failure;
use crate::fetch::{Fetch, Report};
use crate::index::Index;
use crate::layer::layers;
use crate::manifest::{
    self, Config, DOCUMENT_BYTES_MAX, Descriptor, Document, INDEX_DEPTH_MAX, Manifest, check_layer_type,
};
use crate::meter::Taken;
use crate::platform::pick;
use crate::registry::Endpoint;
use crate::remote::Remote;
use crate::store::key;
use crate::{Digest, Image, ImageError, ImageStore, Login, Reference, RegistryConfig};

/// How long a pull may take in all: 20 GB on a line of 10 Mbit/s need less. What goes on for longer has been made to.
const PULL_TIME_MAX: Duration = Duration::from_secs(6 * 3600);
/// The lowest rate at which a layer has to arrive, a tenth of what a slow line gives, and over how long it is measured:
/// the kubelet and containerd too give a pull up after a minute or some without progress.
const RATE_BYTES_PER_SECOND_MIN: u64 = 8 << 10;
const RATE_PERIOD: Duration = Duration::from_secs(60);

/// How slow a pull may be.
#[derive(Clone, Copy, Debug)]
pub struct PullLimits {
    /// The lowest rate of a layer, in bytes per second.
    pub rate_min: u64,
    /// Over how long the rate is measured.
    pub rate_period: Duration,
    /// How long a pull may take in all.
    pub time_max: Duration,
}

impl Default for PullLimits {
    fn default() -> PullLimits {
        PullLimits { rate_min: RATE_BYTES_PER_SECOND_MIN, rate_period: RATE_PERIOD, time_max: PULL_TIME_MAX }
    }
}

/// How to pull.
#[derive(Clone, Default)]
pub struct PullOptions {
    /// Mirrors, trust and credentials.
    pub registries: Arc<RegistryConfig>,
    /// How slow it may be.
    pub limits: PullLimits,
    /// Told of every step; called from several tasks, must not block.
    pub progress: Option<Arc<dyn Fn(Progress) + Send + Sync>>,
}

impl fmt::Debug for PullOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PullOptions").field("registries", &self.registries).finish_non_exhaustive()
    }
}

/// A step of a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The manifest is known: this many layers have to be fetched, of this many in all.
    Resolved {
        /// The manifest's digest.
        digest: Digest,
        /// Layers to fetch.
        missing_layers: usize,
        /// Layers in all.
        layers: usize,
    },
    /// Bytes of one layer have arrived.
    Downloading {
        /// The layer's blob.
        layer: Digest,
        /// Bytes so far.
        done_bytes: u64,
        /// Bytes in all, as the manifest states.
        total_bytes: u64,
    },
    /// A layer is unpacked and on disk.
    Unpacked {
        /// The layer's blob.
        layer: Digest,
    },
}

impl ImageStore {
    /// Pulls `reference` and unpacks it, fetching only the layers that are not here yet; several at once. Credentials are
    /// tried in their order, then those of the registries' configuration: after a refusal the next.
    ///
    /// Fails with [`ImageError::NotFound`], [`ImageError::Unauthorized`] or [`ImageError::Unreachable`] where the registry
    /// says so, worded as kubelet users know it. Concurrent pulls of one image are safe but not joined. A pull whose future
    /// is dropped ends, also what it is unpacking.
    pub async fn pull(
        &self,
        reference: &Reference,
        logins: &[Login],
        options: &PullOptions,
    ) -> Result<Image, ImageError> {
        let time_max = options.limits.time_max;
        let pull = self.pull_from_any(reference, logins, options);
        tokio::time::timeout(time_max, pull).await.unwrap_or_else(|_| {
            Err(ImageError::Unreachable {
                reference: reference.to_string(),
                endpoint: reference.registry().to_owned(),
                detail: format!("the image has not arrived within {} s", time_max.as_secs()),
            })
        })
    }

    async fn pull_from_any(
        &self,
        reference: &Reference,
        logins: &[Login],
        options: &PullOptions,
    ) -> Result<Image, ImageError> {
        let name = reference.to_string();
        let mut failure = None;
        for endpoint in options.registries.endpoints(reference.registry()) {
            match self.pull_with_any(&endpoint, reference, logins, options).await {
                Ok(image) => return Ok(image),
                Err(error) => {
                    tracing::debug!(image = name, %endpoint, ?error, "pull failed at this endpoint");
                    // Of several answers the first that came from a registry tells most; silence tells least.
                    match &failure {
                        Some(first) if !matches!(first, ImageError::Unreachable { .. }) => {}
                        _ => failure = Some(error),
                    }
                }
            }
        }
        Err(failure.unwrap_or(ImageError::NotFound { reference: name }))
    }

    /// Tries one set of credentials after the other. Registries hide what somebody may not see behind a 404 as well.
    async fn pull_with_any(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        logins: &[Login],
        options: &PullOptions,
    ) -> Result<Image, ImageError> {
        let host = options.registries.host(endpoint, reference.registry());
        let is_mirror = !endpoint.is_of(reference.registry());
        // A pull secret is for the registry it names, not for its mirrors.
        let mut logins = if is_mirror { Vec::new() } else { logins.to_vec() };
        logins.extend(
            host.credentials
                .clone()
                .map(|credentials| Login { origin: "the node's registries.yaml".to_owned(), credentials }),
        );
        let logins: Vec<Option<Login>> =
            if logins.is_empty() { vec![None] } else { logins.into_iter().map(Some).collect() };
        let (mut refused, mut failure) = (Vec::new(), None);
        for login in logins {
            let (origin, credentials) = login.map(|login| (login.origin, login.credentials)).unzip();
            let mirror_of = is_mirror.then(|| reference.registry().to_owned());
            let remote = Remote::new(endpoint.clone(), &host, reference.repository(), mirror_of, credentials);
            let pulled = match remote {
                Ok(remote) => self.pull_from(Arc::new(remote), reference, options).await,
                Err(error) => Err(error.into()),
            };
            match pulled {
                Ok(image) => return Ok(image),
                Err(Failure::Unauthorized(said)) => {
                    refused.push(origin.map_or(said.clone(), |origin| format!("{origin}: {said}")));
                }
                Err(Failure::NotFound) => failure = failure.or(Some(Failure::NotFound)),
                Err(other) => {
                    failure = Some(other);
                    break;
                }
            }
        }
        let reference = reference.to_string();
        match failure {
            // A refusal says more than an image that somebody else does not see.
            None | Some(Failure::NotFound) if !refused.is_empty() => {
                Err(ImageError::Unauthorized { reference, detail: refused.join("; ") })
            }
            failure => Err(failure.unwrap_or(Failure::NotFound).into_error(reference, endpoint)),
        }
    }

    async fn pull_from(
        &self,
        remote: Arc<Remote>,
        reference: &Reference,
        options: &PullOptions,
    ) -> Result<Image, Failure> {
        let (bytes, manifest) = fetch_manifest(&remote, reference).await?;
        let what = "the image's config";
        let config_bytes = remote.blob(&manifest.config.digest.to_string(), DOCUMENT_BYTES_MAX).await;
        let config_bytes = config_bytes.map_err(|error| Failure::of(error, what))?;
        manifest.config.check(what, &config_bytes)?;
        let config = Config::parse(&config_bytes)?;
        check_layers(&config, manifest.layers.len())?;
        for layer in &manifest.layers {
            check_layer_type(layer)?;
        }

        // From here on content is written that no name reaches: garbage collection waits.
        let writing = Arc::new(self.blocking(|store| store.writing()).await?);
        let layers = layers(&config.rootfs.diff_ids);
        let progress = Report(options.progress.clone());
        let fetch = Fetch {
            store: self,
            remote: &remote,
            manifest: &manifest,
            layers: &layers,
            limits: options.limits,
            progress: &progress,
            writing: &writing,
            taken: Taken::default(),
        };
        fetch.layers(&Digest::of(&bytes)).await?;

        let key = key(&reference.to_string())?;
        let image = self.blocking(move |store| {
            store.put_blob(&config_bytes)?;
            let digest = store.put_blob(&bytes)?;
            Index::update(&store.root, |index| _ = index.references.insert(key, digest))?;
            drop(writing);
            store.load(&Index::read(&store.root)?, digest)
        });
        let lost =
            || ImageError::Task { detail: "the image disappeared right after it was pulled".to_owned() };
        Ok(image.await?.ok_or_else(lost)?)
    }

    /// Runs file-system work where it may block.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ImageStore) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, ImageError> {
        let store = self.clone();
        let task = tokio::task::spawn_blocking(move || work(&store));
        task.await.map_err(|error| ImageError::Task { detail: error.to_string() })?
    }
}

/// Follows indexes to this host's manifest.
async fn fetch_manifest(remote: &Remote, reference: &Reference) -> Result<(Vec<u8>, Manifest), Failure> {
    let accept =
        [manifest::OCI_INDEX, manifest::DOCKER_LIST, manifest::OCI_MANIFEST, manifest::DOCKER_MANIFEST]
            .join(", ");
    let wanted = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    };
    let mut found = remote.manifest(&wanted, &accept, DOCUMENT_BYTES_MAX).await?;
    if let Some(digest) = reference.digest() {
        digest.check("the image's manifest", &found.0)?;
    }
    for _ in 0..INDEX_DEPTH_MAX {
        let (bytes, media_type) = found;
        let index = match Document::parse(&bytes, &media_type)? {
            Document::Manifest(manifest) => return Ok((bytes, *manifest)),
            Document::Index(index) => index,
        };
        let child: &Descriptor = pick(&index)?;
        let what = "the manifest for this node's platform";
        found = remote
            .manifest(&child.digest.to_string(), &accept, DOCUMENT_BYTES_MAX)
            .await
            .map_err(|error| Failure::of(error, what))?;
        child.check(what, &found.0)?;
    }
    let (what, limit) = ("the nesting of image indexes".to_owned(), INDEX_DEPTH_MAX.to_string());
    Err(ImageError::TooLarge { what, limit }.into())
}
