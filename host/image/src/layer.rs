//! Layers in the store. One that says everything about its own directories is unpacked once and found by the digest of
//! its uncompressed tar (`diff_id`). One that relies on what lies below, through a link or a directory it only uses, is
//! found by the digest of it and all layers below (`chain_id`).

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::compression::decompress;
use crate::digest::Digesting;
use crate::error::plain;
use crate::meter::{Meter, Taken};
use crate::staging::Staging;
use crate::unpack::{UnpackError, unpack};
use crate::view::is_opaque;
use crate::{Digest, ImageError, ImageStore};

/// What may follow a tar archive's end, in bytes: tar pads to its record size, nobody needs more.
const TRAILER_BYTES_MAX: u64 = 64 << 20;

/// A layer within an image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layer {
    /// The digest of its uncompressed tar.
    pub(crate) diff_id: Digest,
    /// The digest of it and all layers below (the specification's chain id; the lowest's is its `diff_id`).
    pub(crate) chain_id: Digest,
}

/// An image's layers, the lowest first.
pub(crate) fn layers(diff_ids: &[Digest]) -> Vec<Layer> {
    let mut below: Option<Digest> = None;
    let mut layers = Vec::with_capacity(diff_ids.len());
    for &diff_id in diff_ids {
        let chain_id = below.map_or(diff_id, |below| Digest::of(format!("{below} {diff_id}").as_bytes()));
        below = Some(chain_id);
        layers.push(Layer { diff_id, chain_id });
    }
    layers
}

/// What became of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unpacked {
    /// It is in the store.
    Stored,
    /// It can only be unpacked when the layers below it are known.
    NeedsBelow,
}

impl Layer {
    fn alone(&self) -> String {
        format!("alone-{}", self.diff_id.hex())
    }

    fn stacked(&self) -> String {
        format!("stacked-{}", self.chain_id.hex())
    }

    /// As this berth unpacks it.
    fn names(&self) -> [String; 2] {
        [self.stacked(), self.alone()]
    }

    /// As earlier ones did, with no regard to links of the layers below. It serves until the image is pulled or imported
    /// again.
    fn old_names(&self) -> [String; 2] {
        [self.chain_id.hex(), self.diff_id.hex()]
    }
}

impl ImageStore {
    fn layer_path(&self, name: &str) -> PathBuf {
        self.root.join("layers").join(name)
    }

    fn first_layer(&self, names: impl IntoIterator<Item = String>) -> Option<PathBuf> {
        names.into_iter().map(|name| self.layer_path(&name)).find(|path| path.is_dir())
    }

    /// Where a layer lies that need not be unpacked.
    pub(crate) fn find_layer(&self, layer: Layer) -> Option<PathBuf> {
        self.first_layer(layer.names())
    }

    /// Where layers lie that have been unpacked on top of each other, the top-most first; `None` when one is missing.
    pub(crate) fn stack(&self, layers: &[Layer]) -> Result<Option<Vec<PathBuf>>, ImageError> {
        visible(layers.iter().rev().map(|layer| self.find_layer(*layer)))
    }

    /// Where an image's layers lie, **top-most first**; `None` when one is missing.
    pub(crate) fn layer_dirs(&self, layers: &[Layer]) -> Result<Option<Vec<PathBuf>>, ImageError> {
        let any = |layer: &Layer| self.first_layer(layer.names().into_iter().chain(layer.old_names()));
        visible(layers.iter().rev().map(any))
    }

    /// The names that a reachable image's layers may have; those of an earlier berth only while they are needed.
    pub(crate) fn kept_layers(&self, layers: &[Layer], is_running: bool) -> Vec<String> {
        let is_complete = layers.iter().all(|layer| self.find_layer(*layer).is_some());
        let old = layers.iter().filter(|_| is_running || !is_complete).flat_map(Layer::old_names);
        layers.iter().flat_map(Layer::names).chain(old).collect()
    }

    /// Unpacks a (compressed) layer file on top of the layers below it (the top-most first; `None`: not known yet). It
    /// appears in the store complete and on disk, or not at all.
    pub(crate) fn unpack_layer(
        &self,
        layer: Layer,
        file: &Path,
        media_type: &str,
        below: Option<&[PathBuf]>,
        taken: &Taken,
    ) -> Result<Unpacked, ImageError> {
        let diff_id = layer.diff_id;
        let staging = Staging::new(&self.root)?;
        let tree = staging.path().join("layer");
        fs::create_dir(&tree).map_err(ImageError::io("create", &tree))?;
        fs::set_permissions(&tree, fs::Permissions::from_mode(0o755))
            .map_err(ImageError::io("change", &tree))?;

        let name = format!("layer {diff_id}");
        let reader = File::open(file).map_err(ImageError::io("open", file))?;
        let mut stream = Digesting::new(decompress(&name, media_type, reader)?);
        let mut meter = Meter::new(taken, &tree);
        meter.check_room().map_err(|exceeded| exceeded.into_error(name.clone()))?;
        let depends = match unpack(&mut stream, &tree, below, meter) {
            Err(UnpackError::Below) => return Ok(Unpacked::NeedsBelow),
            result => result.map_err(|error| describe(error, diff_id))?,
        };
        let broken = |error: io::Error| ImageError::broken(&name, &error);
        let trailer =
            io::copy(&mut (&mut stream).take(TRAILER_BYTES_MAX + 1), &mut io::sink()).map_err(broken)?;
        if trailer > TRAILER_BYTES_MAX {
            return Err(ImageError::TooLarge {
                what: format!("what follows {name}"),
                limit: "64 MiB".to_owned(),
            });
        }
        let (_, actual, _) = stream.finish();
        if actual != diff_id {
            return Err(ImageError::WrongDigest { what: name, expected: diff_id, actual });
        }
        let name = if depends { layer.stacked() } else { layer.alone() };
        self.publish(&tree, &name).map(|()| Unpacked::Stored)
    }

    fn publish(&self, tree: &Path, name: &str) -> Result<(), ImageError> {
        let target = self.layer_path(name);
        let opened = File::open(tree).map_err(ImageError::io("open", tree))?;
        // A renamed directory with files not yet written would be a damaged layer that looks whole after a power cut.
        nix::unistd::syncfs(&opened).map_err(|error| ImageError::io("sync", tree)(error.into()))?;
        match fs::rename(tree, &target) {
            // Somebody else unpacked the same layer meanwhile.
            Err(_) if target.is_dir() => Ok(()),
            result => result.map_err(ImageError::io("create", target)),
        }
    }
}

/// Of layers from the top-most down those that show: below a root that is opaque there is nothing to see, and overlayfs
/// does not look at that of a root itself. A layer that comes again further down is hidden by itself, and overlayfs takes
/// none twice.
fn visible(layers: impl Iterator<Item = Option<PathBuf>>) -> Result<Option<Vec<PathBuf>>, ImageError> {
    let mut shown = Vec::new();
    let mut is_hidden = false;
    for layer in layers {
        let Some(layer) = layer else { return Ok(None) };
        if !is_hidden && !shown.contains(&layer) {
            is_hidden = is_opaque(&layer).map_err(|error| ImageError::io("read", &layer)(error.into()))?;
            shown.push(layer);
        }
    }
    Ok(Some(shown))
}

fn describe(error: UnpackError, diff_id: Digest) -> ImageError {
    let layer = format!("layer {diff_id}");
    match error {
        UnpackError::Stream(error) => ImageError::broken(&layer, &error),
        UnpackError::Entry { path, reason } => {
            ImageError::UnsafeEntry { layer, entry: plain(&path.to_string_lossy()), reason: plain(&reason) }
        }
        UnpackError::Exceeded(exceeded) => exceeded.into_error(layer),
        UnpackError::Below => {
            ImageError::Task { detail: format!("{layer} was unpacked before those below it") }
        }
    }
}
