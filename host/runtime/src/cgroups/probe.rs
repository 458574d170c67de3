//! Which cgroup hierarchies does this machine have, and where?

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Layout;
use crate::error::{Error, Result};

/// Looks at the mounts of this process.
pub(crate) fn probe() -> Result<Layout> {
    let mounts =
        fs::read_to_string("/proc/self/mountinfo").map_err(Error::io("read /proc/self/mountinfo"))?;
    layout(&mounts, |mount| fs::read_to_string(mount.join("cgroup.controllers")))
}

/// Chooses v2 when its hierarchy has the controllers that limits need; a hybrid machine keeps them on v1.
fn layout(mountinfo: &str, controllers_of: impl Fn(&Path) -> io::Result<String>) -> Result<Layout> {
    let mounts: Vec<CgroupMount> = mountinfo.lines().filter_map(CgroupMount::parse).collect();
    for unified in mounts.iter().filter(|mount| mount.kind == "cgroup2") {
        let controllers = controllers_of(&unified.point).unwrap_or_default();
        let has = |name| controllers.split_whitespace().any(|controller| controller == name);
        if has("cpu") && has("memory") && has("pids") {
            return Ok(Layout::V2 { mount: unified.point.clone() });
        }
    }
    let hierarchy = |controller: &str| {
        let found = mounts.iter().find(|mount| mount.kind == "cgroup" && mount.has(controller));
        found.map(|mount| mount.point.clone())
    };
    let need = |controller: &str| {
        hierarchy(controller).ok_or_else(|| {
            Error::Unsupported(format!(
                "no cgroup hierarchy has the controller {controller:?}; mount cgroup2 on /sys/fs/cgroup, or the v1 \
                 controllers cpu, cpuacct, memory, pids and devices below it"
            ))
        })
    };
    Ok(Layout::V1 {
        cpu: need("cpu")?,
        cpuacct: need("cpuacct")?,
        memory: need("memory")?,
        pids: need("pids")?,
        devices: need("devices")?,
        systemd: hierarchy("name=systemd"),
        unified: mounts.iter().find(|mount| mount.kind == "cgroup2").map(|mount| mount.point.clone()),
    })
}

/// One line of mountinfo(5) that shows the root of a cgroup hierarchy.
struct CgroupMount<'a> {
    kind: &'a str,
    point: PathBuf,
    options: &'a str,
}

impl<'a> CgroupMount<'a> {
    fn parse(line: &'a str) -> Option<CgroupMount<'a>> {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(3);
        let (root, point) = (front.next()?, front.next()?);
        let mut back = back.split(' ');
        let (kind, _source, options) = (back.next()?, back.next()?, back.next()?);
        // A bind mount of one group shows that group as the root; only the whole hierarchy will do.
        let usable = root == "/" && matches!(kind, "cgroup" | "cgroup2");
        usable.then(|| CgroupMount { kind, point: PathBuf::from(point), options })
    }

    fn has(&self, controller: &str) -> bool {
        self.options.split(',').any(|option| option == controller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
    const HYBRID: &str = "\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";

    #[test]
    fn a_unified_hierarchy_with_controllers_is_v2() {
        let found = layout(V2, |_| Ok("cpuset cpu io memory pids\n".into())).unwrap();
        assert_eq!(found, Layout::V2 { mount: "/sys/fs/cgroup".into() });
    }

    #[test]
    fn a_hybrid_machine_is_v1() {
        let Layout::V1 { cpu, cpuacct, systemd, unified, .. } =
            layout(HYBRID, |_| Ok("hugetlb\n".into())).unwrap()
        else {
            panic!("v2 chosen although it has no controllers");
        };
        assert_eq!(cpu, cpuacct);
        assert_eq!(systemd.as_deref(), Some(Path::new("/sys/fs/cgroup/systemd")));
        assert_eq!(unified.as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
    }

    #[test]
    fn what_is_missing_is_named() {
        let without_pids: String =
            HYBRID.lines().filter(|line| !line.contains("pids")).collect::<Vec<_>>().join("\n");
        let error = layout(&without_pids, |_| Ok(String::new())).unwrap_err().to_string();
        assert!(error.contains(r#"no cgroup hierarchy has the controller "pids""#), "{error}");
    }
}
