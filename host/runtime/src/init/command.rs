//! Finding the program, and the directory it starts in.

use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{SFlag, stat};
use nix::unistd::{AccessFlags, execve, faccessat};

use super::When;
use super::resolve::Root;
use crate::error::{StartError, StartErrorKind, describe};
use crate::sys;

/// What a container gets that does not say where its programs are: Docker's default.
pub(super) const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Makes the working directory when it is missing, as Docker does. What else is wrong with it shows when it is
/// entered.
pub(super) fn make_working_directory(root: &Root, path: &Path) -> Result<(), StartError> {
    match root.make_directory(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(working_directory_error(path, &error)),
    }
}

pub(super) fn enter_working_directory(path: &Path) -> Result<(), StartError> {
    nix::unistd::chdir(path).map_err(|error| working_directory_error(path, &error.into()))?;
    // A working directory like /proc/self/fd/7 could be a directory of the machine (CVE-2024-21626).
    let cwd = sys::getcwd().when(StartErrorKind::WorkingDirectory, || "getcwd".into())?;
    if !cwd.starts_with(b"/") {
        let message = format!("the working directory {path:?} is outside of the container");
        return Err(StartError::new(StartErrorKind::WorkingDirectory, message));
    }
    Ok(())
}

fn working_directory_error(path: &Path, error: &io::Error) -> StartError {
    let message = format!("chdir to cwd ({path:?}) set in config.json failed: {}", describe(error));
    StartError::new(StartErrorKind::WorkingDirectory, message)
}

/// The file that `command` stands for, with the credentials and working directory of this process. The messages are
/// those of Go's `exec.LookPath`, which runc's users know.
pub(super) fn find(command: &str, path: &str) -> Result<String, StartError> {
    if command.contains('/') {
        return match check(command) {
            Ok(()) => Ok(command.to_owned()),
            Err(error) => Err(lookup_error(command, error)),
        };
    }
    let mut denied = None;
    for directory in path.split(':') {
        let directory = if directory.is_empty() { "." } else { directory };
        let candidate = format!("{directory}/{command}");
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::EACCES) => denied = Some(()),
            Err(_) => {}
        }
    }
    match denied {
        Some(()) => Err(lookup_error(command, Errno::EACCES)),
        None => Err(StartError::new(
            StartErrorKind::CommandNotFound,
            format!("exec: {command:?}: executable file not found in $PATH"),
        )),
    }
}

fn lookup_error(command: &str, error: Errno) -> StartError {
    let text = describe(&error.into());
    match error {
        Errno::EISDIR | Errno::EACCES => {
            StartError::new(StartErrorKind::CommandNotExecutable, format!("exec: {command:?}: {text}"))
        }
        Errno::ENOENT | Errno::ENOTDIR => StartError::new(
            StartErrorKind::CommandNotFound,
            format!("exec: {command:?}: stat {command}: {text}"),
        ),
        _ => StartError::new(
            StartErrorKind::CommandNotExecutable,
            format!("exec: {command:?}: stat {command}: {text}"),
        ),
    }
}

/// Whether this process may execute the file.
fn check(file: &str) -> nix::Result<()> {
    if SFlag::from_bits_truncate(stat(file)?.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR {
        return Err(Errno::EISDIR);
    }
    faccessat(AT_FDCWD, file, AccessFlags::X_OK, AtFlags::AT_EACCESS)
}

/// Becomes the program.
pub(super) fn execute(
    file: &str,
    arguments: &[CString],
    environment: &[CString],
) -> Result<Infallible, StartError> {
    let file_c = CString::new(file).map_err(|_| {
        StartError::new(StartErrorKind::CommandNotFound, format!("exec: {file:?}: NUL in the name"))
    })?;
    let Err(error) = execve(&file_c, arguments, environment);
    let kind = match error {
        // The file is there; its interpreter is not.
        Errno::ENOENT => StartErrorKind::CommandNotFound,
        _ => StartErrorKind::CommandNotExecutable,
    };
    Err(StartError::new(kind, format!("exec {file}: {}", describe(&error.into()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(command: &str) -> String {
        find(command, "/nowhere:/bin").unwrap_err().message
    }

    #[test]
    fn messages_are_those_users_know() {
        assert_eq!(find("sh", "/nowhere:/bin").unwrap(), "/bin/sh");
        assert_eq!(message("nope"), r#"exec: "nope": executable file not found in $PATH"#);
        assert_eq!(message("/nope"), r#"exec: "/nope": stat /nope: no such file or directory"#);
        assert_eq!(message("/etc"), r#"exec: "/etc": is a directory"#);
        assert_eq!(message("/etc/passwd"), r#"exec: "/etc/passwd": permission denied"#);
        assert_eq!(message("/etc/passwd/x"), r#"exec: "/etc/passwd/x": stat /etc/passwd/x: not a directory"#);
    }
}
