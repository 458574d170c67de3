//! What unpacking may take: bytes and files of a layer and of an image, and room on the disk that others need too.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::statvfs::statvfs;

use crate::ImageError;

/// The most bytes of a layer, unpacked: model weights of 70 billion parameters come as one layer of 140 GB. Zeros count,
/// although they become holes: reading them takes time.
const LAYER_BYTES_MAX: u64 = 192 << 30;
/// The most bytes that one import or pull unpacks for an image: a layer of the largest kind, and its programs.
const IMAGE_BYTES_MAX: u64 = 256 << 30;
/// The most files of a layer. The largest images of the field have some hundred thousand; a disk of 100 GB with ext4 has
/// six million inodes.
const LAYER_FILES_MAX: u64 = 1_000_000;
/// The most files that one import or pull makes for an image.
const IMAGE_FILES_MAX: u64 = 2_000_000;
/// The part of a file system that images leave to others, bytes and inodes alike: the node's database, logs and volumes
/// lie there too, and all of them fail badly on a full disk. Unused images are removed long before.
const RESERVE_PART: u64 = 20;
/// Larger disks need no larger reserve.
const RESERVE_BYTES_MAX: u64 = 2 << 30;
const RESERVE_INODES_MAX: u64 = 50_000;
/// How much is written, or made, between two looks at the disk.
const LOOK_BYTES: u64 = 16 << 20;
const LOOK_FILES: u64 = 1000;

/// Why no more may be taken.
#[derive(Debug)]
pub(crate) enum Exceeded {
    /// One of the named limits.
    Limit(String),
    /// The disk: a whole sentence.
    Space(String),
    /// Nobody waits for it any more.
    Cancelled,
}

/// Told by whoever wanted an image that it is wanted no more.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cancel(Arc<AtomicBool>);

/// Tells so when it is dropped.
pub(crate) struct CancelOnDrop(Cancel);

impl Cancel {
    pub(crate) fn on_drop(&self) -> CancelOnDrop {
        CancelOnDrop(self.clone())
    }

    fn is_told(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// What one import or pull has taken so far; its layers share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken {
    bytes: Arc<AtomicU64>,
    files: Arc<AtomicU64>,
    pub(crate) cancel: Cancel,
}

/// Counts what one layer takes.
pub(crate) struct Meter {
    image: Taken,
    bytes: u64,
    files: u64,
    space: Space,
}

impl Meter {
    /// For a layer that is unpacked on the file system of `directory`.
    pub(crate) fn new(image: &Taken, directory: &Path) -> Meter {
        Meter { image: image.clone(), bytes: 0, files: 0, space: Space::new(directory) }
    }

    /// Before this many bytes are written.
    pub(crate) fn bytes(&mut self, count: u64) -> Result<(), Exceeded> {
        self.check_cancelled()?;
        self.bytes += count;
        within(self.bytes, LAYER_BYTES_MAX, || format!("{} GiB unpacked", LAYER_BYTES_MAX >> 30))?;
        let image = self.image.bytes.fetch_add(count, Ordering::Relaxed) + count;
        within(image, IMAGE_BYTES_MAX, || {
            format!("{} GiB unpacked for all layers of the image", IMAGE_BYTES_MAX >> 30)
        })?;
        self.space.bytes(count)
    }

    /// Before a file, directory, link or node is made.
    pub(crate) fn file(&mut self) -> Result<(), Exceeded> {
        self.check_cancelled()?;
        self.files += 1;
        within(self.files, LAYER_FILES_MAX, || format!("{LAYER_FILES_MAX} entries"))?;
        let image = self.image.files.fetch_add(1, Ordering::Relaxed) + 1;
        within(image, IMAGE_FILES_MAX, || format!("{IMAGE_FILES_MAX} entries for all layers of the image"))?;
        self.space.file()
    }

    /// Whether there is room at all.
    pub(crate) fn check_room(&mut self) -> Result<(), Exceeded> {
        self.space.check_room(0)
    }

    /// Whether somebody still waits for it.
    pub(crate) fn check_cancelled(&self) -> Result<(), Exceeded> {
        if self.image.cancel.is_told() { Err(Exceeded::Cancelled) } else { Ok(()) }
    }
}

fn within(count: u64, max: u64, limit: impl FnOnce() -> String) -> Result<(), Exceeded> {
    if count > max { Err(Exceeded::Limit(limit())) } else { Ok(()) }
}

/// Looks now and then whether the disk has room left.
pub(crate) struct Space {
    directory: PathBuf,
    /// What may be written, and made, before the next look.
    bytes: u64,
    files: u64,
}

impl Space {
    /// For writing below `directory`.
    pub(crate) fn new(directory: &Path) -> Space {
        Space { directory: directory.to_owned(), bytes: 0, files: 0 }
    }

    /// Before this many bytes are written.
    pub(crate) fn bytes(&mut self, count: u64) -> Result<(), Exceeded> {
        if self.bytes < count {
            self.check_room(0)?;
        }
        self.bytes = self.bytes.saturating_sub(count);
        Ok(())
    }

    fn file(&mut self) -> Result<(), Exceeded> {
        if self.files == 0 {
            self.check_room(0)?;
        }
        self.files = self.files.saturating_sub(1);
        Ok(())
    }

    /// Whether there is room for this many bytes more.
    pub(crate) fn check_room(&mut self, wanted: u64) -> Result<(), Exceeded> {
        (self.bytes, self.files) = (LOOK_BYTES, LOOK_FILES);
        // A file system that does not say is not held against anybody: writing will tell.
        let Ok(found) = statvfs(&self.directory) else { return Ok(()) };
        let block = found.fragment_size();
        let disk = Disk {
            bytes: found.blocks().saturating_mul(block),
            bytes_free: found.blocks_available().saturating_mul(block),
            inodes: found.files(),
            inodes_free: found.files_available(),
        };
        if let Some(what) = disk.shortage(wanted) {
            return Err(Exceeded::Space(format!(
                "the file system of {} has {what}; make room there, or remove images that nobody needs",
                self.directory.display()
            )));
        }
        // Nearly full, it is looked at more often.
        self.bytes = LOOK_BYTES.min(disk.bytes_free.saturating_sub(disk.bytes_reserved()));
        if disk.inodes > 0 {
            self.files = LOOK_FILES.min(disk.inodes_free.saturating_sub(disk.inodes_reserved()));
        }
        Ok(())
    }
}

impl Exceeded {
    /// As an image's error; `what` needed more.
    pub(crate) fn into_error(self, what: String) -> ImageError {
        match self {
            Exceeded::Limit(limit) => ImageError::TooLarge { what, limit },
            Exceeded::Space(detail) => ImageError::NoSpace { what, detail },
            Exceeded::Cancelled => ImageError::Cancelled,
        }
    }
}

/// A file system's figures.
#[derive(Debug, Clone, Copy)]
struct Disk {
    bytes: u64,
    bytes_free: u64,
    inodes: u64,
    inodes_free: u64,
}

impl Disk {
    fn bytes_reserved(self) -> u64 {
        (self.bytes / RESERVE_PART).min(RESERVE_BYTES_MAX)
    }

    fn inodes_reserved(self) -> u64 {
        (self.inodes / RESERVE_PART).min(RESERVE_INODES_MAX)
    }

    /// What there is too little of, for this many bytes more and the reserve.
    fn shortage(self, wanted: u64) -> Option<String> {
        let reserve = self.bytes_reserved();
        if self.bytes_free < reserve.saturating_add(wanted) {
            let wanted =
                if wanted == 0 { String::new() } else { format!(", {} are wanted", mebibytes(wanted)) };
            return Some(format!(
                "{} free{wanted}, and {} stay in reserve for others",
                mebibytes(self.bytes_free),
                mebibytes(reserve)
            ));
        }
        // Some file systems (btrfs) make inodes as they need them, and say 0.
        let reserve = self.inodes_reserved();
        (self.inodes > 0 && self.inodes_free < reserve)
            .then(|| format!("{} inodes free, and {reserve} stay in reserve for others", self.inodes_free))
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_of_bytes_and_inodes_is_left_to_others() {
        let disk = Disk { bytes: 100 << 30, bytes_free: 3 << 30, inodes: 6_000_000, inodes_free: 50_000 };
        assert_eq!(disk.shortage(0), None);
        assert_eq!(disk.shortage(1 << 30), None);
        assert_eq!(
            disk.shortage((1 << 30) + (5 << 20)).as_deref(),
            Some("3072 MiB free, 1029 MiB are wanted, and 2048 MiB stay in reserve for others")
        );
        let full = Disk { inodes_free: 49_999, ..disk };
        assert_eq!(
            full.shortage(0).as_deref(),
            Some("49999 inodes free, and 50000 stay in reserve for others")
        );
        let small = Disk { bytes: 100 << 20, bytes_free: 4 << 20, ..disk };
        assert_eq!(small.shortage(0).as_deref(), Some("4 MiB free, and 5 MiB stay in reserve for others"));
        let btrfs = Disk { inodes: 0, inodes_free: 0, ..disk };
        assert_eq!(btrfs.shortage(0), None);
    }

    #[test]
    fn the_layers_of_an_image_share_its_budget() {
        let (taken, here) = (Taken::default(), Path::new("/"));
        let mut first = Meter::new(&taken, here);
        first.bytes(LAYER_BYTES_MAX).unwrap();
        assert!(matches!(first.bytes(1), Err(Exceeded::Limit(limit)) if limit == "192 GiB unpacked"));
        let mut second = Meter::new(&taken, here);
        let rest = IMAGE_BYTES_MAX - LAYER_BYTES_MAX;
        let refused = second.bytes(rest + 1).unwrap_err();
        assert!(matches!(refused, Exceeded::Limit(limit) if limit.ends_with("all layers of the image")));
        drop(taken.cancel.on_drop());
        assert!(matches!(second.file(), Err(Exceeded::Cancelled)));
    }
}
