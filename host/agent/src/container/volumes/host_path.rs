//! `hostPath`.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

/// Checks that the path is what the pod says, making it where the pod asks for that.
pub(super) fn check(path: &Path, kind: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("hostPath {}: {error}", path.display());
    match kind {
        "DirectoryOrCreate" if !path.exists() => {
            fs::create_dir_all(path).map_err(failed)?;
            return fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(failed);
        }
        "FileOrCreate" if !path.exists() => {
            fs::File::create(path).map_err(failed)?;
            return fs::set_permissions(path, fs::Permissions::from_mode(0o644)).map_err(failed);
        }
        // No check: but there must be something to mount. Docker makes a directory, and so does the kubelet with it.
        "" if !path.exists() => return fs::create_dir_all(path).map_err(failed),
        "" => return Ok(()),
        _ => {}
    }
    let wrong = |what: &str| Err(format!("hostPath type check failed: {} is not {what}", path.display()));
    let found = fs::metadata(path).map(|metadata| metadata.file_type());
    match (kind, found) {
        ("Directory" | "DirectoryOrCreate", found) if !found.as_ref().is_ok_and(|kind| kind.is_dir()) => {
            wrong("a directory")
        }
        ("File" | "FileOrCreate", found) if !found.as_ref().is_ok_and(|kind| kind.is_file()) => {
            wrong("a file")
        }
        ("Socket", found) if !found.as_ref().is_ok_and(|kind| kind.is_socket()) => wrong("a socket file"),
        ("CharDevice", found) if !found.as_ref().is_ok_and(|kind| kind.is_char_device()) => {
            wrong("a character device")
        }
        ("BlockDevice", found) if !found.as_ref().is_ok_and(|kind| kind.is_block_device()) => {
            wrong("a block device")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_checked_and_made_where_asked() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        assert_eq!(check(&path("a/b"), "DirectoryOrCreate"), Ok(()));
        assert!(path("a/b").is_dir());
        let error = check(&path("a"), "File").unwrap_err();
        assert!(
            error.starts_with("hostPath type check failed:") && error.ends_with("is not a file"),
            "{error}"
        );
        assert!(check(&path("missing"), "Directory").is_err());
        assert_eq!(check(&path("f"), "FileOrCreate"), Ok(()));
        assert_eq!(check(&path("f"), "File"), Ok(()));
        assert!(check(&path("f"), "Socket").is_err());
    }
}
