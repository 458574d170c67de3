//! Owner, mode, time and extended attributes: as an entry's headers have them, as a file has them, and onto a file.

use std::ffi::{CString, OsStr};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, UtimensatFlags, fchmodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat};

const XATTR_PREFIX: &str = "SCHILY.xattr.";
const CAPABILITY: &str = "security.capability";
/// The longest value of an extended attribute that Linux takes, in bytes.
const XATTR_BYTES_MAX: usize = 64 << 10;
/// The longest list of a file's extended attributes that Linux gives, in bytes.
const XATTR_LIST_BYTES_MAX: usize = 64 << 10;
const NANOSECONDS: i64 = 1_000_000_000;

/// Who owns a file, what may be done with it, and when it was changed.
pub(crate) struct Attributes {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    pub(crate) mode: Mode,
    pub(crate) mtime: TimeSpec,
    xattrs: Vec<(String, Vec<u8>)>,
}

impl Attributes {
    /// What an entry's headers say.
    pub(crate) fn of_entry<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Attributes, String> {
        let header = entry.header().as_old();
        let field =
            |name: &str, bytes: &[u8]| number(bytes).ok_or_else(|| format!("its {name} is no number"));
        let (mut uid, mut gid) = (field("owner", &header.uid)?, field("group", &header.gid)?);
        let mode = Mode::from_bits_truncate((field("mode", &header.mode)? & 0o7777) as u32);
        let mut mtime = (field("time", &header.mtime)?, 0);
        let mut xattrs = Vec::new();
        if let Some(records) = entry.pax_extensions().map_err(|error| error.to_string())? {
            for record in records {
                let record = record.map_err(|error| format!("its PAX records are broken: {error}"))?;
                let (key, value) = (record.key().unwrap_or_default(), record.value_bytes());
                let text = || String::from_utf8_lossy(value);
                match key {
                    "uid" => uid = text().parse().map_err(|_| "its PAX uid is no number".to_owned())?,
                    "gid" => gid = text().parse().map_err(|_| "its PAX gid is no number".to_owned())?,
                    "mtime" => mtime = pax_time(&text()).ok_or("its PAX mtime is no time")?,
                    _ => xattrs
                        .extend(key.strip_prefix(XATTR_PREFIX).and_then(|name| allowed_xattr(name, value))),
                }
            }
        }
        let id = |id: i64| u32::try_from(id).map_err(|_| format!("its owner {id} is no 32-bit number"));
        let (uid, gid) = (Uid::from_raw(id(uid)?), Gid::from_raw(id(gid)?));
        Ok(Attributes { uid, gid, mode, mtime: TimeSpec::new(mtime.0, mtime.1), xattrs })
    }

    /// What a file has; of its extended attributes those that an image may set.
    pub(crate) fn of_file(path: &Path, stat: &FileStat) -> nix::Result<Attributes> {
        let mut xattrs = Vec::new();
        for name in xattr_names(path)? {
            let allowed = name == CAPABILITY || name.starts_with("user.");
            if let Some(value) = allowed.then(|| xattr(path, &name)).transpose()?.flatten() {
                xattrs.push((name, value));
            }
        }
        Ok(Attributes {
            uid: Uid::from_raw(stat.st_uid),
            gid: Gid::from_raw(stat.st_gid),
            mode: Mode::from_bits_truncate(stat.st_mode & 0o7777),
            mtime: TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec),
            xattrs,
        })
    }

    /// Gives them to a file. Owner first: changing it clears setuid bits and capabilities.
    pub(crate) fn apply(&self, parent: &OwnedFd, name: &OsStr, is_symlink: bool) -> nix::Result<()> {
        fchownat(parent, name, Some(self.uid), Some(self.gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if !is_symlink {
            // The name was made by us a moment ago in a directory nobody else writes to; it is no link.
            fchmodat(parent, name, self.mode, FchmodatFlags::FollowSymlink)?;
        }
        for (key, value) in &self.xattrs {
            match set_xattr(parent, name, key, value) {
                Err(Errno::EPERM | Errno::EOPNOTSUPP) if key.starts_with("user.") => {
                    tracing::debug!(key, "layer: this file system or file type takes no user attributes");
                }
                result => result?,
            }
        }
        set_mtime(parent, name, self.mtime)
    }
}

pub(crate) fn set_mtime(parent: &OwnedFd, name: &OsStr, mtime: TimeSpec) -> nix::Result<()> {
    utimensat(parent, name, &mtime, &mtime, UtimensatFlags::NoFollowSymlink)
}

/// There is no `setxattrat` before Linux 6.13; `/proc/self/fd/<dir>/<name>` names the same file without a lookup on the way.
pub(crate) fn set_xattr(parent: &OwnedFd, name: &OsStr, key: &str, value: &[u8]) -> nix::Result<()> {
    let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
    path.extend(name.as_bytes());
    let (path, key) = (c_string(&path)?, c_string(key.as_bytes())?);
    // SAFETY: the three pointers are valid for the lengths given; the kernel only reads them.
    let result =
        unsafe { libc::lsetxattr(path.as_ptr(), key.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    Errno::result(result).map(drop)
}

fn xattr_names(path: &Path) -> nix::Result<Vec<String>> {
    let path = c_string(path.as_os_str().as_bytes())?;
    let mut list = vec![0_u8; XATTR_LIST_BYTES_MAX];
    // SAFETY: the path is terminated, and the buffer is as long as stated.
    let length = unsafe { libc::llistxattr(path.as_ptr(), list.as_mut_ptr().cast(), list.len()) };
    match Errno::result(length) {
        Ok(length) => list.truncate(usize::try_from(length).unwrap_or(0)),
        Err(Errno::EOPNOTSUPP) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    }
    let names = list.split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok());
    Ok(names.filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

/// An extended attribute's value; `None` when there is none.
pub(crate) fn xattr(path: &Path, name: &str) -> nix::Result<Option<Vec<u8>>> {
    let (path, name) = (c_string(path.as_os_str().as_bytes())?, c_string(name.as_bytes())?);
    let mut value = vec![0_u8; XATTR_BYTES_MAX];
    // SAFETY: the strings are terminated, and the buffer is as long as stated.
    let length =
        unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    match Errno::result(length) {
        Ok(length) => {
            value.truncate(usize::try_from(length).unwrap_or(0));
            Ok(Some(value))
        }
        Err(Errno::ENODATA | Errno::EOPNOTSUPP) => Ok(None),
        Err(error) => Err(error),
    }
}

fn c_string(bytes: &[u8]) -> nix::Result<CString> {
    CString::new(bytes).map_err(|_| Errno::EINVAL)
}

/// File capabilities and user attributes. Others (`trusted.overlay.*` above all) would speak to the kernel in our name.
fn allowed_xattr(name: &str, value: &[u8]) -> Option<(String, Vec<u8>)> {
    if name == CAPABILITY || name.starts_with("user.") {
        return Some((name.to_owned(), value.to_vec()));
    }
    tracing::debug!(name, "layer: an extended attribute that images may not set is left out");
    None
}

/// A number of a tar header: octal digits, or since they ran out (large owners, times before 1970) two's complement.
fn number(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        // The highest bit says that it is binary, the next one is the sign.
        let sign = if first & 0x40 != 0 { -1 } else { 0 };
        let first = i128::from(sign) << 6 | i128::from(first & 0x3f);
        let value = rest
            .iter()
            .try_fold(first, |value, byte| value.checked_mul(256).map(|value| value | i128::from(*byte)))?;
        return i64::try_from(value).ok();
    }
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let text = std::str::from_utf8(&field[..end]).ok()?.trim();
    // An empty field is what some writers make of zero.
    if text.is_empty() { Some(0) } else { i64::from_str_radix(text, 8).ok() }
}

/// `[-]<seconds>[.<fraction>]`.
fn pax_time(text: &str) -> Option<(i64, i64)> {
    let (is_negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (seconds, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    // Digits alone: a sign here would be a second one.
    let (seconds, nanoseconds): (u64, u32) = (seconds.parse().ok()?, fraction.parse().ok()?);
    let (seconds, nanoseconds) = (i64::try_from(seconds).ok()?, i64::from(nanoseconds));
    Some(match (is_negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        // The fraction counts forwards from the second before.
        (true, _) => (-seconds - 1, NANOSECONDS - nanoseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_headers_are_octal_or_binary_and_may_be_negative_or_missing() {
        let cases: [(&[u8], Option<i64>); 8] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"-1\0", Some(-1)),
            (b"12x4567\0", None),
            (&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], Some(65536)),
            (&[0xff; 12], Some(-1)),
            (&[0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], None),
        ];
        for (field, expected) in cases {
            assert_eq!(number(field), expected, "{field:?}");
        }
    }

    #[test]
    fn times_of_pax_records_reach_before_1970() {
        let cases = [
            ("5", Some((5, 0))),
            ("5.25", Some((5, 250_000_000))),
            ("-5", Some((-5, 0))),
            ("-0.5", Some((-1, 500_000_000))),
            ("-1.25", Some((-2, 750_000_000))),
            ("1.0000000009", Some((1, 0))),
            ("99999999999999999999", None),
            ("x", None),
            ("--1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(pax_time(text), expected, "{text}");
        }
    }
}
