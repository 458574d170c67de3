//! cgroup v1: one hierarchy for each controller (some share one).
//!
//! Moving the first process for a while costs 5 to 13 ms here: the kernel waits for an RCU grace period. Moves
//! within the next 15 ms or so are cheap. That is why a pod's shim is moved early, beside everything else.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::{
    CPU_PERIOD_US, Cgroups, DeviceRule, Group, GroupMount, kill_by_signal, make_directory, pods_in, read_key,
    read_number, write, write_each,
};
use crate::spec::Resources;
use crate::status::Usage;

/// Whoever writes it to `cgroup.procs`.
const CALLER: i32 = 0;

/// The tree's root in each hierarchy.
pub(super) struct V1 {
    pub(super) cpu: PathBuf,
    pub(super) cpuacct: PathBuf,
    pub(super) memory: PathBuf,
    pub(super) pids: PathBuf,
    pub(super) devices: PathBuf,
    /// The same in the hierarchies by which systemd knows what belongs to a service: there is only the shims' group in
    /// there, for all that is to outlive berth's service. Where they are closed to us, so be it.
    pub(super) services: Vec<PathBuf>,
}

impl V1 {
    /// The roots, each hierarchy once, with `pids` first: it is the one asked for processes.
    fn roots(&self) -> Vec<&PathBuf> {
        let mut roots: Vec<&PathBuf> = Vec::new();
        for root in [&self.pids, &self.memory, &self.cpu, &self.cpuacct, &self.devices] {
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        roots
    }

    /// Swap on top of memory must not soften a memory limit. The file is missing where swap accounting is off.
    fn limit_swap(&self, group: Group<'_>, bytes: u64) -> io::Result<()> {
        let directory = self.memory.join(group.path());
        match write(&directory, "memory.memsw.limit_in_bytes", bytes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

impl Cgroups for V1 {
    fn directories(&self, group: Group<'_>) -> Vec<PathBuf> {
        let path = group.path();
        let mut found: Vec<PathBuf> = self.roots().into_iter().map(|root| root.join(&path)).collect();
        if let Group::Shims = group {
            found.extend(self.services.iter().map(|root| root.join(&path)));
        }
        found
    }

    fn create_root(&self) -> io::Result<()> {
        let make = |root: &PathBuf| {
            make_directory(root)?;
            make_directory(&root.join(Group::Shims.path()))
        };
        for root in &self.services {
            drop(make(root));
        }
        self.roots().into_iter().try_for_each(make)
    }

    fn create(&self, group: Group<'_>, resources: &Resources) -> io::Result<()> {
        self.directories(group).iter().try_for_each(|directory| make_directory(directory))?;
        let path = group.path();
        if let Some(bytes) = resources.memory_limit_bytes {
            write(&self.memory.join(&path), "memory.limit_in_bytes", bytes)?;
            self.limit_swap(group, bytes)?;
        }
        if let Some(shares) = resources.cpu_shares {
            write(&self.cpu.join(&path), "cpu.shares", shares)?;
        }
        if let Some(quota_us) = resources.cpu_quota_us {
            let cpu = self.cpu.join(&path);
            write(&cpu, "cpu.cfs_period_us", resources.cpu_period_us.unwrap_or(CPU_PERIOD_US))?;
            write(&cpu, "cpu.cfs_quota_us", quota_us)?;
        }
        if let Some(count) = resources.pids_max {
            write(&self.pids.join(&path), "pids.max", count)?;
        }
        Ok(())
    }

    fn restrict_devices(&self, group: Group<'_>, rules: &[DeviceRule]) -> io::Result<()> {
        let directory = self.devices.join(group.path());
        write(&directory, "devices.deny", "a")?;
        write_each(&directory, "devices.allow", rules)
    }

    fn clones_into_groups(&self) -> bool {
        false
    }

    fn clone_target(&self, _group: Group<'_>) -> io::Result<Option<OwnedFd>> {
        Ok(None)
    }

    fn attach(&self, group: Group<'_>, pid: i32) -> io::Result<()> {
        let path = group.path();
        let mut roots = self.roots().into_iter();
        roots.try_for_each(|root| write(&root.join(&path), "cgroup.procs", pid))?;
        // Also a container that is made while its shim is still on the way there; what is exec'd comes later.
        if pid != CALLER {
            self.services
                .iter()
                .for_each(|root| drop(write(&root.join(Group::Shims.path()), "cgroup.procs", pid)));
        }
        Ok(())
    }

    fn kill(&self, group: Group<'_>) -> io::Result<()> {
        let directory = self.pids.join(group.path());
        // So that a fork bomb cannot outrun the killing. The group is about to be removed: no need to lift it.
        match write(&directory, "pids.max", 0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        kill_by_signal(&directory)
    }

    fn oom_kills(&self, group: Group<'_>) -> io::Result<u64> {
        read_key(&self.memory.join(group.path()), "memory.oom_control", "oom_kill")
    }

    fn usage(&self, group: Group<'_>) -> io::Result<Usage> {
        let memory = self.memory.join(group.path());
        let memory_usage_bytes = read_number(&memory, "memory.usage_in_bytes")?;
        let inactive = read_key(&memory, "memory.stat", "total_inactive_file")?;
        Ok(Usage {
            cpu_usage_ns: read_number(&self.cpuacct.join(group.path()), "cpuacct.usage")?,
            memory_usage_bytes,
            memory_working_set_bytes: memory_usage_bytes.saturating_sub(inactive),
            pids: read_number(&self.pids.join(group.path()), "pids.current")?,
        })
    }

    fn mounts(&self) -> Vec<GroupMount> {
        let mount = |name, options| GroupMount { name, kind: c"cgroup", options };
        let mut mounts = vec![mount("memory", "memory"), mount("pids", "pids"), mount("devices", "devices")];
        // A hierarchy can be mounted again only with exactly the controllers that it has.
        if self.cpu == self.cpuacct {
            mounts.push(mount("cpu,cpuacct", "cpu,cpuacct"));
        } else {
            mounts.extend([mount("cpu", "cpu"), mount("cpuacct", "cpuacct")]);
        }
        mounts
    }

    fn remove_root(&self) -> io::Result<()> {
        self.remove(Group::Shims)?;
        for root in self.roots().into_iter().chain(&self.services) {
            match fs::remove_dir(root) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn pods(&self) -> io::Result<Vec<String>> {
        pods_in(&self.pids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_from_each_hierarchy() {
        let root = tempfile::tempdir().unwrap();
        let of = |name: &str| root.path().join(name);
        let group = Group::Container { pod: "p", container: "c-0" };
        for (controller, file, content) in [
            ("cpuacct", "cpuacct.usage", "123456789\n"),
            ("memory", "memory.usage_in_bytes", "8192000\n"),
            (
                "memory",
                "memory.stat",
                "cache 5\ninactive_file 1\ntotal_cache 6\ntotal_inactive_file 4096000\n",
            ),
            ("pids", "pids.current", "3\n"),
        ] {
            let directory = of(controller).join(group.path());
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(file), content).unwrap();
        }
        let v1 = V1 {
            cpu: of("cpu"),
            cpuacct: of("cpuacct"),
            memory: of("memory"),
            pids: of("pids"),
            devices: of("devices"),
            services: vec![],
        };
        let wanted = Usage {
            cpu_usage_ns: 123_456_789,
            memory_usage_bytes: 8_192_000,
            memory_working_set_bytes: 4_096_000,
            pids: 3,
        };
        assert_eq!(v1.usage(group).unwrap(), wanted);
        let other = Group::Container { pod: "p", container: "c-1" };
        assert_eq!(v1.usage(other).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
