//! Names of kernel parameters: to which namespaces they belong, and patterns of them.

use std::str::FromStr;

/// By which beginnings parameters are known to be of a namespace.
const IPC: [&str; 4] = ["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."];
const NET: [&str; 1] = ["net."];

/// Unsafe kernel parameters that pods may set all the same: a name, or a beginning with `*` after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysctlPattern(String);

impl SysctlPattern {
    pub(crate) fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == self.0,
        }
    }
}

impl FromStr for SysctlPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<SysctlPattern, String> {
        let name = dotted(text);
        let beginning = name.strip_suffix('*').unwrap_or(&name);
        if beginning.contains('*') {
            return Err(format!("sysctl pattern {text:?}: a * stands at the end only"));
        }
        if namespace(beginning).is_none() {
            let why = "it is not known to be namespaced: pods may have kernel.shm*, kernel.msg*, kernel.sem, \
                       fs.mqueue.* and net.*";
            return Err(format!("sysctl pattern {text:?}: {why}"));
        }
        Ok(SysctlPattern(name))
    }
}

/// Whose a kernel parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Namespace {
    Ipc,
    Net,
}

/// The namespace that a parameter is known to belong to.
pub(crate) fn namespace(sysctl: &str) -> Option<Namespace> {
    let begins = |list: &[&str]| list.iter().any(|beginning| sysctl.starts_with(beginning));
    match (begins(&NET), begins(&IPC)) {
        (true, _) => Some(Namespace::Net),
        (false, true) => Some(Namespace::Ipc),
        (false, false) => None,
    }
}

/// A parameter's name with dots between its parts, and slashes for the dots in them: `net/ipv4/conf/eth0.1/forwarding`
/// is `net.ipv4.conf.eth0/1.forwarding`, as sysctl(8) has it.
pub(crate) fn dotted(name: &str) -> String {
    let swap = |c| match c {
        '/' => '.',
        '.' => '/',
        other => other,
    };
    match name.find(['.', '/']) {
        Some(at) if name[at..].starts_with('/') => name.chars().map(swap).collect(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_parameters_of_namespaces() {
        for good in ["net.*", "net.core.somaxconn", "kernel.msg*", "fs.mqueue.*", "kernel/sem"] {
            assert!(good.parse::<SysctlPattern>().is_ok(), "{good}");
        }
        for bad in ["*", "", "kernel.*", "vm.swappiness", "net.*.x", "net"] {
            assert!(bad.parse::<SysctlPattern>().is_err(), "{bad}");
        }
        assert_eq!(dotted("net/ipv4/conf/eth0.1/forwarding"), "net.ipv4.conf.eth0/1.forwarding");
        assert_eq!(dotted("net.ipv4.conf.eth0/1.forwarding"), "net.ipv4.conf.eth0/1.forwarding");
    }
}
