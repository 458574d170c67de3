//! Images: content store, import of archives, pull from registries, layers unpacked for overlayfs.
//!
//! Everything lives under one directory (`<data>/images`) and is crash-safe: a file or directory appears under its
//! final name only when it is complete and on disk. Several processes may open the same store (`berth up` and
//! `berth load`): changes to the index and garbage collection are serialised with file locks.
//!
//! ```text
//! index.json              references: full name -> manifest digest
//! blobs/sha256/<hex>      manifests and configs (layer blobs are dropped once unpacked)
//! layers/                 unpacked layers, whiteouts in overlayfs form: lower directories
//!   alone-<diff_id>/      one that relies on nothing below it, shared by all images that have it
//!   stacked-<chain id>/   one that does, through a link or a directory that it uses and does not mention
//!   <hex>/                one that an earlier berth unpacked
//! tmp/                    what is being written; emptied when nobody writes
//! ```
//!
//! The store is synchronous: call it from `tokio::task::spawn_blocking` when a call may unpack ([`ImageStore::import_archive`])
//! or delete ([`ImageStore::gc`]). [`ImageStore::resolve`] and [`ImageStore::list`] read a few small files.
//! [`ImageStore::pull`] is async and needs a tokio runtime.

mod answer;
mod archive;
mod archive_files;
mod attributes;
mod bounds;
mod compression;
mod digest;
mod download;
mod error;
mod fetch;
mod hard_links;
mod headers;
mod index;
mod layer;
mod manifest;
mod meter;
mod names;
mod platform;
mod pull;
mod reference;
mod registry;
mod remote;
mod safe_dir;
mod staging;
mod store;
mod unpack;
mod view;

pub use digest::Digest;
pub use error::ImageError;
pub use pull::{Progress, PullLimits, PullOptions};
pub use reference::Reference;
pub use registry::{Credentials, Login, RegistryConfig};
pub use store::{GcReport, Image, ImageConfig, ImageStore, ImageSummary, ImportedImage, Removal};
