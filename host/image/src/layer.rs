//! Layers in the store: each unpacked once, found by the digest of its uncompressed tar (`diff_id`).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::compression::decompress;
use crate::digest::Digesting;
use crate::staging::Staging;
use crate::unpack::{UnpackError, inherit, unpack};
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

/// A layer that is unpacked but not in the store yet: it implies directories whose attributes lower layers decide.
#[derive(Debug)]
pub(crate) struct Pending {
    tree: PathBuf,
    implied: BTreeSet<PathBuf>,
    _staging: Staging,
}

impl ImageStore {
    fn layer_path(&self, id: Digest) -> PathBuf {
        self.root.join("layers").join(id.hex())
    }

    /// Where a layer lies: usually shared by all images that have it, by `diff_id`; by `chain_id` if it depends on those below.
    pub(crate) fn find_layer(&self, layer: Layer) -> Option<PathBuf> {
        [layer.chain_id, layer.diff_id].map(|id| self.layer_path(id)).into_iter().find(|path| path.is_dir())
    }

    /// Where an image's layers lie, **top-most first**; `None` when one is missing.
    pub(crate) fn layer_dirs(&self, layers: &[Layer]) -> Option<Vec<PathBuf>> {
        layers.iter().rev().map(|layer| self.find_layer(*layer)).collect()
    }

    /// Unpacks a (compressed) layer file. It appears in the store complete and on disk, or not at all; what is returned
    /// still wants [`ImageStore::complete_layer`] once the layers below are there.
    pub(crate) fn unpack_layer(&self, layer: Layer, file: &Path) -> Result<Option<Pending>, ImageError> {
        let diff_id = layer.diff_id;
        let staging = Staging::new(&self.root)?;
        let tree = staging.path().join("layer");
        fs::create_dir(&tree).map_err(ImageError::io("create", &tree))?;
        fs::set_permissions(&tree, fs::Permissions::from_mode(0o755))
            .map_err(ImageError::io("change", &tree))?;

        let name = format!("layer {diff_id}");
        let reader = File::open(file).map_err(ImageError::io("open", file))?;
        let mut stream = Digesting::new(decompress(&name, reader)?);
        let implied = unpack(&mut stream, &tree).map_err(|error| describe(error, diff_id))?;
        let broken = |error: io::Error| ImageError::broken(&format!("{name}: "), &error);
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
        if implied.is_empty() || layer.chain_id == diff_id {
            return self.publish(&tree, diff_id).map(|()| None);
        }
        Ok(Some(Pending { tree, implied, _staging: staging }))
    }

    /// Puts a pending layer into the store. `below` are the layers under it, all in the store.
    pub(crate) fn complete_layer(
        &self,
        pending: Pending,
        layer: Layer,
        below: &[Layer],
    ) -> Result<(), ImageError> {
        let below = self.layer_dirs(below).unwrap_or_default();
        // Children first: setting a directory's attributes changes no other's.
        for dir in pending.implied.iter().rev() {
            inherit(&pending.tree, dir, &below).map_err(|error| describe(error, layer.diff_id))?;
        }
        self.publish(&pending.tree, layer.chain_id)
    }

    fn publish(&self, tree: &Path, id: Digest) -> Result<(), ImageError> {
        let target = self.layer_path(id);
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

fn describe(error: UnpackError, diff_id: Digest) -> ImageError {
    let layer = diff_id.to_string();
    match error {
        UnpackError::Stream(error) => ImageError::broken(&format!("layer {layer}: "), &error),
        UnpackError::Entry { path, reason } => {
            ImageError::UnsafeEntry { layer, entry: path.to_string_lossy().into_owned(), reason }
        }
        UnpackError::TooLarge(limit) => ImageError::TooLarge { what: format!("layer {layer}"), limit },
    }
}
