//! The system calls that neither libc nor nix wraps, each as a thin safe function.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use libc::{c_int, c_long, c_uint, c_ulong};

/// `fsconfig(2)`: set a parameter that has no value.
const FSCONFIG_SET_FLAG: c_uint = 0;
/// `fsconfig(2)`: set a parameter to a string.
const FSCONFIG_SET_STRING: c_uint = 1;
/// `fsconfig(2)`: make the file system.
const FSCONFIG_CMD_CREATE: c_uint = 6;
const FSOPEN_CLOEXEC: c_uint = 1;
const FSMOUNT_CLOEXEC: c_uint = 1;
const OPEN_TREE_CLONE: c_uint = 1;
const MOVE_MOUNT_F_EMPTY_PATH: c_uint = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: c_uint = 0x40;
/// `mount_setattr(2)`: read-only.
pub(crate) const MOUNT_ATTR_RDONLY: u64 = 0x1;
/// `mount_setattr(2)`: set-user-ID bits have no effect.
pub(crate) const MOUNT_ATTR_NOSUID: u64 = 0x2;
/// `mount_setattr(2)`: device nodes cannot be opened.
pub(crate) const MOUNT_ATTR_NODEV: u64 = 0x4;
/// `mount_setattr(2)`: programs cannot be executed.
pub(crate) const MOUNT_ATTR_NOEXEC: u64 = 0x8;
/// `openat2(2)`: treat the directory as the root, for absolute paths, links and `..` alike.
pub(crate) const RESOLVE_IN_ROOT: u64 = 0x10;
/// `openat2(2)`: refuse to leave the directory.
pub(crate) const RESOLVE_BENEATH: u64 = 0x08;
/// `openat2(2)`: refuse links such as `/proc/self/fd/3`.
pub(crate) const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
/// `clone3(2)`: start the child in the cgroup given as a file descriptor.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Turns the kernel's −1 into an error.
fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(result: c_long) -> io::Result<OwnedFd> {
    let fd = check(result)? as RawFd;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What `clone3` leaves behind.
pub(crate) enum Forked {
    Parent {
        /// The child as seen from here.
        pid: i32,
        /// The child, immune to reuse of its number.
        pidfd: OwnedFd,
    },
    Child,
}

/// Arguments of `clone3(2)`, first version plus `set_tid` and `cgroup`.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Forks with the given `CLONE_*` namespace flags, into `cgroup` where that is given.
///
/// # Safety
/// The process must have one thread: the child goes on to allocate and lock.
pub(crate) unsafe fn clone3(flags: c_int, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
    let mut pidfd: RawFd = -1;
    // A child made with CLONE_PARENT inherits its exit signal and may not name one.
    let exit_signal = if flags & libc::CLONE_PARENT != 0 { 0 } else { libc::SIGCHLD as u64 };
    let mut arguments = CloneArgs {
        flags: flags as u32 as u64 | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: the structure is initialised and lives through the call; no stack is given, so this behaves as fork,
    // and the caller vouches for the single thread.
    let result =
        check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<CloneArgs>()) })?;
    if result == 0 {
        return Ok(Forked::Child);
    }
    // SAFETY: CLONE_PIDFD has stored a new descriptor there.
    Ok(Forked::Parent { pid: result as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

/// How a child has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Death {
    /// Which child.
    pub(crate) pid: i32,
    /// The exit code, or 128 + signal, as a shell has them.
    pub(crate) code: i32,
    /// The signal that killed it.
    pub(crate) signal: Option<i32>,
}

/// `waitid(2)`: a child that has ended and has not been collected, if there is one. (nix's function fails for one that
/// was killed by a real-time signal.)
pub(crate) fn dead_child() -> io::Result<Option<i32>> {
    // SAFETY: all zeroes is a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the kernel writes one siginfo_t.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, flags) };
    match check(c_long::from(result)) {
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        Err(error) => Err(error),
        // SAFETY: waitid has filled in the form that has a pid; 0 stands for nobody.
        Ok(_) => Ok(Some(unsafe { info.si_pid() }).filter(|pid| *pid > 0)),
    }
}

/// `waitpid(2)`: collects a child (-1 for any) if it has ended. Fails with `ECHILD` when there is none.
pub(crate) fn collect(pid: i32) -> io::Result<Option<Death>> {
    let mut status: c_int = 0;
    // SAFETY: the kernel writes one int.
    let pid = check(c_long::from(unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) }))? as i32;
    if pid == 0 {
        return Ok(None);
    }
    let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
    let code = signal.map_or_else(|| libc::WEXITSTATUS(status), |signal| 128 + signal);
    Ok(Some(Death { pid, code, signal }))
}

/// `pidfd_send_signal(2)`.
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: no pointers but null.
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0 as c_uint,
        )
    })?;
    Ok(())
}

/// `pidfd_open(2)`.
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0 as c_uint) })
}

/// `openat2(2)`, always with `O_CLOEXEC`.
pub(crate) fn openat2(
    directory: BorrowedFd<'_>,
    path: &CStr,
    flags: c_int,
    mode: u32,
    resolve: u64,
) -> io::Result<OwnedFd> {
    let how: [u64; 3] = [(flags | libc::O_CLOEXEC) as u32 as u64, u64::from(mode), resolve];
    // EAGAIN: a rename or mount elsewhere raced with "..": the manual page says to try again.
    for _ in 0..OPENAT2_ATTEMPTS {
        // SAFETY: `path` ends in NUL; `how` has the layout of struct open_how (three u64).
        let result = owned(unsafe {
            libc::syscall(
                libc::SYS_openat2,
                directory.as_raw_fd(),
                path.as_ptr(),
                how.as_ptr(),
                size_of_val(&how),
            )
        });
        match result {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
            other => return other,
        }
    }
    Err(io::Error::from_raw_os_error(libc::EAGAIN))
}

/// Attempts of [`openat2`] against `EAGAIN`; a process that renames in a loop must not hold up a start.
const OPENAT2_ATTEMPTS: u32 = 64;

/// `fsopen(2)`.
pub(crate) fn fsopen(kind: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: `kind` ends in NUL.
    owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })
}

/// `fsconfig(2)`: sets a string parameter (at most 255 bytes).
pub(crate) fn fsconfig_string(fs: BorrowedFd<'_>, key: &CStr, value: &CStr) -> io::Result<()> {
    // SAFETY: both strings end in NUL.
    check(unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            fs.as_raw_fd(),
            FSCONFIG_SET_STRING,
            key.as_ptr(),
            value.as_ptr(),
            0 as c_int,
        )
    })?;
    Ok(())
}

/// `fsconfig(2)`: sets a parameter without a value.
pub(crate) fn fsconfig_flag(fs: BorrowedFd<'_>, key: &CStr) -> io::Result<()> {
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: the key ends in NUL; this command takes no value.
    check(unsafe {
        libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), FSCONFIG_SET_FLAG, key.as_ptr(), none, 0 as c_int)
    })?;
    Ok(())
}

/// `fsconfig(2)`: makes the file system.
pub(crate) fn fsconfig_create(fs: BorrowedFd<'_>) -> io::Result<()> {
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: this command takes neither key nor value.
    check(unsafe {
        libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), FSCONFIG_CMD_CREATE, none, none, 0 as c_int)
    })?;
    Ok(())
}

/// `fsmount(2)`: a mount that is not yet anywhere.
pub(crate) fn fsmount(fs: BorrowedFd<'_>, attributes: u64) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, fs.as_raw_fd(), FSMOUNT_CLOEXEC, attributes as c_uint) })
}

/// `open_tree(2)`: a copy of the mounts at and below `file`, not yet anywhere.
pub(crate) fn open_tree_clone(file: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags =
        OPEN_TREE_CLONE | libc::O_CLOEXEC as c_uint | (libc::AT_RECURSIVE | libc::AT_EMPTY_PATH) as c_uint;
    // SAFETY: the path is an empty C string.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, file.as_raw_fd(), c"".as_ptr(), flags) })
}

/// `move_mount(2)`: puts a detached mount on `target`.
pub(crate) fn move_mount(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both paths are empty C strings.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            target.as_raw_fd(),
            c"".as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
        )
    })?;
    Ok(())
}

/// `mount_setattr(2)` on the mount itself: sets attributes and, where not 0, the propagation (`MS_*`).
/// `recursive` extends it to the mounts below.
pub(crate) fn mount_setattr(
    mount: BorrowedFd<'_>,
    set: u64,
    propagation: c_ulong,
    recursive: bool,
) -> io::Result<()> {
    // struct mount_attr: attr_set, attr_clr, propagation, userns_fd.
    let attributes: [u64; 4] = [set, 0, propagation, 0];
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string; the array has the layout of struct mount_attr (four u64).
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags as c_uint,
            attributes.as_ptr(),
            size_of_val(&attributes),
        )
    })?;
    Ok(())
}

/// `close_range(2)`: closes everything from 3 on that is not in `keep`. Whoever owns one of those descriptors must
/// never drop it: this is for a forked child on its way to `execve` or `_exit`.
pub(crate) fn close_all_but(keep: &[RawFd]) -> io::Result<()> {
    let mut keep: Vec<RawFd> = keep.iter().copied().filter(|fd| *fd >= FIRST_NOT_STANDARD).collect();
    keep.sort_unstable();
    let mut first = FIRST_NOT_STANDARD;
    let close = |first: RawFd, last: c_uint| {
        if first as c_uint > last {
            return Ok(0);
        }
        // SAFETY: no pointers; the caller vouches for the owners.
        check(unsafe { libc::syscall(libc::SYS_close_range, first as c_uint, last, 0 as c_uint) })
    };
    for fd in keep {
        close(first, (fd as c_uint).wrapping_sub(1))?;
        first = fd + 1;
    }
    close(first, c_uint::MAX)?;
    Ok(())
}

/// The first descriptor after standard input, output and error.
const FIRST_NOT_STANDARD: RawFd = 3;

/// `prctl(2)` with one argument; returns what it returned.
pub(crate) fn prctl(option: c_int, argument: c_ulong) -> io::Result<c_int> {
    let zero: c_ulong = 0;
    // SAFETY: the options used in this crate take no pointers.
    let result = unsafe { libc::prctl(option, argument, zero, zero, zero) };
    check(c_long::from(result)).map(|value| value as c_int)
}

/// `rt_sigaction(2)`: what the kernel does by default, for every signal. The C library's `sigaction` would refuse the two
/// that it keeps for itself, and its `posix_spawn` makes children ignore them.
pub(crate) fn reset_signal_actions() -> io::Result<()> {
    const LAST: c_int = 64;
    const SET_BYTES: usize = 8;
    // struct sigaction of the kernel: handler, flags, restorer, mask.
    let default = [0_u64; 4];
    for signal in (1..=LAST).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
        let former = std::ptr::null_mut::<u64>();
        // SAFETY: the kernel reads one structure, and no code of ours is named in it.
        check(unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), former, SET_BYTES) })?;
    }
    Ok(())
}

/// `_LINUX_CAPABILITY_VERSION_3`: 64-bit sets in two halves.
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// `capset(2)` for this thread.
pub(crate) fn capset(effective: u64, permitted: u64, inheritable: u64) -> io::Result<()> {
    let header: [u32; 2] = [CAPABILITY_VERSION_3, 0];
    let half = |shift: u32| {
        [(effective >> shift) as u32, (permitted >> shift) as u32, (inheritable >> shift) as u32]
    };
    let data = [half(0), half(32)];
    // SAFETY: header and data have the layout that version 3 asks for.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) })?;
    Ok(())
}

/// `keyctl(2)`: a new, empty session keyring, so that a container does not see the keys of whoever started berth.
/// Kernels without key retention have nothing to hide.
pub(crate) fn join_new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: c_int = 1;
    let name = std::ptr::null::<libc::c_char>();
    // SAFETY: a null name asks for an anonymous keyring.
    match check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name) }) {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        other => other.map(drop),
    }
}

/// `getcwd(2)`, as the kernel says it: `(unreachable)…` for a directory outside the root.
pub(crate) fn getcwd() -> io::Result<Vec<u8>> {
    let mut buffer = vec![0_u8; libc::PATH_MAX as usize];
    // SAFETY: the kernel writes at most that many bytes.
    let length = check(unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) })?;
    // Without the NUL that is counted.
    buffer.truncate((length as usize).saturating_sub(1));
    Ok(buffer)
}

/// `flistxattr(2)`: the names of a file's extended attributes; none on a file system that has no such thing.
pub(crate) fn list_attributes(file: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut names = vec![0_u8; XATTR_BYTES_MAX];
    // SAFETY: the kernel writes at most that many bytes.
    let length = unsafe { libc::flistxattr(file.as_raw_fd(), names.as_mut_ptr().cast(), names.len()) };
    let length = match check(length as c_long) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => 0,
        other => other?,
    };
    let names = names[..length as usize].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.filter_map(|name| CString::new(name).ok()).collect())
}

/// `fgetxattr(2)`.
pub(crate) fn get_attribute(file: BorrowedFd<'_>, name: &CStr) -> io::Result<Vec<u8>> {
    let mut value = vec![0_u8; XATTR_BYTES_MAX];
    // SAFETY: the name ends in NUL; the kernel writes at most that many bytes.
    let length =
        unsafe { libc::fgetxattr(file.as_raw_fd(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    value.truncate(check(length as c_long)? as usize);
    Ok(value)
}

/// `fsetxattr(2)`.
pub(crate) fn set_attribute(file: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> io::Result<()> {
    // SAFETY: the name ends in NUL; the kernel reads that many bytes.
    let result =
        unsafe { libc::fsetxattr(file.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    check(c_long::from(result)).map(drop)
}

/// The kernel's limits of a list of names and of a value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const XATTR_BYTES_MAX: usize = 64 << 10;

/// The name that `ps` and `top` show, at most 15 bytes of it. After an `execve` by descriptor it would be a number.
pub(crate) fn set_process_name(name: &CStr) -> io::Result<()> {
    // SAFETY: the name ends in NUL; the kernel copies it.
    check(c_long::from(unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) })).map(drop)
}

/// Replaces the command line of this process by `title`, which must not be longer; the name too.
pub(crate) fn set_process_title(title: &CStr) -> io::Result<()> {
    set_process_name(title)?;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // Fields 48 and 49, counted from after the name in parentheses, which ends field 2.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(48 - 3));
    let mut bounds = fields.into_iter().flatten().filter_map(|field| field.parse::<usize>().ok());
    let (Some(start), Some(end)) = (bounds.next(), bounds.next()) else {
        return Err(io::Error::other("odd /proc/self/stat"));
    };
    let title = title.to_bytes_with_nul();
    if start == 0 || end < start + title.len() {
        return Err(io::Error::other("the command line is too short to be replaced"));
    }
    // SAFETY: from `start` to `end` lie the arguments that the kernel has put on our stack. They are writable, and
    // nobody in this process, which has one thread, looks at them now.
    unsafe {
        let arguments = start as *mut u8;
        arguments.write_bytes(0, end - start);
        arguments.copy_from_nonoverlapping(title.as_ptr(), title.len());
    }
    Ok(())
}

/// Major and minor version of the running kernel.
pub(crate) fn kernel_version() -> io::Result<(u32, u32)> {
    let name = nix::sys::utsname::uname()?;
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => Err(io::Error::other(format!("odd kernel release {release:?}"))),
    }
}

/// Overlays take their layers one by one since this version; older kernels complain in their log when asked.
pub(crate) const OVERLAY_LAYERS_ONE_BY_ONE: (u32, u32) = (6, 8);
