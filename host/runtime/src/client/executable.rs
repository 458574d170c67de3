//! The executable that shims run: our own, in a form that no container can write to.
//!
//! A container whose entry point is `/proc/self/exe` makes the runtime execute itself inside, and could afterwards
//! open that file for writing (CVE-2019-5736). So shims run from a read-only overlay over the directory of our
//! executable: it has no upper layer, so nobody can ever make it writable, and it shares the page cache with the
//! file. Where an overlay cannot be had (berth itself lives on a nested overlay), a sealed copy in memory serves;
//! it costs the size of the binary.

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::sys;

/// An executable that cannot be changed, by descriptor.
pub(super) struct SealedExecutable {
    file: OwnedFd,
}

impl SealedExecutable {
    /// Seals the file at `path`. `scratch` is a directory of ours.
    pub(super) fn new(path: &Path, scratch: &Path) -> io::Result<SealedExecutable> {
        let file = match overlay(path, scratch) {
            Ok(file) => file,
            Err(_) => memory_copy(path)?,
        };
        Ok(SealedExecutable { file })
    }

    /// A path that names it in this process and in one that is being spawned from it.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }
}

fn c_string(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn overlay(path: &Path, scratch: &Path) -> io::Result<OwnedFd> {
    let path = path.canonicalize()?;
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // An overlay without an upper layer needs two lower ones.
    let empty = scratch.join("empty");
    fs::create_dir_all(&empty)?;
    let fs = sys::fsopen(c"overlay")?;
    let lower = |layer: &Path| sys::fsconfig_string(fs.as_fd(), c"lowerdir+", &c_string(layer)?);
    if sys::kernel_version()? >= sys::OVERLAY_LAYERS_ONE_BY_ONE {
        lower(directory)?;
        lower(&empty)?;
    } else {
        // Both in one string. A path with a colon in it fails here or at the lookup below.
        let both = [directory.as_os_str().as_bytes(), b":", empty.as_os_str().as_bytes()].concat();
        sys::fsconfig_string(fs.as_fd(), c"lowerdir", &CString::new(both)?)?;
    }
    sys::fsconfig_create(fs.as_fd())?;
    let mount = sys::fsmount(fs.as_fd(), sys::MOUNT_ATTR_RDONLY)?;
    let name = c_string(Path::new(name))?;
    // Not only a path (O_PATH): the open file keeps the detached mount alive.
    sys::openat2(mount.as_fd(), &name, libc::O_RDONLY, 0, sys::RESOLVE_BENEATH)
}

fn memory_copy(path: &Path) -> io::Result<OwnedFd> {
    const NAME: &CStr = c"berth-shim";
    // SAFETY: the name ends in NUL.
    let raw = unsafe { libc::memfd_create(NAME.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor.
    let mut copy: File = unsafe { std::os::fd::FromRawFd::from_raw_fd(raw) };
    io::copy(&mut File::open(path)?, &mut copy)?;
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    // SAFETY: no pointers.
    if unsafe { libc::fcntl(copy.as_raw_fd(), libc::F_ADD_SEALS, seals) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(copy.into())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn check(sealed: OwnedFd) {
        let sealed = SealedExecutable { file: sealed };
        let output = Command::new(sealed.path()).arg("sealed").output().unwrap();
        assert_eq!(output.stdout, b"sealed\n");
        let refused = File::options().write(true).open(sealed.path()).and_then(|mut file| {
            use std::io::Write;
            file.write_all(b"overwritten")
        });
        assert!(refused.is_err(), "the executable could be overwritten");
    }

    #[test]
    fn an_overlay_executes_and_refuses_writers() {
        let scratch = tempfile::tempdir().unwrap();
        check(overlay(Path::new("/bin/echo"), scratch.path()).unwrap());
    }

    #[test]
    fn a_memory_copy_executes_and_refuses_writers() {
        check(memory_copy(Path::new("/bin/echo")).unwrap());
    }
}
