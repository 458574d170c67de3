//! Paths in a container, resolved so that no link can lead out of it.
//!
//! Other containers of the pod may be changing a shared volume while a path through it is looked up. So a path is
//! resolved once, by the kernel, with the container's root as the root, into a descriptor; what follows works on the
//! descriptor.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{OFlag, open, readlinkat};
use nix::sys::stat::{Mode, SFlag, mkdirat, mknodat};

use crate::sys;

/// A directory that counts as `/`.
pub(crate) struct Root {
    directory: OwnedFd,
    resolve: u64,
}

impl Root {
    /// Absolute links and `..` stay inside.
    pub(crate) fn new(directory: OwnedFd) -> Root {
        // Links such as /proc/self/fd/3 lead to where the runtime is, not the container.
        Root { directory, resolve: sys::RESOLVE_IN_ROOT | sys::RESOLVE_NO_MAGICLINKS }
    }

    /// Links that lead out are errors: for volumes, where a link of the machine's has no other meaning.
    pub(super) fn volume(directory: OwnedFd) -> Root {
        Root { directory, resolve: sys::RESOLVE_BENEATH | sys::RESOLVE_NO_MAGICLINKS }
    }

    /// The root of this process.
    pub(super) fn current() -> io::Result<Root> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Root::new(open("/", flags, Mode::empty())?))
    }

    pub(crate) fn open(&self, path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
        let path = relative(path)?;
        sys::openat2(self.directory.as_fd(), &path, flags.bits(), 0, self.resolve)
    }

    /// A place to mount something on.
    pub(crate) fn find(&self, path: &Path) -> io::Result<OwnedFd> {
        self.open(path, OFlag::O_PATH)
    }

    /// The directory at `path`, made with those above it when missing.
    pub(crate) fn make_directory(&self, path: &Path) -> io::Result<OwnedFd> {
        self.make_directory_behind(path, 0)
    }

    /// `links` counts the dangling links that have been followed to get here.
    fn make_directory_behind(&self, path: &Path, links: u32) -> io::Result<OwnedFd> {
        match self.open(path, OFlag::O_PATH | OFlag::O_DIRECTORY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        if links > LINKS_MAX {
            return Err(io::Error::from_raw_os_error(libc::ELOOP));
        }
        let mut current = self.open(Path::new("/"), OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        let mut prefix = PathBuf::new();
        for component in path.components().filter(|component| !matches!(component, Component::RootDir)) {
            prefix.push(component);
            current = match self.open(&prefix, OFlag::O_PATH | OFlag::O_DIRECTORY) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    make_in(current.as_fd(), component.as_os_str())?;
                    match self.open(&prefix, OFlag::O_PATH | OFlag::O_DIRECTORY) {
                        // A link that leads nowhere yet, such as /var/run in an image without /run: its target is
                        // made, looked up from the root again.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {
                            let target = readlinkat(&current, component.as_os_str())?;
                            let base = prefix.parent().unwrap_or(Path::new(""));
                            self.make_directory_behind(&base.join(target), links + 1)?
                        }
                        other => other?,
                    }
                }
                other => other?,
            };
        }
        Ok(current)
    }

    /// The file at `path`, made empty with the directories above it when missing.
    pub(crate) fn make_file(&self, path: &Path) -> io::Result<OwnedFd> {
        match self.find(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let parent = self.make_directory(parent)?;
        match mknodat(&parent, name, SFlag::S_IFREG, Mode::from_bits_truncate(0o644), 0) {
            Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        self.find(path)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// As many dangling links are followed on the way to a directory that is to be made; the kernel's limit is 40.
const LINKS_MAX: u32 = 8;

fn make_in(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match mkdirat(parent, name, Mode::from_bits_truncate(0o755)) {
        // Somebody else was faster, or a link leads nowhere: the next lookup tells.
        Ok(()) | Err(nix::errno::Errno::EEXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Without the leading `/`, which `RESOLVE_BENEATH` refuses; the empty path becomes `.`.
fn relative(path: &Path) -> io::Result<CString> {
    let path = path.strip_prefix("/").unwrap_or(path);
    let bytes = if path.as_os_str().is_empty() { b"." } else { path.as_os_str().as_bytes() };
    Ok(CString::new(bytes)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn real_path(fd: &OwnedFd) -> PathBuf {
        use std::os::fd::AsRawFd;
        fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap()
    }

    #[test]
    fn links_out_of_the_root_lead_back_into_it() {
        let base = tempfile::tempdir().unwrap();
        let inside = base.path().canonicalize().unwrap().join("root");
        fs::create_dir_all(inside.join("etc")).unwrap();
        symlink("/etc", inside.join("absolute")).unwrap();
        symlink("../../../../etc", inside.join("upwards")).unwrap();
        let root = Root::new(fs::File::open(&inside).unwrap().into());
        for path in ["absolute", "upwards", "/../etc"] {
            assert_eq!(real_path(&root.find(Path::new(path)).unwrap()), inside.join("etc"), "{path}");
        }
        let made = root.make_directory(Path::new("/absolute/a/../b/c")).unwrap();
        assert_eq!(real_path(&made), inside.join("etc/b/c"));
        let made = root.make_file(Path::new("/upwards/x/hosts")).unwrap();
        assert_eq!(real_path(&made), inside.join("etc/x/hosts"));
    }

    #[test]
    fn targets_of_dangling_links_are_made_inside() {
        let base = tempfile::tempdir().unwrap();
        let inside = base.path().canonicalize().unwrap().join("root");
        fs::create_dir_all(inside.join("var")).unwrap();
        symlink("../run", inside.join("var/run")).unwrap();
        symlink("/elsewhere/deep", inside.join("absolute")).unwrap();
        symlink("loop", inside.join("loop")).unwrap();
        let root = Root::new(fs::File::open(&inside).unwrap().into());
        let made = root.make_directory(Path::new("/var/run/secrets")).unwrap();
        assert_eq!(real_path(&made), inside.join("run/secrets"));
        let made = root.make_directory(Path::new("/absolute/x")).unwrap();
        assert_eq!(real_path(&made), inside.join("elsewhere/deep/x"));
        assert!(root.make_directory(Path::new("/loop/x")).is_err());
    }

    #[test]
    fn a_link_out_of_a_volume_is_refused() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("volume")).unwrap();
        symlink("/etc", base.path().join("volume/out")).unwrap();
        symlink("inner", base.path().join("volume/in")).unwrap();
        fs::create_dir(base.path().join("volume/inner")).unwrap();
        let volume = Root::volume(fs::File::open(base.path().join("volume")).unwrap().into());
        assert!(volume.find(Path::new("out")).is_err());
        assert!(volume.find(Path::new("../volume")).is_err());
        assert!(volume.make_directory(Path::new("out/new")).is_err());
        volume.make_directory(Path::new("in/new")).unwrap();
        assert!(base.path().join("volume/inner/new").is_dir());
    }
}
