//! The Pod Security Standards: which checks a level has at which version.

use std::fmt;

use berth_json::Value;

use super::pod::Pod;
use super::{baseline, restricted};

/// How strict a standard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything goes.
    Privileged,
    /// Nothing that gives known power over the host.
    Baseline,
    /// What is known to harden pods.
    Restricted,
}

/// From when a standard is: they become stricter, and now and then laxer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// As in Kubernetes 1.x.
    Minor(u32),
    /// As it is known here.
    Latest,
}

/// A level as it was at a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standard {
    /// How strict.
    pub level: Level,
    /// As of when.
    pub version: Version,
}

/// What a pod does that it must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What it is.
    pub reason: String,
    /// Which parts of the pod do it.
    pub detail: String,
}

type Look = fn(&Pod<'_>) -> Option<Violation>;

struct Check {
    level: Level,
    /// From which version on it looks for what.
    versions: &'static [(u32, Look)],
    /// A stricter check in whose stead this one is left out at the level Restricted, from that one's first version on.
    within: Option<u32>,
}

const fn baseline(versions: &'static [(u32, Look)]) -> Check {
    Check { level: Level::Baseline, versions, within: None }
}

const fn baseline_until(stricter: u32, versions: &'static [(u32, Look)]) -> Check {
    Check { level: Level::Baseline, versions, within: Some(stricter) }
}

const fn restricted(versions: &'static [(u32, Look)]) -> Check {
    Check { level: Level::Restricted, versions, within: None }
}

/// In the order in which the API server names what it finds.
const CHECKS: [Check; 19] = [
    baseline(&[(0, baseline::app_armor)]),
    baseline_until(22, &[(0, baseline::capabilities)]),
    baseline(&[(0, baseline::host_namespaces)]),
    baseline_until(0, &[(0, baseline::host_path_volumes)]),
    baseline(&[(0, baseline::host_ports)]),
    baseline(&[(34, baseline::handler_hosts)]),
    baseline(&[(0, baseline::privileged)]),
    baseline_until(35, &[(0, baseline::proc_mount), (35, baseline::proc_mount_among_host_users)]),
    baseline(&[(0, baseline::selinux), (31, baseline::selinux_with_engine)]),
    baseline_until(19, &[(0, baseline::seccomp_annotations), (19, baseline::seccomp)]),
    baseline(&[
        (0, baseline::sysctls),
        (27, baseline::sysctls_of_27),
        (29, baseline::sysctls_of_29),
        (32, baseline::sysctls_of_32),
    ]),
    baseline(&[(0, baseline::windows_host_process)]),
    restricted(&[
        (8, restricted::privilege_escalation),
        (25, |pod| unless_windows(pod, restricted::privilege_escalation)),
    ]),
    restricted(&[(22, restricted::capabilities), (25, |pod| unless_windows(pod, restricted::capabilities))]),
    restricted(&[(35, baseline::proc_mount)]),
    restricted(&[(0, restricted::volumes)]),
    restricted(&[(0, restricted::non_root), (35, |pod| among_host_users(pod, restricted::non_root))]),
    restricted(&[(23, restricted::user), (35, |pod| among_host_users(pod, restricted::user))]),
    restricted(&[(19, restricted::seccomp), (25, |pod| unless_windows(pod, restricted::seccomp))]),
];

/// What Windows has none of is not asked of its pods.
fn unless_windows(pod: &Pod<'_>, look: Look) -> Option<Violation> {
    if pod.is_for_windows() { None } else { look(pod) }
}

/// What would harm the host's users harms nobody in a pod with users of its own.
pub(super) fn among_host_users(pod: &Pod<'_>, look: Look) -> Option<Violation> {
    if pod.has_own_users() { None } else { look(pod) }
}

impl Standard {
    /// All that a pod, or the template of one, does against the standard.
    pub fn violations(self, pod: &Value) -> Vec<Violation> {
        if self.level == Level::Privileged {
            return vec![];
        }
        let pod = &Pod::of(pod);
        let minor = match self.version {
            Version::Minor(minor) => minor,
            Version::Latest => u32::MAX,
        };
        let is_asked = |check: &&Check| {
            let is_within =
                self.level == Level::Restricted && check.within.is_some_and(|since| since <= minor);
            check.level <= self.level && !is_within
        };
        let looks = CHECKS.iter().filter(is_asked).filter_map(|check| {
            check.versions.iter().rev().find(|(since, _)| *since <= minor).map(|(_, look)| look)
        });
        looks.filter_map(|look| look(pod)).collect()
    }
}

impl Level {
    /// Reads a label's value.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "privileged" => Some(Self::Privileged),
            "baseline" => Some(Self::Baseline),
            "restricted" => Some(Self::Restricted),
            _ => None,
        }
    }
}

impl Version {
    /// Reads a label's value: `latest` or `v1.<minor>`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self::Latest);
        }
        let digits =
            text.strip_prefix("v1.").filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        let is_padded = digits.len() > 1 && digits.starts_with('0');
        digits.parse().ok().filter(|_| !is_padded).map(Self::Minor)
    }
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.version {
            Version::Minor(minor) => write!(f, "{level}:v1.{minor}"),
            Version::Latest => write!(f, "{level}:latest"),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.detail)
    }
}
