//! New file systems by the mount API: made detached, put in place by descriptor.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::sys;

/// Neither set-user-ID programs, nor devices, nor programs.
pub(super) const HARMLESS: u64 = sys::MOUNT_ATTR_NOSUID | sys::MOUNT_ATTR_NODEV | sys::MOUNT_ATTR_NOEXEC;

/// A parameter of a file system.
pub(super) enum Parameter<'a> {
    /// Without a value.
    Flag(&'a str),
    /// With one, of at most 255 bytes.
    Value(&'a CStr, &'a str),
}

/// Makes a file system of this kind, not yet mounted anywhere.
pub(super) fn new(kind: &CStr, parameters: &[Parameter<'_>], attributes: u64) -> io::Result<OwnedFd> {
    let fs = sys::fsopen(kind)?;
    for parameter in parameters {
        match parameter {
            Parameter::Flag(key) => sys::fsconfig_flag(fs.as_fd(), &CString::new(*key)?)?,
            Parameter::Value(key, value) => sys::fsconfig_string(fs.as_fd(), key, &CString::new(*value)?)?,
        }
    }
    sys::fsconfig_create(fs.as_fd())?;
    sys::fsmount(fs.as_fd(), attributes)
}
