//! Control groups, v1 and v2, behind one trait that is chosen by looking at what is mounted.
//!
//! Groups form a tree `<root>/<pod>/<container>`, and `<root>/shims` for the shims: they must neither count against
//! a pod's limits nor be killed with the service that started berth.

mod devices;
mod probe;
mod v1;
mod v2;

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub(crate) use devices::DeviceRule;
pub(crate) use probe::probe;

use crate::spec::Resources;
use crate::status::Usage;

/// CFS period when a quota comes without one: the kernel's default.
const CPU_PERIOD_US: u64 = 100_000;

/// How long a group may stay busy after its last process was killed, before its removal is given up.
const REMOVE_MS_MAX: u64 = 2_000;

/// Where the hierarchies are. Written into each pod's directory, so that shims need not look again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Layout {
    /// Controllers on v1 hierarchies, each with its mount point; hybrid set-ups included.
    V1 {
        cpu: PathBuf,
        cpuacct: PathBuf,
        memory: PathBuf,
        pids: PathBuf,
        devices: PathBuf,
        /// systemd's own hierarchy: what is in a service's group there dies with the service.
        systemd: Option<PathBuf>,
        /// The unified hierarchy without our controllers, which systemd uses for that on hybrid machines.
        #[serde(default)]
        unified: Option<PathBuf>,
    },
    /// All controllers in the unified hierarchy, mounted here.
    V2 { mount: PathBuf },
}

impl Layout {
    /// The driver for the tree called `root` in this layout.
    pub(crate) fn driver(&self, root: &str) -> Box<dyn Cgroups> {
        match self {
            Layout::V1 { cpu, cpuacct, memory, pids, devices, systemd, unified } => Box::new(v1::V1 {
                cpu: cpu.join(root),
                cpuacct: cpuacct.join(root),
                memory: memory.join(root),
                pids: pids.join(root),
                devices: devices.join(root),
                services: systemd.iter().chain(unified).map(|mount| mount.join(root)).collect(),
            }),
            Layout::V2 { mount } => Box::new(v2::V2 { mount: mount.clone(), root: mount.join(root) }),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Group<'a> {
    Shims,
    /// Of a pod, with the groups of its containers below.
    Pod(&'a str),
    Container {
        pod: &'a str,
        container: &'a str,
    },
}

/// A pod's group is called `pod-<id>`, so that no id can clash with `shims`.
const POD_PREFIX: &str = "pod-";

impl Group<'_> {
    /// Below the tree's root.
    fn path(self) -> PathBuf {
        match self {
            Group::Shims => PathBuf::from("shims"),
            Group::Pod(pod) => PathBuf::from(format!("{POD_PREFIX}{pod}")),
            Group::Container { pod, container } => PathBuf::from(format!("{POD_PREFIX}{pod}/{container}")),
        }
    }
}

impl fmt::Display for Group<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cgroup {}", self.path().display())
    }
}

/// What containers need of cgroups.
pub(crate) trait Cgroups: Send + Sync {
    /// The directories of a group, one for each hierarchy in which pods have groups of their own.
    fn directories(&self, group: Group<'_>) -> Vec<PathBuf>;

    /// Makes the root of the tree and the shims' group.
    fn create_root(&self) -> io::Result<()>;

    /// Makes a group with these limits. The groups above must exist.
    fn create(&self, group: Group<'_>, resources: &Resources) -> io::Result<()>;

    /// Allows the devices of `rules` and no others.
    fn restrict_devices(&self, group: Group<'_>, rules: &[DeviceRule]) -> io::Result<()>;

    /// Whether a child can be born in its group. Otherwise it is moved by [`Self::attach`].
    fn clones_into_groups(&self) -> bool;

    /// The group for `CLONE_INTO_CGROUP`.
    fn clone_target(&self, group: Group<'_>) -> io::Result<Option<OwnedFd>>;

    /// Moves a process into the group; 0 stands for the caller.
    fn attach(&self, group: Group<'_>, pid: i32) -> io::Result<()>;

    /// Kills every process in the group and below, also those being forked meanwhile.
    fn kill(&self, group: Group<'_>) -> io::Result<()>;

    /// How often the kernel killed a process of this group for want of memory.
    fn oom_kills(&self, group: Group<'_>) -> io::Result<u64>;

    /// What it uses now.
    fn usage(&self, group: Group<'_>) -> io::Result<Usage>;

    /// Shows the calling process's groups below `/sys/fs/cgroup`, as the mount points to make there: name below it,
    /// file system type and options.
    fn mounts(&self) -> Vec<GroupMount>;

    /// Removes the root of the tree; everything below must be gone.
    fn remove_root(&self) -> io::Result<()>;

    /// The pods that have a group, by id.
    fn pods(&self) -> io::Result<Vec<String>>;

    /// Removes a group and those below it. Killed processes take a moment to leave: it waits up to
    /// [`REMOVE_MS_MAX`] for them.
    fn remove(&self, group: Group<'_>) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_millis(REMOVE_MS_MAX);
        self.directories(group).iter().try_for_each(|directory| remove_tree(directory, deadline))
    }
}

/// A cgroup mount inside a container.
pub(crate) struct GroupMount {
    /// Directory below `/sys/fs/cgroup`; empty for that directory itself.
    pub(crate) name: &'static str,
    /// `cgroup` or `cgroup2`.
    pub(crate) kind: &'static std::ffi::CStr,
    /// Which controllers.
    pub(crate) options: &'static str,
}

/// Writes a control file.
fn write(directory: &Path, file: &str, value: impl fmt::Display) -> io::Result<()> {
    write_each(directory, file, &[value])
}

/// Writes several values to a control file: one `write` for each, because the kernel reads it as a whole command.
fn write_each(directory: &Path, file: &str, values: &[impl fmt::Display]) -> io::Result<()> {
    let path = directory.join(file);
    let mut control = fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .map_err(|error| annotate(&error, format!("open {}", path.display())))?;
    for value in values.iter().map(ToString::to_string) {
        let written = control.write_all(value.as_bytes());
        written.map_err(|error| annotate(&error, format!("write {value:?} to {}", path.display())))?;
    }
    Ok(())
}

/// Keeps the kind of an error and says what was tried.
fn annotate(error: &io::Error, action: String) -> io::Error {
    io::Error::new(error.kind(), format!("{action}: {error}"))
}

/// `mkdir` that is content with a directory that is there.
fn make_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(annotate(&error, format!("create {}", path.display()))),
        Ok(()) => Ok(()),
    }
}

fn read_number(directory: &Path, file: &str) -> io::Result<u64> {
    let path = directory.join(file);
    let text =
        fs::read_to_string(&path).map_err(|error| annotate(&error, format!("read {}", path.display())))?;
    text.trim().parse().map_err(|_| io::Error::other(format!("{} holds {:?}", path.display(), text.trim())))
}

/// The value of `key` in a file of `key value` lines.
fn read_key(directory: &Path, file: &str, key: &str) -> io::Result<u64> {
    let path = directory.join(file);
    let text =
        fs::read_to_string(&path).map_err(|error| annotate(&error, format!("read {}", path.display())))?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value
        .and_then(|value| value.trim().parse().ok())
        .ok_or_else(|| io::Error::other(format!("{} has no line {key:?}", path.display())))
}

/// Everybody in `cgroup.procs`; nobody when there is no such group.
fn processes_in(directory: &Path) -> io::Result<Vec<i32>> {
    match fs::read_to_string(directory.join("cgroup.procs")) {
        // 0 stands for a process that this PID namespace cannot see.
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()),
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        Err(error) => Err(annotate(&error, format!("read the processes of {}", directory.display()))),
    }
}

/// The group does not exist, or was removed between two system calls.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

/// The directories directly below, that is: the groups.
fn children(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        Err(error) => return Err(annotate(&error, format!("list {}", directory.display()))),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The ids of the pods that have a group below `root`.
fn pods_in(root: &Path) -> io::Result<Vec<String>> {
    let names = children(root)?.into_iter();
    Ok(names
        .filter_map(|path| Some(path.file_name()?.to_str()?.strip_prefix(POD_PREFIX)?.to_owned()))
        .collect())
}

/// Time between two attempts to remove a busy group.
const REMOVE_PAUSE: Duration = Duration::from_millis(2);

fn remove_tree(directory: &Path, deadline: Instant) -> io::Result<()> {
    for child in children(directory)? {
        remove_tree(&child, deadline)?;
    }
    loop {
        match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {
                std::thread::sleep(REMOVE_PAUSE);
            }
            Err(error) => return Err(annotate(&error, format!("remove {}", directory.display()))),
        }
    }
}

/// Most rounds of killing in a group without `cgroup.kill`. New processes cannot appear meanwhile (the limit on
/// processes is 0), so the second round already finds only those that were forked during the first.
const KILL_ROUNDS_MAX: u32 = 16;

/// Kills everybody in a group and below it, round by round.
fn kill_by_signal(directory: &Path) -> io::Result<()> {
    for child in children(directory)? {
        kill_by_signal(&child)?;
    }
    for _ in 0..KILL_ROUNDS_MAX {
        let processes = processes_in(directory)?;
        if processes.is_empty() {
            break;
        }
        for pid in processes {
            // SAFETY: plain system call. A process that has ended meanwhile is what we want.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pod_id_names_the_shims_group() {
        assert_eq!(Group::Pod("shims").path(), Path::new("pod-shims"));
        assert_eq!(Group::Container { pod: "p", container: "c-0" }.to_string(), "cgroup pod-p/c-0");
    }

    #[test]
    fn keys_are_matched_whole() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("memory.events"), "oom 1\noom_kill 7\n").unwrap();
        assert_eq!(read_key(directory.path(), "memory.events", "oom_kill").unwrap(), 7);
        assert_eq!(read_key(directory.path(), "memory.events", "oom").unwrap(), 1);
        assert!(read_key(directory.path(), "memory.events", "max").is_err());
    }
}
