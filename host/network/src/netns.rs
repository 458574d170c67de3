//! Network namespaces: made in a thread of their own, kept by a descriptor or by a mount.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statfs::{FsType, statfs};

use crate::netlink::Socket;

/// `NSFS_MAGIC` of linux/magic.h.
const NSFS: FsType = FsType(0x6e73_6673);

/// Sysctls of a fresh pod namespace, as containerd sets them: without privileges a pod may ping and bind low ports.
const SYSCTLS: [(&str, &str); 2] = [
    ("/proc/sys/net/ipv4/ping_group_range", "0 2147483647"),
    ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"),
];

/// A namespace that lives as long as this descriptor, plus a socket that speaks to it.
pub(crate) struct Netns {
    pub(crate) fd: OwnedFd,
    pub(crate) socket: Socket,
}

/// Makes a namespace. Only the short-lived thread enters it; the caller's threads never do.
pub(crate) fn create() -> io::Result<Netns> {
    let work = || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        for (path, value) in SYSCTLS {
            fs::write(path, value)?;
        }
        let fd = File::open("/proc/thread-self/ns/net")?.into();
        Ok(Netns { fd, socket: Socket::route()? })
    };
    let thread = std::thread::Builder::new().name("berth-netns".into()).spawn(work)?;
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Mounts the namespace at `path`, which keeps it alive without a process.
pub(crate) fn pin(netns: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    File::create(path)?;
    let source = format!("/proc/self/fd/{}", netns.as_raw_fd());
    let mounted = mount(Some(source.as_str()), path, None::<&str>, MsFlags::MS_BIND, None::<&str>);
    if let Err(error) = mounted {
        let _ = fs::remove_file(path); // The mount's error says more than the clean-up's.
        return Err(error.into());
    }
    Ok(())
}

/// Undoes [`pin`]; the namespace ends with its last process. What is gone already is fine.
pub(crate) fn unpin(path: &Path) -> io::Result<()> {
    match umount2(path, MntFlags::MNT_DETACH) {
        Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
        Err(error) => return Err(error.into()),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether a namespace is mounted at `path` (after a reboot the file is there, the mount is not).
pub(crate) fn is_pinned(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == NSFS)
}
