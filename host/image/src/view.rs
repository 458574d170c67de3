//! The file system so far: the layer that is being unpacked on top of those below it, as overlayfs will show them.
//!
//! A layer's entries are applied to what the layers below have made, through its links, as the OCI image specification has
//! it ("Applying Changesets"). Nothing is mounted for that: each name of a path is looked up in the layers' own directories
//! by overlayfs' rules, and no link is ever followed by the kernel.

use std::cell::Cell;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{FileStat, SFlag, fstat};

use crate::names::kind;

/// How many symbolic links a path may lead through: Linux' own number.
const LINKS_MAX: usize = 40;
/// How many names are looked up for one path: links with many `..` would make a walk of millions.
const STEPS_MAX: usize = 10_000;
/// The layer being unpacked, in the list of layers.
const HERE: usize = 0;
pub(crate) const OPAQUE_XATTR: &str = "trusted.overlay.opaque";

/// Why a path leads nowhere.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WalkError {
    System(Errno),
    /// The layers below decide, and they are not known yet.
    Below,
}

impl From<Errno> for WalkError {
    fn from(error: Errno) -> WalkError {
        WalkError::System(error)
    }
}

/// The layers, the one being unpacked first, then those below from the top-most down.
pub(crate) struct View {
    layers: Vec<PathBuf>,
    knows_below: bool,
    asked: Cell<bool>,
}

/// A directory of the file system so far, or one that is not there yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// From the root, without links.
    pub(crate) path: PathBuf,
    /// The layers whose directories it shows.
    layers: Vec<usize>,
    /// Whether the layers below have a say in what it holds.
    open: bool,
}

impl Place {
    pub(crate) fn exists(&self) -> bool {
        !self.layers.is_empty()
    }

    pub(crate) fn is_here(&self) -> bool {
        self.layers.first() == Some(&HERE)
    }

    /// The place, once it was made in the layer being unpacked.
    pub(crate) fn made(mut self) -> Place {
        if !self.is_here() {
            self.layers.insert(0, HERE);
        }
        self
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// A directory in it that nothing has made yet.
    pub(crate) fn absent(&self, name: &OsStr) -> Place {
        Place { path: self.path.join(name), layers: Vec::new(), open: false }
    }
}

/// What a name stands for.
pub(crate) enum Found {
    Absent,
    Directory(Place),
    /// A symbolic link; `layer` is the directory of the layer that has it.
    Link {
        target: PathBuf,
        layer: PathBuf,
    },
    /// A file or a node.
    Other {
        layer: PathBuf,
    },
}

/// What one layer has at a path.
enum Thing {
    Directory { is_opaque: bool },
    Link(PathBuf),
    Whiteout,
    Other,
}

impl View {
    /// `below` are the directories of the layers below, the top-most first; `None` when they are not known.
    pub(crate) fn new(here: &Path, below: Option<&[PathBuf]>) -> View {
        let layers = [here.to_owned()].into_iter().chain(below.unwrap_or_default().iter().cloned());
        View { layers: layers.collect(), knows_below: below.is_some(), asked: Cell::new(false) }
    }

    /// Whether the layers below were asked for anything: then what was unpacked holds only on top of them.
    pub(crate) fn was_asked(&self) -> bool {
        self.asked.get()
    }

    pub(crate) fn root(&self) -> Result<Place, WalkError> {
        let is_sealed = is_opaque(&self.layers[HERE])?;
        let layers = if is_sealed { 1 } else { self.layers.len() };
        Ok(Place { path: PathBuf::new(), layers: (0..layers).collect(), open: !is_sealed })
    }

    /// Where a directory lies, all links followed inside the root. What is not there may still be made there.
    pub(crate) fn walk(&self, path: &Path) -> Result<Place, WalkError> {
        let mut place = self.root()?;
        let mut todo = Vec::new();
        push(&mut todo, path);
        let (mut links, mut steps) = (0, 0);
        while let Some(step) = todo.pop() {
            steps += 1;
            if steps > STEPS_MAX {
                return Err(Errno::ELOOP.into());
            }
            match step {
                Step::Root => place = self.root()?,
                Step::Up => {
                    let mut up = place.path;
                    up.pop();
                    while let Some(Step::Up) = todo.last() {
                        todo.pop();
                        up.pop();
                    }
                    steps += up.components().count();
                    place = self.at(&up)?;
                }
                Step::Name(name) => match self.look(&place, &name)? {
                    Found::Directory(next) => place = next,
                    Found::Absent => place = place.absent(&name),
                    Found::Other { .. } => return Err(Errno::ENOTDIR.into()),
                    Found::Link { target, .. } => {
                        links += 1;
                        if links > LINKS_MAX {
                            return Err(Errno::ELOOP.into());
                        }
                        push(&mut todo, &target);
                    }
                },
            }
        }
        Ok(place)
    }

    /// A directory by a path without links.
    fn at(&self, path: &Path) -> Result<Place, WalkError> {
        let mut place = self.root()?;
        for name in path {
            place = match self.look(&place, name)? {
                Found::Directory(next) => next,
                Found::Absent => place.absent(name),
                Found::Link { .. } | Found::Other { .. } => return Err(Errno::ENOTDIR.into()),
            };
        }
        Ok(place)
    }

    /// What a name in a directory stands for, not following a link.
    pub(crate) fn look(&self, place: &Place, name: &OsStr) -> Result<Found, WalkError> {
        let path = place.path.join(name);
        let mut layers = place.layers.iter().copied().peekable();
        if layers.next_if_eq(&HERE).is_some()
            && let Some(thing) = self.probe(HERE, &path)?
        {
            return self.found(thing, HERE, layers, &path, place.open);
        }
        if place.open {
            self.asked.set(true);
            if !self.knows_below {
                return Err(WalkError::Below);
            }
        }
        while let Some(layer) = layers.next() {
            if let Some(thing) = self.probe(layer, &path)? {
                return self.found(thing, layer, layers, &path, place.open);
            }
        }
        Ok(Found::Absent)
    }

    fn found(
        &self,
        thing: Thing,
        layer: usize,
        rest: impl Iterator<Item = usize>,
        path: &Path,
        open: bool,
    ) -> Result<Found, WalkError> {
        let is_opaque = match thing {
            Thing::Whiteout => return Ok(Found::Absent),
            Thing::Link(target) => return Ok(Found::Link { target, layer: self.layers[layer].clone() }),
            Thing::Other => return Ok(Found::Other { layer: self.layers[layer].clone() }),
            Thing::Directory { is_opaque } => is_opaque,
        };
        let mut layers = vec![layer];
        if !is_opaque {
            for layer in rest {
                match self.probe(layer, path)? {
                    None => {}
                    Some(Thing::Directory { is_opaque }) => {
                        layers.push(layer);
                        if is_opaque {
                            break;
                        }
                    }
                    Some(_) => break,
                }
            }
        }
        let open = open && !(layer == HERE && is_opaque);
        Ok(Found::Directory(Place { path: path.to_owned(), layers, open }))
    }

    /// Whether a directory of this layer (its path without links) shows what layers below have in theirs. Where that is
    /// not known, they may.
    pub(crate) fn is_merged(&self, path: &Path) -> Result<bool, WalkError> {
        if !self.knows_below {
            return Ok(true);
        }
        let is_merged = self.at(path)?.layers.len() > 1;
        if !is_merged {
            self.asked.set(true);
        }
        Ok(is_merged)
    }

    /// The directory's own place in the top-most layer that has it.
    pub(crate) fn source(&self, place: &Place) -> Option<PathBuf> {
        place.layers.first().map(|layer| self.layers[*layer].join(&place.path))
    }

    fn probe(&self, layer: usize, path: &Path) -> nix::Result<Option<Thing>> {
        let path = self.layers[layer].join(path);
        let Some(fd) = open_itself(&path)? else { return Ok(None) };
        let stat = fstat(&fd)?;
        Ok(Some(match kind(&stat) {
            SFlag::S_IFDIR => Thing::Directory { is_opaque: is_opaque(&path)? },
            SFlag::S_IFLNK => Thing::Link(readlinkat(&fd, "")?.into()),
            _ if is_whiteout(&stat) => Thing::Whiteout,
            _ => Thing::Other,
        }))
    }
}

/// Opens what is at an absolute path without following a link anywhere; `None` when nothing is.
pub(crate) fn open_itself(path: &Path) -> nix::Result<Option<OwnedFd>> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    match openat2(AT_FDCWD, path, how) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// How overlayfs hides a name of the layers below.
pub(crate) fn is_whiteout(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFCHR && stat.st_rdev == 0
}

/// Whether a directory hides what the layers below have in theirs.
pub(crate) fn is_opaque(directory: &Path) -> nix::Result<bool> {
    let path = CString::new(directory.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let name = CString::new(OPAQUE_XATTR).map_err(|_| Errno::EINVAL)?;
    let mut value = 0_u8;
    // SAFETY: the strings are terminated, and the buffer is the one byte that is stated.
    let length = unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), (&raw mut value).cast(), 1) };
    match Errno::result(length) {
        Ok(length) => Ok(length == 1 && value == b'y'),
        Err(Errno::ENODATA | Errno::EOPNOTSUPP | Errno::ERANGE) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Where an open directory lies.
pub(crate) fn path_of(fd: &OwnedFd) -> nix::Result<PathBuf> {
    let name = format!("/proc/self/fd/{}", fd.as_raw_fd());
    nix::fcntl::readlink(name.as_str()).map(PathBuf::from)
}

enum Step {
    Root,
    Up,
    Name(OsString),
}

/// Puts a path's steps on top, the first one last.
fn push(todo: &mut Vec<Step>, path: &Path) {
    todo.extend(path.components().rev().filter_map(|component| match component {
        Component::RootDir => Some(Step::Root),
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Name(name.to_owned())),
        Component::CurDir | Component::Prefix(_) => None,
    }));
}
