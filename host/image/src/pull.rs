//! Pulling an image from a registry.

use std::fmt;
use std::sync::Arc;

use crate::{Credentials, Digest, Image, ImageError, ImageStore, Reference, RegistryConfig};

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
        let _ = (reference, credentials, options);
        unimplemented!()
    }
}
