//! Linux capabilities (`capabilities(7)`) by number, and the few system calls that set them.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::sys;

/// Names by number. A kernel older than the last ones refuses them when they are set, see [`last_supported`].
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// One capability. Parsed from and printed as `CAP_NET_ADMIN`; the prefix may be left out, and case does not count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Capability(u8);

impl Capability {
    /// All that this crate knows.
    pub fn all() -> BTreeSet<Capability> {
        (0..NAMES.len() as u8).map(Capability).collect()
    }

    /// The one of this name, known at compile time.
    pub(crate) const fn named(name: &str) -> Capability {
        let mut number = 0;
        while number < NAMES.len() {
            if same(NAMES[number].as_bytes(), name.as_bytes()) {
                return Capability(number as u8);
            }
            number += 1;
        }
        panic!("no capability has this name")
    }

    fn bit(self) -> u64 {
        1 << self.0
    }
}

/// `==` on slices is not yet available in constants.
const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CAP_{}", NAMES[usize::from(self.0)])
    }
}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A name that is no capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown capability {0:?}: see capabilities(7) for the names")]
pub struct UnknownCapability(String);

impl FromStr for Capability {
    type Err = UnknownCapability;

    fn from_str(text: &str) -> Result<Self, UnknownCapability> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        match NAMES.iter().position(|known| *known == name) {
            Some(number) => Ok(Capability(number as u8)),
            None => Err(UnknownCapability(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Capability {
    type Error = UnknownCapability;

    fn try_from(text: String) -> Result<Self, UnknownCapability> {
        text.parse()
    }
}

impl From<Capability> for String {
    fn from(capability: Capability) -> String {
        capability.to_string()
    }
}

/// What Docker gives a container that asks for nothing.
pub fn docker_default() -> BTreeSet<Capability> {
    const DEFAULT: [Capability; 14] = [
        Capability::named("AUDIT_WRITE"),
        Capability::named("CHOWN"),
        Capability::named("DAC_OVERRIDE"),
        Capability::named("FOWNER"),
        Capability::named("FSETID"),
        Capability::named("KILL"),
        Capability::named("MKNOD"),
        Capability::named("NET_BIND_SERVICE"),
        Capability::named("NET_RAW"),
        Capability::named("SETFCAP"),
        Capability::named("SETGID"),
        Capability::named("SETPCAP"),
        Capability::named("SETUID"),
        Capability::named("SYS_CHROOT"),
    ];
    DEFAULT.into_iter().collect()
}

/// The capabilities a container gets: the default set, plus `add`, minus `drop`; `ALL` stands for every one, as in
/// `securityContext.capabilities`. What is both added and dropped by name is dropped, as by the kubelet's runtimes.
pub fn adjusted(add: &[String], drop: &[String]) -> Result<BTreeSet<Capability>, UnknownCapability> {
    let is_all = |name: &String| name.eq_ignore_ascii_case("ALL");
    let mut set = docker_default();
    if add.iter().any(is_all) {
        set = Capability::all();
    }
    if drop.iter().any(is_all) {
        set.clear();
    }
    for name in add.iter().filter(|name| !is_all(name)) {
        set.insert(name.parse()?);
    }
    for name in drop.iter().filter(|name| !is_all(name)) {
        set.remove(&name.parse()?);
    }
    Ok(set)
}

/// As the kernel's bit mask.
pub(crate) fn mask(set: &BTreeSet<Capability>) -> u64 {
    set.iter().fold(0, |mask, capability| mask | capability.bit())
}

/// What this process may have at most: its bounding set.
pub(crate) fn bounding() -> io::Result<u64> {
    let mut mask = 0;
    for number in 0..NAMES.len() as u8 {
        match sys::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(number)) {
            Ok(1) => mask |= Capability(number).bit(),
            Ok(_) => {}
            // Past the last one this kernel knows.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(mask)
}

/// Takes everything not in `keep` out of the bounding set, so that no later `execve` can bring it back. Needs
/// `CAP_SETPCAP`, so it comes before [`set`].
pub(crate) fn limit_bounding(keep: u64) -> io::Result<()> {
    let drop = bounding()? & !keep;
    for number in (0..NAMES.len() as u8).filter(|number| drop & Capability(*number).bit() != 0) {
        sys::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number))?;
    }
    Ok(())
}

/// Makes `mask` the effective and permitted sets, and empties the inheritable and the ambient one: inheritable
/// capabilities would survive into set-uid-less binaries of the image (CVE-2022-24769).
pub(crate) fn set(mask: u64) -> io::Result<()> {
    sys::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong)?;
    sys::capset(mask, mask, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(set: &BTreeSet<Capability>) -> Vec<String> {
        set.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn numbers_are_those_of_the_kernel() {
        assert_eq!(Capability::named("SYS_ADMIN").0, 21);
        assert_eq!(Capability::named("CHECKPOINT_RESTORE").0, 40);
        assert_eq!(mask(&docker_default()), 0xa804_25fb, "docker's well-known mask");
    }

    #[test]
    fn names_are_read_with_and_without_prefix() {
        assert_eq!("net_admin".parse::<Capability>(), "CAP_NET_ADMIN".parse());
        assert_eq!(
            "NET_ADMN".parse::<Capability>().unwrap_err().to_string(),
            r#"unknown capability "NET_ADMN": see capabilities(7) for the names"#
        );
    }

    #[test]
    fn drop_all_then_add_one() {
        let set = adjusted(&["NET_BIND_SERVICE".into()], &["ALL".into()]).unwrap();
        assert_eq!(names(&set), ["CAP_NET_BIND_SERVICE"]);
        let set = adjusted(&["ALL".into()], &["SYS_ADMIN".into()]).unwrap();
        assert_eq!(set.len(), 40);
        let set = adjusted(&["NET_RAW".into(), "SYS_TIME".into()], &["NET_RAW".into()]).unwrap();
        assert!(!set.contains(&Capability::named("NET_RAW")) && set.contains(&Capability::named("SYS_TIME")));
    }
}
