//! Images: content store, import of archives, pull from registries, layers unpacked for overlayfs.
//!
//! Everything lives under one directory (`<data>/images`) and is crash-safe: a file or directory appears under its
//! final name only when it is complete and on disk. Several processes may open the same store (`berth up` and
//! `berth load`): changes to the index and garbage collection are serialised with file locks.
//!
//! ```text
//! index.json              references: full name -> manifest digest
//! blobs/sha256/<hex>      manifests and configs (layer blobs are dropped once unpacked)
//! layers/<hex>/           one unpacked layer, whiteouts in overlayfs form: a lower directory; named by its diff_id, or by
//!                         its chain id where it takes directory attributes from the layers below
//! tmp/                    what is being written; emptied when nobody writes
//! ```
//!
//! The store is synchronous: call it from `tokio::task::spawn_blocking` when a call may unpack ([`ImageStore::import_archive`])
//! or delete ([`ImageStore::gc`]). [`ImageStore::resolve`] and [`ImageStore::list`] read a few small files.
//! [`ImageStore::pull`] is async and needs a tokio runtime.

mod archive;
mod compression;
mod digest;
mod error;
mod index;
mod layer;
mod manifest;
mod pull;
mod reference;
mod registry;
mod remote;
mod safe_dir;
mod staging;
mod store;
mod unpack;

pub use digest::Digest;
pub use error::ImageError;
pub use pull::{Progress, PullOptions};
pub use reference::Reference;
pub use registry::{Credentials, RegistryConfig};
pub use store::{GcReport, Image, ImageConfig, ImageStore, ImageSummary, ImportedImage, Removal};
