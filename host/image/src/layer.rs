//! Layers in the store: each unpacked once, found by the digest of its uncompressed tar (`diff_id`).

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::compression::decompress;
use crate::digest::Digesting;
use crate::staging::Staging;
use crate::unpack::{UnpackError, unpack};
use crate::{Digest, ImageError, ImageStore};

/// What may follow a tar archive's end, in bytes: tar pads to its record size, nobody needs more.
const TRAILER_BYTES_MAX: u64 = 64 << 20;

impl ImageStore {
    pub(crate) fn layer_dir(&self, diff_id: Digest) -> PathBuf {
        self.root.join("layers").join(diff_id.hex())
    }

    pub(crate) fn has_layer(&self, diff_id: Digest) -> bool {
        self.layer_dir(diff_id).is_dir()
    }

    /// Unpacks a (compressed) layer file unless it is here already. It appears complete, on disk, or not at all.
    pub(crate) fn add_layer(&self, diff_id: Digest, file: &Path) -> Result<(), ImageError> {
        if self.has_layer(diff_id) {
            return Ok(());
        }
        let staging = Staging::new(&self.root)?;
        let tree = staging.path().join("layer");
        fs::create_dir(&tree).map_err(ImageError::io("create", &tree))?;
        fs::set_permissions(&tree, fs::Permissions::from_mode(0o755))
            .map_err(ImageError::io("change", &tree))?;

        let layer = format!("layer {diff_id}");
        let reader = File::open(file).map_err(ImageError::io("open", file))?;
        let mut stream = Digesting::new(decompress(&layer, reader)?);
        unpack(&mut stream, &tree).map_err(|error| describe(error, diff_id))?;
        let broken = |error: io::Error| ImageError::broken(&format!("{layer}: "), &error);
        let trailer =
            io::copy(&mut (&mut stream).take(TRAILER_BYTES_MAX + 1), &mut io::sink()).map_err(broken)?;
        if trailer > TRAILER_BYTES_MAX {
            return Err(ImageError::TooLarge {
                what: format!("what follows {layer}"),
                limit: "64 MiB".to_owned(),
            });
        }
        let (_, actual, _) = stream.finish();
        if actual != diff_id {
            return Err(ImageError::WrongDigest { what: layer, expected: diff_id, actual });
        }
        self.publish(&tree, diff_id)
    }

    fn publish(&self, tree: &Path, diff_id: Digest) -> Result<(), ImageError> {
        let target = self.layer_dir(diff_id);
        let opened = File::open(tree).map_err(ImageError::io("open", tree))?;
        // A renamed directory with files not yet written would be a damaged layer that looks whole after a power cut.
        nix::unistd::syncfs(&opened).map_err(|error| ImageError::io("sync", tree)(error.into()))?;
        match fs::rename(tree, &target) {
            // Somebody else unpacked the same layer meanwhile.
            Err(_) if self.has_layer(diff_id) => Ok(()),
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
