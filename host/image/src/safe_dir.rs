//! A layer's directory that untrusted paths cannot leave. Every path is resolved in the file system so far ([`View`]), and
//! what lies in this layer alone by the kernel with `openat2(RESOLVE_IN_ROOT)`, so that a symbolic link in it points into
//! it, also while somebody else changes it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};
use nix::sys::time::TimeSpec;

use crate::attributes::{Attributes, set_mtime, set_xattr};
use crate::meter::{Exceeded, Meter};
use crate::names::{NEW_DIR_MODE, kind, look, make_new, open_directory, remove_whiteouts};
use crate::view::{
    Found, OPAQUE_XATTR, Place, View, WalkError, is_opaque, is_whiteout, open_itself, path_of,
};

/// How deep directories may nest: whoever removes them holds a descriptor for each. The deepest of the field have some
/// dozens.
pub(crate) const DEPTH_MAX: usize = 200;
/// How many bytes of directories' names are remembered until their times are set; images of the field have some MiB.
const NAMES_BYTES_MAX: usize = 64 << 20;

/// Why a place in the layer cannot be had.
#[derive(Debug)]
pub(crate) enum PlaceError {
    Walk(WalkError),
    Exceeded(Exceeded),
}

/// A file of the file system so far.
pub(crate) struct File {
    /// The directory of this layer where it is, or has to be copied to.
    pub(crate) parent: OwnedFd,
    /// From the root, without links.
    pub(crate) path: PathBuf,
    /// Where a lower layer has it.
    pub(crate) source: Option<PathBuf>,
}

/// What to do about a directory that no layer has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Make,
    LetBe,
}

/// An open directory of the layer.
#[derive(Clone)]
pub(crate) struct Parent {
    pub(crate) fd: Rc<OwnedFd>,
    /// From the root, without links.
    pub(crate) path: PathBuf,
}

impl From<Errno> for PlaceError {
    fn from(error: Errno) -> PlaceError {
        PlaceError::Walk(error.into())
    }
}

impl From<WalkError> for PlaceError {
    fn from(error: WalkError) -> PlaceError {
        PlaceError::Walk(error)
    }
}

impl From<Exceeded> for PlaceError {
    fn from(error: Exceeded) -> PlaceError {
        PlaceError::Exceeded(error)
    }
}

pub(crate) struct SafeDir {
    root: Rc<OwnedFd>,
    path: PathBuf,
    view: View,
    /// The parent looked up last: archives list a directory's entries together.
    last_parent: Option<(PathBuf, Parent)>,
    /// Directories get their times last: making their entries changes them.
    times: BTreeMap<PathBuf, TimeSpec>,
    names_bytes: usize,
}

impl SafeDir {
    /// `below` are the directories of the layers below, the top-most first; `None` when they are not known.
    pub(crate) fn open(path: &Path, below: Option<&[PathBuf]>) -> nix::Result<SafeDir> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
        Ok(SafeDir {
            root: Rc::new(nix::fcntl::open(path, flags, Mode::empty())?),
            path: path.to_owned(),
            view: View::new(path, below),
            last_parent: None,
            times: BTreeMap::new(),
            names_bytes: 0,
        })
    }

    /// The directory itself.
    pub(crate) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Whether what lies in it holds only on top of the layers below.
    pub(crate) fn depends_on_below(&self) -> bool {
        self.view.was_asked()
    }

    /// The directory that holds (or shall hold) `path`, made in this layer if need be, and the last component. `path` is
    /// clean.
    pub(crate) fn parent(
        &mut self,
        path: &Path,
        meter: &mut Meter,
    ) -> Result<(Parent, OsString), PlaceError> {
        let found = self.find_parent(path, Missing::Make, meter)?;
        found.ok_or_else(|| Errno::ENOENT.into())
    }

    /// As [`SafeDir::parent`], but `None` where no layer has that directory.
    pub(crate) fn existing_parent(
        &mut self,
        path: &Path,
        meter: &mut Meter,
    ) -> Result<Option<(Parent, OsString)>, PlaceError> {
        self.find_parent(path, Missing::LetBe, meter)
    }

    fn find_parent(
        &mut self,
        path: &Path,
        missing: Missing,
        meter: &mut Meter,
    ) -> Result<Option<(Parent, OsString)>, PlaceError> {
        let name = path.file_name().ok_or(Errno::EINVAL)?.to_owned();
        let given = path.parent().unwrap_or(Path::new(""));
        if let Some((known, parent)) = &self.last_parent
            && known == given
        {
            return Ok(Some((parent.clone(), name)));
        }
        let fd = match self.open_here(given) {
            // What this layer has hides what the layers below have: found here, it is the right one.
            Ok(fd) => fd,
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {
                let place = self.view.walk(given)?;
                if missing == Missing::LetBe && !place.exists() {
                    return Ok(None);
                }
                self.make(&place.path, meter)?
            }
            Err(error) => return Err(error.into()),
        };
        let parent = Parent { path: self.path_of(&fd)?, fd: Rc::new(fd) };
        check_depth(&parent.path)?;
        self.last_parent = Some((given.to_owned(), parent.clone()));
        Ok(Some((parent, name)))
    }

    fn open_here(&self, path: &Path) -> nix::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let how = OpenHow::new()
            .flags(OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(&*self.root, path, how)
    }

    /// Makes a directory, by its path without links, and those above it: as the layers below have them, or new.
    fn make(&mut self, path: &Path, meter: &mut Meter) -> Result<OwnedFd, PlaceError> {
        check_depth(path)?;
        let mut place = self.view.root()?;
        let mut fd = self.open_here(Path::new(""))?;
        for name in path {
            place = match self.view.look(&place, name)? {
                Found::Directory(next) if next.is_here() => next,
                Found::Directory(next) => {
                    meter.file()?;
                    self.copy_directory(&fd, name, &next)?;
                    next.made()
                }
                Found::Absent => {
                    meter.file()?;
                    make_new(&fd, name, place.is_open())?;
                    place.absent(name).made()
                }
                Found::Link { .. } | Found::Other { .. } => return Err(Errno::ENOTDIR.into()),
            };
            fd = open_directory(&fd, name)?;
        }
        Ok(fd)
    }

    fn copy_directory(&mut self, parent: &OwnedFd, name: &OsStr, place: &Place) -> Result<(), PlaceError> {
        let source = self.view.source(place).ok_or(Errno::ENOENT)?;
        let stat = fstat(open_itself(&source)?.ok_or(Errno::ENOENT)?)?;
        let attributes = Attributes::of_file(&source, &stat)?;
        mkdirat(parent, name, NEW_DIR_MODE)?;
        attributes.apply(parent, name, false)?;
        self.remember_time(place.path.clone(), attributes.mtime)
    }

    /// What the file system so far has at `path`, links followed on the way but not at its end. `None` when there is
    /// nothing that could be linked to.
    pub(crate) fn find_file(&mut self, path: &Path, meter: &mut Meter) -> Result<Option<File>, PlaceError> {
        let name = path.file_name().ok_or(Errno::EINVAL)?;
        let given = path.parent().unwrap_or(Path::new(""));
        // As for parents: found here, it is the right one.
        if let Ok(parent) = self.open_here(given)
            && let Some(found) = look(&parent, name)?
            && !is_whiteout(&found)
        {
            if kind(&found) == SFlag::S_IFDIR {
                return Err(Errno::EISDIR.into());
            }
            let path = self.path_of(&parent)?.join(name);
            return Ok(Some(File { parent, path, source: None }));
        }
        let place = self.view.walk(given)?;
        let layer = match self.view.look(&place, name)? {
            Found::Absent => return Ok(None),
            Found::Directory(_) => return Err(Errno::EISDIR.into()),
            Found::Other { layer } | Found::Link { layer, .. } => layer,
        };
        let path = place.path.join(name);
        let source = (layer != self.path).then(|| layer.join(&path));
        Ok(Some(File { parent: self.make(&place.path, meter)?, path, source }))
    }

    /// Sets a directory's time when everything else is done. `path` is without links.
    pub(crate) fn remember_time(&mut self, path: PathBuf, mtime: TimeSpec) -> Result<(), PlaceError> {
        self.names_bytes += path.as_os_str().len();
        if self.names_bytes > NAMES_BYTES_MAX {
            let limit = format!("{} MiB of names of directories", NAMES_BYTES_MAX >> 20);
            return Err(Exceeded::Limit(limit).into());
        }
        self.times.insert(path, mtime);
        Ok(())
    }

    fn path_of(&self, directory: &OwnedFd) -> nix::Result<PathBuf> {
        let path = path_of(directory)?;
        path.strip_prefix(&self.path).map(Path::to_owned).map_err(|_| Errno::EXDEV)
    }

    /// Whether nothing of the layers below shows in an open directory of this layer.
    pub(crate) fn is_sealed(&self, directory: &Parent) -> nix::Result<bool> {
        for ancestor in directory.path.ancestors() {
            if is_opaque(&self.path.join(ancestor))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Hides what the layers below have in a directory.
    pub(crate) fn seal(&mut self, directory: &OwnedFd) -> nix::Result<()> {
        self.forget();
        if is_opaque(&path_of(directory)?)? {
            return Ok(());
        }
        // Nothing is left to hide for them, and a directory of one layer alone would show them as broken files.
        remove_whiteouts(directory, 0)?;
        set_xattr(directory, OsStr::new("."), OPAQUE_XATTR, b"y")
    }

    /// Removes the whiteouts of a directory (its path without links) that no layer below has: there is nothing to hide,
    /// and overlayfs would show them as broken files.
    pub(crate) fn drop_idle_whiteouts(&self, path: &Path) -> Result<(), WalkError> {
        // A later entry may have put something else in its place.
        let Ok(directory) = self.open_here(path) else { return Ok(()) };
        if self.path_of(&directory)? != path || self.view.is_merged(path)? {
            return Ok(());
        }
        Ok(remove_whiteouts(&directory, 0)?)
    }

    /// Forgets what it knows about parents: something was replaced.
    pub(crate) fn forget(&mut self) {
        self.last_parent = None;
    }

    /// Gives the directories their times.
    pub(crate) fn set_times(&self) -> Result<(), (PathBuf, Errno)> {
        for (path, mtime) in &self.times {
            let set = || match open_itself(&self.path.join(path))? {
                Some(fd) if kind(&fstat(&fd)?) == SFlag::S_IFDIR => set_mtime(&fd, OsStr::new("."), *mtime),
                _ => Ok(()), // A later entry put something else in its place.
            };
            match set() {
                Ok(()) | Err(Errno::ENOTDIR | Errno::ELOOP) => {}
                Err(error) => return Err((path.clone(), error)),
            }
        }
        Ok(())
    }
}

fn check_depth(path: &Path) -> Result<(), PlaceError> {
    if path.components().count() > DEPTH_MAX {
        return Err(Exceeded::Limit(format!("{DEPTH_MAX} directories inside each other")).into());
    }
    Ok(())
}
