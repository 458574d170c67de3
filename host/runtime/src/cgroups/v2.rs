//! cgroup v2: one hierarchy for all controllers.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::devices::{self, DeviceRule};
use super::{
    CPU_PERIOD_US, Cgroups, Group, GroupMount, annotate, kill_by_signal, make_directory, pods_in, read_key,
    read_number, write,
};
use crate::spec::Resources;
use crate::status::Usage;

pub(super) struct V2 {
    /// Where the hierarchy is mounted.
    pub(super) mount: PathBuf,
    /// The tree's root in it.
    pub(super) root: PathBuf,
}

impl V2 {
    fn directory(&self, group: Group<'_>) -> PathBuf {
        self.root.join(group.path())
    }
}

/// Lets the groups below `directory` use the controllers that limits need.
fn delegate(directory: &Path) -> io::Result<()> {
    write(directory, "cgroup.subtree_control", "+cpu +memory +pids").map_err(|error| {
        if error.kind() == io::ErrorKind::ResourceBusy {
            return annotate(
                &error,
                "processes live in that group: move them to a group below it".to_owned(),
            );
        }
        error
    })
}

/// Writes a control file that older kernels, or those without swap, do not have.
fn write_if_there(directory: &Path, file: &str, value: &str) -> io::Result<()> {
    match write(directory, file, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// v1 shares (2 to 262144) as v2 weight (1 to 10000), by the formula of the kubelet and runc.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142
}

impl Cgroups for V2 {
    fn directories(&self, group: Group<'_>) -> Vec<PathBuf> {
        vec![self.directory(group)]
    }

    fn create_root(&self) -> io::Result<()> {
        delegate(&self.mount)?;
        make_directory(&self.root)?;
        delegate(&self.root)?;
        make_directory(&self.directory(Group::Shims))
    }

    fn create(&self, group: Group<'_>, resources: &Resources) -> io::Result<()> {
        let directory = self.directory(group);
        make_directory(&directory)?;
        match group {
            Group::Pod(_) => delegate(&directory)?,
            // All or nothing, as the kubelet has it: half a container is worse than none.
            Group::Container { .. } => write_if_there(&directory, "memory.oom.group", "1")?,
            Group::Shims => {}
        }
        if let Some(bytes) = resources.memory_limit_bytes {
            write(&directory, "memory.max", bytes)?;
            write_if_there(&directory, "memory.swap.max", "0")?;
        }
        if let Some(shares) = resources.cpu_shares {
            write(&directory, "cpu.weight", weight(shares))?;
        }
        if let Some(quota_us) = resources.cpu_quota_us {
            let period_us = resources.cpu_period_us.unwrap_or(CPU_PERIOD_US);
            write(&directory, "cpu.max", format!("{quota_us} {period_us}"))?;
        }
        if let Some(count) = resources.pids_max {
            write(&directory, "pids.max", count)?;
        }
        Ok(())
    }

    fn restrict_devices(&self, group: Group<'_>, rules: &[DeviceRule]) -> io::Result<()> {
        devices::attach_filter(&self.directory(group), rules)
    }

    fn clones_into_groups(&self) -> bool {
        true
    }

    fn clone_target(&self, group: Group<'_>) -> io::Result<Option<OwnedFd>> {
        fs::File::open(self.directory(group)).map(|directory| Some(directory.into()))
    }

    fn attach(&self, group: Group<'_>, pid: i32) -> io::Result<()> {
        write(&self.directory(group), "cgroup.procs", pid)
    }

    fn kill(&self, group: Group<'_>) -> io::Result<()> {
        let directory = self.directory(group);
        match write(&directory, "cgroup.kill", 1) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && directory.exists() => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        // Before Linux 5.14.
        write(&directory, "pids.max", 0)?;
        kill_by_signal(&directory)
    }

    fn oom_kills(&self, group: Group<'_>) -> io::Result<u64> {
        read_key(&self.directory(group), "memory.events", "oom_kill")
    }

    fn usage(&self, group: Group<'_>) -> io::Result<Usage> {
        let directory = self.directory(group);
        let memory_usage_bytes = read_number(&directory, "memory.current")?;
        let inactive = read_key(&directory, "memory.stat", "inactive_file")?;
        Ok(Usage {
            cpu_usage_ns: read_key(&directory, "cpu.stat", "usage_usec")?.saturating_mul(1_000),
            memory_usage_bytes,
            memory_working_set_bytes: memory_usage_bytes.saturating_sub(inactive),
            pids: read_number(&directory, "pids.current")?,
        })
    }

    fn mounts(&self) -> Vec<GroupMount> {
        vec![GroupMount { name: "", kind: c"cgroup2", options: "" }]
    }

    fn remove_root(&self) -> io::Result<()> {
        self.remove(Group::Shims)?;
        match fs::remove_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn pods(&self) -> io::Result<Vec<String>> {
        pods_in(&self.root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_cover_the_whole_range() {
        assert_eq!([0, 2, 1_024, 262_144, u64::MAX].map(weight), [1, 1, 39, 10_000, 10_000]);
    }

    #[test]
    fn usage_is_read_from_the_one_hierarchy() {
        let mount = tempfile::tempdir().unwrap();
        let v2 = V2 { mount: mount.path().to_owned(), root: mount.path().join("berth") };
        let group = Group::Container { pod: "p", container: "c-0" };
        let directory = v2.directory(group);
        fs::create_dir_all(&directory).unwrap();
        for (file, content) in [
            ("cpu.stat", "usage_usec 123456\nuser_usec 100000\nsystem_usec 23456\nnr_periods 0\n"),
            ("memory.current", "8192000\n"),
            ("memory.stat", "anon 1\ninactive_anon 2\nactive_anon 3\ninactive_file 9000000\nactive_file 4\n"),
            ("pids.current", "3\n"),
        ] {
            fs::write(directory.join(file), content).unwrap();
        }
        // The counters are not of one moment: what is inactive may seem more than all.
        let wanted = Usage {
            cpu_usage_ns: 123_456_000,
            memory_usage_bytes: 8_192_000,
            memory_working_set_bytes: 0,
            pids: 3,
        };
        assert_eq!(v2.usage(group).unwrap(), wanted);
        let other = Group::Container { pod: "p", container: "c-1" };
        assert_eq!(v2.usage(other).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
