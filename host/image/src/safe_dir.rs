//! A directory that untrusted paths cannot leave: every path is resolved by the kernel with `openat2(RESOLVE_IN_ROOT)`,
//! so that a symbolic link in it points into it, also while somebody else changes it.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Directories that archives do not mention but use.
const IMPLIED_DIR_MODE: Mode = Mode::from_bits_truncate(0o755);
/// How deep a tree may be that one entry replaces; removal recurses.
const DEPTH_MAX: usize = 1000;

/// The directory.
pub(crate) struct SafeDir {
    root: Rc<OwnedFd>,
    /// The parent looked up last: archives list a directory's entries together.
    last_parent: Option<(PathBuf, Rc<OwnedFd>)>,
    /// Directories made because something in them was wanted.
    implied: BTreeSet<PathBuf>,
}

impl SafeDir {
    pub(crate) fn open(path: &Path) -> nix::Result<SafeDir> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
        Ok(SafeDir {
            root: Rc::new(nix::fcntl::open(path, flags, Mode::empty())?),
            last_parent: None,
            implied: BTreeSet::new(),
        })
    }

    /// The directory itself.
    pub(crate) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// The directory that holds (or shall hold) `path`, made if need be, and the last component. `path` is clean.
    pub(crate) fn parent(&mut self, path: &Path) -> nix::Result<(Rc<OwnedFd>, OsString)> {
        let name = path.file_name().ok_or(Errno::EINVAL)?.to_owned();
        let parent = path.parent().unwrap_or(Path::new(""));
        if let Some((known, fd)) = &self.last_parent
            && known == parent
        {
            return Ok((Rc::clone(fd), name));
        }
        let fd = Rc::new(self.make_dirs(parent)?);
        self.last_parent = Some((parent.to_owned(), Rc::clone(&fd)));
        Ok((fd, name))
    }

    /// The directory that holds `path`, which must exist.
    pub(crate) fn existing_parent(&self, path: &Path) -> nix::Result<(OwnedFd, OsString)> {
        let name = path.file_name().ok_or(Errno::EINVAL)?.to_owned();
        Ok((self.open_dir(path.parent().unwrap_or(Path::new("")))?, name))
    }

    fn make_dirs(&mut self, path: &Path) -> nix::Result<OwnedFd> {
        match self.open_dir(path) {
            Err(Errno::ENOENT) => {}
            result => return result,
        }
        let mut so_far = PathBuf::new();
        for component in path.components() {
            let parent = self.open_dir(&so_far)?;
            so_far.push(component);
            match mkdirat(&parent, component.as_os_str(), IMPLIED_DIR_MODE) {
                Ok(()) => {
                    // The mode given to mkdirat is cut by the umask. Nobody else writes here: it is the one just made.
                    fchmodat(&parent, component.as_os_str(), IMPLIED_DIR_MODE, FchmodatFlags::FollowSymlink)?;
                    self.implied.insert(so_far.clone());
                }
                Err(Errno::EEXIST) => {}
                Err(error) => return Err(error),
            }
        }
        self.open_dir(path)
    }

    fn open_dir(&self, path: &Path) -> nix::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let how = OpenHow::new()
            .flags(OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(&*self.root, path, how)
    }

    /// What is known of a directory below; `None` when there is none at that path.
    pub(crate) fn stat_dir(&self, path: &Path) -> nix::Result<Option<FileStat>> {
        match self.open_dir(path) {
            Ok(dir) => fstat(&dir).map(Some),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The archive has an entry of its own for this directory.
    pub(crate) fn explicit(&mut self, path: &Path) {
        self.implied.remove(path);
    }

    /// The directories that were made only because something in them was wanted, parents first.
    pub(crate) fn into_implied(self) -> BTreeSet<PathBuf> {
        self.implied
    }

    /// Forgets what it knows about parents: something was replaced.
    pub(crate) fn forget(&mut self) {
        self.last_parent = None;
    }
}

/// What is at `name`, not following a link; `None` when nothing is.
pub(crate) fn look(parent: &OwnedFd, name: &OsStr) -> nix::Result<Option<FileStat>> {
    match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// Removes `name` and what is below it.
pub(crate) fn remove(parent: &OwnedFd, name: &OsStr) -> nix::Result<()> {
    remove_at_depth(parent, name, 0)
}

fn remove_at_depth(parent: &OwnedFd, name: &OsStr, depth: usize) -> nix::Result<()> {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR | Errno::EPERM) if depth < DEPTH_MAX => {}
        result => return result,
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
    let fd = openat(parent, name, flags, Mode::empty())?;
    for child in names(&fd)? {
        remove_at_depth(&fd, &child, depth + 1)?;
    }
    unlinkat(parent, name, UnlinkatFlags::RemoveDir)
}

/// The names in a directory.
fn names(dir: &OwnedFd) -> nix::Result<Vec<OsString>> {
    let copy = dir
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    let mut entries = Dir::from_fd(copy)?;
    let mut names = Vec::new();
    for entry in entries.iter() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(&name).to_owned());
        }
    }
    Ok(names)
}

/// A path of an archive, relative to its root: leading slashes and `.` components do not count; `..` is refused.
pub(crate) fn clean(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}
