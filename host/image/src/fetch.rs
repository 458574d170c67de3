//! The layers of an image from a registry into the store, several at once.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::watch;

use crate::download::{Failure, download};
use crate::layer::{Layer, Unpacked};
use crate::manifest::Manifest;
use crate::meter::Taken;
use crate::pull::{Progress, PullLimits};
use crate::remote::Remote;
use crate::staging::Staging;
use crate::store::Writing;
use crate::{Digest, ImageError, ImageStore};

/// How many layers of one image are fetched and unpacked at once: Docker's and containerd's number.
const LAYERS_AT_ONCE: usize = 3;
/// How often a layer's download is started when the connection breaks.
const DOWNLOAD_ATTEMPTS: u32 = 3;

/// The layers of one image on their way.
pub(crate) struct Fetch<'a> {
    pub(crate) store: &'a ImageStore,
    pub(crate) remote: &'a Remote,
    pub(crate) manifest: &'a Manifest,
    pub(crate) layers: &'a [Layer],
    pub(crate) limits: PullLimits,
    pub(crate) progress: &'a Report,
    pub(crate) writing: &'a Arc<Writing>,
    pub(crate) taken: Taken,
}

impl Fetch<'_> {
    /// Fetches and unpacks what is missing, several at once. A layer that relies on those below waits for them.
    pub(crate) async fn layers(&self, digest: &Digest) -> Result<(), Failure> {
        // What is being unpacked ends when nobody waits for it any more.
        let _cancel = self.taken.cancel.on_drop();
        let is_missing = |at: &usize| self.store.find_layer(self.layers[*at]).is_none();
        let missing: BTreeSet<usize> = (0..self.layers.len()).filter(is_missing).collect();
        self.progress.tell(Progress::Resolved {
            digest: *digest,
            missing_layers: missing.len(),
            layers: self.layers.len(),
        });
        let (left, _) = watch::channel(missing.clone());
        let fetch = |at| self.layer(at, &left);
        // Started in their order: whoever waits, waits for one that is on its way.
        let mut fetches =
            futures_util::stream::iter(missing.into_iter().map(fetch)).buffer_unordered(LAYERS_AT_ONCE);
        while let Some(fetched) = fetches.next().await {
            fetched?;
        }
        Ok(())
    }

    async fn layer(&self, at: usize, left: &watch::Sender<BTreeSet<usize>>) -> Result<(), Failure> {
        let blob = &self.manifest.layers[at];
        let staging = self.store.blocking(|store| Staging::new(&store.root)).await?;
        let path = staging.path().join("blob");
        let what = format!("layer {} of {}", at + 1, self.layers.len());
        let mut attempt = 1;
        while let Err(failure) =
            download(self.remote, blob, &what, &path, self.limits, |step| self.progress.tell(step)).await
        {
            // A refusal stays one; a broken connection may hold the next time.
            if attempt == DOWNLOAD_ATTEMPTS || !matches!(failure, Failure::Failed(_)) {
                return Err(failure);
            }
            attempt += 1;
        }
        let is_lowest = left.borrow().range(..at).next().is_none();
        let unpacked = self.unpack(at, path.clone(), is_lowest).await?;
        if unpacked == Unpacked::NeedsBelow {
            let has_none_below = |left: &BTreeSet<usize>| left.range(..at).next().is_none();
            // Fails when the sender is gone, which this function borrows.
            drop(left.subscribe().wait_for(has_none_below).await.map(drop));
            self.unpack(at, path, true).await?;
        }
        left.send_modify(|left| _ = left.remove(&at));
        drop(staging);
        self.progress.tell(Progress::Unpacked { layer: blob.digest });
        Ok(())
    }

    async fn unpack(&self, at: usize, path: PathBuf, knows_below: bool) -> Result<Unpacked, Failure> {
        let permit = Arc::clone(&self.store.unpacking).acquire_owned().await;
        let permit = permit.map_err(|error| ImageError::Task { detail: error.to_string() })?;
        let (layers, taken) = (self.layers[..=at].to_vec(), self.taken.clone());
        let (media_type, writing) = (self.manifest.layers[at].media_type.clone(), Arc::clone(self.writing));
        let unpacked = self.store.blocking(move |store| {
            let below =
                if knows_below { Some(store.stack(&layers[..at])?.unwrap_or_default()) } else { None };
            let unpacked = store.unpack_layer(layers[at], &path, &media_type, below.as_deref(), &taken);
            // Held until nothing is written any more, also when nobody waits for it.
            drop((writing, permit));
            unpacked
        });
        Ok(unpacked.await?)
    }
}

/// The caller's progress function, if there is one.
pub(crate) struct Report(pub(crate) Option<Arc<dyn Fn(Progress) + Send + Sync>>);

impl Report {
    pub(crate) fn tell(&self, step: Progress) {
        if let Some(tell) = &self.0 {
            tell(step);
        }
    }
}
