//! The files of the run directory, which berth and its shims share.
//!
//! ```text
//! <run>/seccomp/<capabilities>.bpf       compiled filters
//! <run>/pods/<pod>/pod.json              PodRecord: what the pod was made from
//!                 /shim.json             ShimRecord: which process answers for it
//!                 /shim.sock  shim.log
//!                 /shm                   mount point of the pod's /dev/shm
//!                 /containers/<id>/container.json  running.json  exit.json
//!                                 /rootfs          mount point, only used inside the container's mount namespace
//! ```
//! All records are written to a temporary name and renamed: a reader never sees half of one.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cgroups::Layout;
use crate::spec::{ContainerSpec, ID_BYTES_MAX, PodSandboxSpec};
use crate::status::ExitStatus;

/// What berth writes before it starts a shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PodRecord {
    /// Of the protocol.
    pub(crate) version: u32,
    pub(crate) sandbox: PodSandboxSpec,
    pub(crate) cgroups: Layout,
    /// Name of the root of our tree in each hierarchy.
    pub(crate) cgroup_root: String,
}

/// What a shim writes about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShimRecord {
    /// Of the protocol.
    pub(crate) version: u32,
    pub(crate) process: ProcessRecord,
}

/// A process that can be recognised later, whatever became of its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessRecord {
    pub(crate) pid: i32,
    /// Clock ticks after boot: field 22 of /proc/pid/stat.
    pub(crate) start_ticks: u64,
    /// From /proc/sys/kernel/random/boot_id.
    pub(crate) boot_id: String,
}

/// What a shim writes when a container's program runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunningRecord {
    pub(crate) process: ProcessRecord,
    pub(crate) started_at: SystemTime,
}

impl ProcessRecord {
    /// Describes a process that has not been collected.
    pub(crate) fn of(pid: i32) -> io::Result<ProcessRecord> {
        Ok(ProcessRecord { pid, start_ticks: stat(pid)?.start_ticks, boot_id: boot_id()? })
    }

    /// Whether that very process still runs.
    pub(crate) fn is_alive(&self) -> bool {
        boot_id().is_ok_and(|boot| boot == self.boot_id)
            && stat(self.pid).is_ok_and(|stat| stat.start_ticks == self.start_ticks && !stat.is_zombie)
    }

    /// Kills that very process, and nobody else who may have got its number.
    pub(crate) fn kill(&self) -> io::Result<()> {
        use std::os::fd::AsFd;
        let Ok(pidfd) = crate::sys::pidfd_open(self.pid) else { return Ok(()) };
        // Looked at after the descriptor was opened: from here on the number cannot change hands.
        if !self.is_alive() {
            return Ok(());
        }
        match crate::sys::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            other => other,
        }
    }
}

fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// What /proc/pid/stat tells of a process.
struct Stat {
    start_ticks: u64,
    /// It has ended, and only waits to be collected by its parent.
    is_zombie: bool,
}

fn stat(pid: i32) -> io::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is a name in parentheses that may contain anything; the third is the state, the 22nd ours.
    let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = after_name.split_whitespace();
    let is_zombie = matches!(fields.next(), Some("Z" | "X"));
    match fields.nth(22 - 4).map(str::parse) {
        Some(Ok(start_ticks)) => Ok(Stat { start_ticks, is_zombie }),
        _ => Err(io::Error::other(format!("odd /proc/{pid}/stat"))),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodDirectory(PathBuf);

impl PodDirectory {
    /// Where it would be below a run directory.
    pub(crate) fn new(run_dir: &Path, pod_id: &str) -> Self {
        PodDirectory(run_dir.join("pods").join(pod_id))
    }

    /// One that was given as an argument.
    pub(crate) fn at(path: PathBuf) -> Self {
        PodDirectory(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn pod_record(&self) -> PathBuf {
        self.0.join("pod.json")
    }

    pub(crate) fn shim_record(&self) -> PathBuf {
        self.0.join("shim.json")
    }

    pub(crate) fn shim_log(&self) -> PathBuf {
        self.0.join("shim.log")
    }

    pub(crate) fn shm(&self) -> PathBuf {
        self.0.join("shm")
    }

    pub(crate) fn containers(&self) -> PathBuf {
        self.0.join("containers")
    }

    pub(crate) fn container(&self, id: &str) -> ContainerDirectory {
        ContainerDirectory(self.containers().join(id))
    }

    /// The run directory it is in.
    pub(crate) fn seccomp(&self) -> PathBuf {
        let run_dir = self.0.parent().and_then(Path::parent).unwrap_or(&self.0);
        run_dir.join("seccomp")
    }

    /// Listens on the pod's socket. Called by berth: the socket is there before the shim is, so nobody has to wait
    /// for it.
    pub(crate) fn listen(&self) -> io::Result<OwnedFd> {
        let (directory, address) = self.address()?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let listener = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        bind(listener.as_raw_fd(), &address)?;
        listen(&listener, Backlog::MAXCONN)?;
        drop(directory);
        Ok(listener)
    }

    /// Connects to whoever listens.
    pub(crate) fn connect(&self) -> io::Result<std::os::unix::net::UnixStream> {
        let (directory, address) = self.address()?;
        let stream = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        connect(stream.as_raw_fd(), &address)?;
        drop(directory);
        Ok(stream.into())
    }

    /// A socket's path may have 107 bytes, and a data directory's name more; so it is reached through a descriptor
    /// of its directory, which must stay open until the address has been used.
    fn address(&self) -> io::Result<(fs::File, UnixAddr)> {
        let directory = fs::File::open(&self.0)?;
        let address = UnixAddr::new(format!("/proc/self/fd/{}/shim.sock", directory.as_raw_fd()).as_str())?;
        Ok((directory, address))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContainerDirectory(PathBuf);

impl ContainerDirectory {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn spec_path(&self) -> PathBuf {
        self.0.join("container.json")
    }

    fn running_path(&self) -> PathBuf {
        self.0.join("running.json")
    }

    fn exit_path(&self) -> PathBuf {
        self.0.join("exit.json")
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.0.join("rootfs")
    }

    pub(crate) fn create(&self, spec: &ContainerSpec) -> io::Result<()> {
        make_private(&self.rootfs())?;
        write_record(&self.spec_path(), spec)
    }

    pub(crate) fn spec(&self) -> io::Result<ContainerSpec> {
        read_record(&self.spec_path())
    }

    pub(crate) fn write_running(&self, running: &RunningRecord) -> io::Result<()> {
        write_record(&self.running_path(), running)
    }

    pub(crate) fn running(&self) -> Option<RunningRecord> {
        read_record(&self.running_path()).ok()
    }

    pub(crate) fn write_exit(&self, exit: &ExitStatus) -> io::Result<()> {
        write_record(&self.exit_path(), exit)
    }

    /// Makes the exit record survive a power failure. Apart from writing it, because it can take milliseconds.
    pub(crate) fn sync_exit(&self) -> io::Result<()> {
        fs::File::open(self.exit_path())?.sync_all()?;
        fs::File::open(&self.0)?.sync_all()
    }

    pub(crate) fn exit(&self) -> Option<ExitStatus> {
        read_record(&self.exit_path()).ok()
    }
}

/// Makes a directory, and those above it, that only root can enter.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a record so that readers see the old or the new one.
pub(crate) fn write_record<T: Serialize>(path: &Path, record: &T) -> io::Result<()> {
    write_bytes(path, &serde_json::to_vec(record)?)
}

/// The same for bytes.
pub(crate) fn write_bytes(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&temporary)?.write_all(bytes)?;
    fs::rename(&temporary, path)
}

pub(crate) fn read_record<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    serde_json::from_slice(&fs::read(path)?)
        .map_err(|error| io::Error::other(format!("{} is damaged: {error}", path.display())))
}

/// Whether an id may become a file and a cgroup name.
pub(crate) fn is_valid_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !id.is_empty() && id.len() <= ID_BYTES_MAX && !id.starts_with('.') && id.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_cannot_leave_their_directory() {
        for good in ["a", "0b6c1f1e-7d0b-4d5c-9d3c-1f2e3d4c5b6a", "web-0_1.x"] {
            assert!(is_valid_id(good), "{good}");
        }
        let long = "x".repeat(ID_BYTES_MAX + 1);
        for bad in ["", ".", "..", "a/b", "a b", "ä", &long] {
            assert!(!is_valid_id(bad), "{bad}");
        }
    }

    #[test]
    fn a_process_is_known_by_number_and_start() {
        let me = ProcessRecord::of(std::process::id() as i32).unwrap();
        assert!(me.is_alive());
        assert!(!ProcessRecord { start_ticks: me.start_ticks + 1, ..me.clone() }.is_alive());
        assert!(!ProcessRecord { boot_id: "another boot".into(), ..me }.is_alive());
    }

    #[test]
    fn sockets_work_below_long_paths() {
        let base = tempfile::tempdir().unwrap();
        let deep = base.path().join("d".repeat(120));
        make_private(&deep).unwrap();
        let directory = PodDirectory::at(deep);
        let listener = directory.listen().unwrap();
        directory.connect().unwrap();
        drop(listener);
        assert_eq!(directory.connect().unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
