//! Hard links: to files of the same layer, of layers below, and to what comes later in the archive.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat, mknodat};
use nix::unistd::{linkat, symlinkat};

use crate::attributes::Attributes;
use crate::meter::Exceeded;
use crate::names;
use crate::safe_dir::PlaceError;
use crate::unpack::{Refusal, UnpackError, Unpacker};
use crate::view::{WalkError, is_whiteout, open_itself};

/// The most hard links of a layer whose targets come later in the archive: they are held in memory until its end.
const LATE_LINKS_MAX: usize = 100_000;
/// How often they are gone through.
const LATE_PASSES_MAX: usize = 4;

/// A hard link of the archive.
pub(crate) struct LateLink {
    /// Its name as the archive has it.
    pub(crate) given: PathBuf,
    pub(crate) path: PathBuf,
    pub(crate) target: PathBuf,
}

impl Unpacker {
    /// Makes a hard link; if its target is not there yet, at the end of the archive.
    pub(crate) fn hard_link(&mut self, link: LateLink) -> Result<(), UnpackError> {
        if self.try_hard_link(&link)? {
            return Ok(());
        }
        if self.late_links.len() >= LATE_LINKS_MAX {
            return Err(Exceeded::Limit(format!("{LATE_LINKS_MAX} hard links before their targets")).into());
        }
        self.late_links.push(link);
        Ok(())
    }

    /// Whether the target was there.
    fn try_hard_link(&mut self, link: &LateLink) -> Result<bool, UnpackError> {
        let refusal = Refusal(&link.given);
        let found = self.dir.find_file(&link.target, &mut self.meter).map_err(|error| match error {
            PlaceError::Walk(WalkError::System(Errno::EISDIR)) => {
                refusal.because(format!("a hard link to {:?}, which is a directory", link.target))
            }
            error => refusal.place(error),
        })?;
        let Some(target) = found else { return Ok(false) };
        let (parent, name) =
            self.dir.parent(&link.path, &mut self.meter).map_err(|error| refusal.place(error))?;
        if parent.path.join(&name) == target.path {
            return Ok(true); // It links to itself.
        }
        let target_name = target.path.file_name().unwrap_or_default();
        if let Some(source) = &target.source {
            self.copy_up(source, &target.parent, target_name, &refusal)?;
        }
        let system = |error| refusal.system(error);
        self.make_room(&parent, &name).map_err(system)?;
        // No AT_SYMLINK_FOLLOW: a link to a symbolic link links that, not what it points to.
        linkat(&target.parent, target_name, &*parent.fd, &*name, AtFlags::empty()).map_err(system)?;
        Ok(true)
    }

    /// Copies a file of a lower layer into this one, as overlayfs does when it is linked to.
    fn copy_up(
        &mut self,
        source: &Path,
        parent: &OwnedFd,
        name: &OsStr,
        refusal: &Refusal<'_>,
    ) -> Result<(), UnpackError> {
        let system = |error| refusal.system(error);
        let fd = open_itself(source).and_then(|fd| fd.ok_or(Errno::ENOENT)).map_err(system)?;
        let stat = fstat(&fd).map_err(system)?;
        self.meter.file()?;
        match names::kind(&stat) {
            SFlag::S_IFREG => {
                let content = File::open(source);
                let content = content.map_err(|error| refusal.because(error.to_string()))?;
                self.file(parent, name, refusal, content)?;
            }
            SFlag::S_IFLNK => {
                let target = readlinkat(&fd, "").map_err(system)?;
                symlinkat(&*target, parent, name).map_err(system)?;
            }
            kind => mknodat(parent, name, kind, Mode::empty(), stat.st_rdev).map_err(system)?,
        }
        let attributes = Attributes::of_file(source, &stat).map_err(system)?;
        attributes.apply(parent, name, names::kind(&stat) == SFlag::S_IFLNK).map_err(system)
    }

    /// Makes the hard links that came before their targets, also those to each other.
    pub(crate) fn make_late_links(&mut self) -> Result<(), UnpackError> {
        for _ in 0..LATE_PASSES_MAX {
            let links = std::mem::take(&mut self.late_links);
            // A chain of them is done in one pass, whichever way it is listed, or in two.
            for link in links.into_iter().rev() {
                if !self.is_taken(&link)? && !self.try_hard_link(&link)? {
                    self.late_links.push(link);
                }
            }
        }
        let Some(LateLink { given, target, .. }) = self.late_links.first() else { return Ok(()) };
        let reason = format!(
            "a hard link to {target:?}, which neither this layer nor those below it hold: build the image again"
        );
        Err(Refusal(given).because(reason))
    }

    /// Whether a later entry has taken the name.
    fn is_taken(&mut self, link: &LateLink) -> Result<bool, UnpackError> {
        let refusal = Refusal(&link.given);
        self.meter.check_cancelled()?;
        let (parent, name) =
            self.dir.parent(&link.path, &mut self.meter).map_err(|error| refusal.place(error))?;
        let found = names::look(&parent.fd, &name).map_err(|error| refusal.system(error))?;
        Ok(found.is_some_and(|found| !is_whiteout(&found)))
    }
}
