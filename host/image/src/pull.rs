//! Pulling an image from a registry.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;

use crate::archive::check_layers;
use crate::digest::Digesting;
use crate::index::Index;
use crate::layer::{Layer, Pending, layers};
use crate::manifest::{self, Config, DOCUMENT_BYTES_MAX, Descriptor, Document, INDEX_DEPTH_MAX, Manifest};
use crate::remote::{Remote, RemoteError, failed};
use crate::staging::Staging;
use crate::store::key;
use crate::{Credentials, Digest, Image, ImageError, ImageStore, Reference, RegistryConfig};

/// How many layers of one image are fetched and unpacked at once: Docker's and containerd's number.
const LAYERS_AT_ONCE: usize = 3;
/// How often a layer's download is started when the connection breaks.
const DOWNLOAD_ATTEMPTS: u32 = 3;
const WRITE_BYTES: usize = 256 << 10;
/// How many bytes of a layer arrive between two reports.
const PROGRESS_BYTES: u64 = 1 << 20;

/// How to pull.
#[derive(Clone, Default)]
pub struct PullOptions {
    /// Mirrors, trust and credentials.
    pub registries: Arc<RegistryConfig>,
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
    /// Pulls `reference` and unpacks it, fetching only the layers that are not here yet; several at once.
    ///
    /// Fails with [`ImageError::NotFound`], [`ImageError::Unauthorized`] or [`ImageError::Unreachable`] where the registry
    /// says so, worded as kubelet users know it. Concurrent pulls of one image are safe but not joined.
    pub async fn pull(
        &self,
        reference: &Reference,
        credentials: Option<&Credentials>,
        options: &PullOptions,
    ) -> Result<Image, ImageError> {
        let name = reference.to_string();
        let registries = &options.registries;
        let mut failure = None;
        for endpoint in registries.endpoints(reference.registry()) {
            let host = registries.host(&endpoint, reference.registry());
            let is_mirror = !endpoint.is_of(reference.registry());
            // A pull secret is for the registry it names, not for its mirrors.
            let credentials = credentials.filter(|_| !is_mirror).cloned();
            let mirror_of = is_mirror.then(|| reference.registry().to_owned());
            let remote = Remote::new(endpoint.clone(), host, reference.repository(), mirror_of, credentials);
            let pulled = match remote {
                Ok(remote) => self.pull_from(Arc::new(remote), reference, options).await,
                Err(error) => Err(Failure::Remote(error)),
            };
            match pulled {
                Ok(image) => return Ok(image),
                Err(error) => {
                    tracing::debug!(image = name, %endpoint, ?error, "pull failed at this endpoint");
                    // Of several answers the first that came from a registry tells most; silence tells least.
                    let error = error.into_image_error(&name, &endpoint.to_string());
                    match &failure {
                        Some(first) if !matches!(first, ImageError::Unreachable { .. }) => {}
                        _ => failure = Some(error),
                    }
                }
            }
        }
        Err(failure.unwrap_or(ImageError::NotFound { reference: name }))
    }

    async fn pull_from(
        &self,
        remote: Arc<Remote>,
        reference: &Reference,
        options: &PullOptions,
    ) -> Result<Image, Failure> {
        let (bytes, manifest) = fetch_manifest(&remote, reference).await?;
        let config_digest = manifest.config.digest;
        let config_bytes = remote.blob(&config_digest.to_string(), DOCUMENT_BYTES_MAX).await?;
        check_digest("the image's config", config_digest, &config_bytes)?;
        let config = Config::parse(&config_bytes)?;
        check_layers(&config, manifest.layers.len())?;

        // From here on content is written that no name reaches: garbage collection waits.
        let writing = self.blocking(|store| store.writing()).await?;
        let layers = layers(&config.rootfs.diff_ids);
        self.fetch_layers(&remote, &manifest, &layers, &Digest::of(&bytes), options).await?;

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

    /// Fetches and unpacks what is missing; layers that depend on those below are completed last, from the lowest up.
    async fn fetch_layers(
        &self,
        remote: &Remote,
        manifest: &Manifest,
        layers: &[Layer],
        digest: &Digest,
        options: &PullOptions,
    ) -> Result<(), Failure> {
        let mut seen = BTreeSet::new();
        let missing =
            |at: &usize| self.find_layer(layers[*at]).is_none() && seen.insert(layers[*at].chain_id);
        let missing: Vec<usize> = (0..layers.len()).filter(missing).collect();
        let progress = Report(options.progress.clone());
        progress.tell(Progress::Resolved {
            digest: *digest,
            missing_layers: missing.len(),
            layers: layers.len(),
        });
        let fetch = |at: usize| {
            let fetched = self.fetch_layer(remote, &manifest.layers[at], layers[at], &progress);
            async move { Ok::<_, Failure>((at, fetched.await?)) }
        };
        let mut fetches =
            futures_util::stream::iter(missing.into_iter().map(fetch)).buffer_unordered(LAYERS_AT_ONCE);
        let mut pending = BTreeMap::new();
        while let Some(fetched) = fetches.next().await {
            let (at, layer) = fetched?;
            pending.extend(layer.map(|layer| (at, layer)));
        }
        for (at, layer) in pending {
            let (this, below) = (layers[at], layers[..at].to_vec());
            self.blocking(move |store| store.complete_layer(layer, this, &below)).await?;
        }
        Ok(())
    }

    async fn fetch_layer(
        &self,
        remote: &Remote,
        blob: &Descriptor,
        layer: Layer,
        progress: &Report,
    ) -> Result<Option<Pending>, Failure> {
        let staging = self.blocking(|store| Staging::new(&store.root)).await?;
        let path = staging.path().join("blob");
        let mut attempt = 1;
        while let Err(failure) = download(remote, blob, &path, progress).await {
            // A refusal stays one; a broken connection may hold the next time.
            if attempt == DOWNLOAD_ATTEMPTS || !matches!(failure, Failure::Remote(RemoteError::Failed(_))) {
                return Err(failure);
            }
            attempt += 1;
        }
        let unpacked = self.blocking(move |store| {
            let unpacked = store.unpack_layer(layer, &path);
            drop(staging);
            unpacked
        });
        let pending = unpacked.await?;
        progress.tell(Progress::Unpacked { layer: blob.digest });
        Ok(pending)
    }

    /// Runs file-system work where it may block.
    async fn blocking<T: Send + 'static>(
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
    let mut pinned = reference.digest();
    let mut wanted = match (pinned, reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    };
    for _ in 0..INDEX_DEPTH_MAX {
        let (bytes, media_type) = remote.manifest(&wanted, &accept, DOCUMENT_BYTES_MAX).await?;
        if let Some(digest) = pinned {
            check_digest("the image's manifest", digest, &bytes)?;
        }
        match Document::parse(&bytes, &media_type)? {
            Document::Manifest(manifest) => return Ok((bytes, manifest)),
            Document::Index(index) => {
                let digest = manifest::pick(&index)?.digest;
                (pinned, wanted) = (Some(digest), digest.to_string());
            }
        }
    }
    let (what, limit) = ("the nesting of image indexes".to_owned(), INDEX_DEPTH_MAX.to_string());
    Err(ImageError::TooLarge { what, limit }.into())
}

fn check_digest(what: &str, expected: Digest, bytes: &[u8]) -> Result<(), ImageError> {
    match Digest::of(bytes) {
        actual if actual == expected => Ok(()),
        actual => Err(ImageError::WrongDigest { what: what.to_owned(), expected, actual }),
    }
}

/// Downloads a layer's blob into `path`, checking size and digest.
async fn download(
    remote: &Remote,
    layer: &Descriptor,
    path: &Path,
    progress: &Report,
) -> Result<(), Failure> {
    let io = |action| move |error| Failure::Image(ImageError::io(action, path)(error));
    let mut response = remote.blob_response(&layer.digest.to_string()).await?;
    let file = tokio::fs::File::create(path).await.map_err(io("create"))?;
    let mut file = tokio::io::BufWriter::with_capacity(WRITE_BYTES, file);
    let mut hasher = Digesting::new(std::io::sink());
    let (mut done_bytes, mut told_bytes) = (0, 0);
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        done_bytes += chunk.len() as u64;
        if done_bytes > layer.size {
            let what = format!("what the registry sends for layer {}", layer.digest);
            return Err(ImageError::TooLarge {
                what,
                limit: format!("{} bytes, which the manifest states", layer.size),
            }
            .into());
        }
        hasher.write_all(&chunk).map_err(io("digest"))?;
        file.write_all(&chunk).await.map_err(io("write"))?;
        if done_bytes - told_bytes >= PROGRESS_BYTES || done_bytes == layer.size {
            told_bytes = done_bytes;
            progress.tell(Progress::Downloading { layer: layer.digest, done_bytes, total_bytes: layer.size });
        }
    }
    file.flush().await.map_err(io("write"))?;
    let (_, actual, _) = hasher.finish();
    if actual != layer.digest {
        return Err(
            ImageError::WrongDigest { what: "a layer".to_owned(), expected: layer.digest, actual }.into()
        );
    }
    Ok(())
}

/// The caller's progress function, if there is one.
struct Report(Option<Arc<dyn Fn(Progress) + Send + Sync>>);

impl Report {
    fn tell(&self, step: Progress) {
        if let Some(tell) = &self.0 {
            tell(step);
        }
    }
}

/// Why a pull from one endpoint failed.
#[derive(Debug)]
enum Failure {
    Remote(RemoteError),
    Image(ImageError),
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Failure {
        Failure::Remote(error)
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Failure {
        Failure::Image(error)
    }
}

impl Failure {
    fn into_image_error(self, reference: &str, endpoint: &str) -> ImageError {
        let (reference, endpoint) = (reference.to_owned(), endpoint.to_owned());
        match self {
            Failure::Remote(RemoteError::NotFound) => ImageError::NotFound { reference },
            Failure::Remote(RemoteError::Unauthorized(detail)) => {
                ImageError::Unauthorized { reference, detail }
            }
            Failure::Remote(RemoteError::Failed(detail)) => {
                ImageError::Unreachable { reference, endpoint, detail }
            }
            Failure::Remote(RemoteError::TooLarge(limit)) => {
                let too_large = ImageError::TooLarge {
                    what: format!("an answer of {endpoint}"),
                    limit: format!("{limit} bytes"),
                };
                ImageError::Pull { reference, source: Box::new(too_large) }
            }
            Failure::Image(error) => ImageError::Pull { reference, source: Box::new(error) },
        }
    }
}
