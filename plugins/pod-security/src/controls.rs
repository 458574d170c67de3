//! The controls of the standards: which level asks which of them, at which versions. As of Kubernetes 1.37.

mod baseline;
mod restricted;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::RangeInclusive;

use serde_json::Value;

use crate::pod::Pod;
use crate::standard::{Level, Standard, Version};

/// What a pod does that it must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    reason: String,
    /// Which of its parts do it.
    detail: String,
}

type Check = fn(&Pod<'_>) -> Option<Violation>;

/// The levels that ask a control.
type Asking = &'static [Level];
const BOTH: Asking = &[Level::Baseline, Level::Restricted];
const BASELINE: Asking = &[Level::Baseline];
const RESTRICTED: Asking = &[Level::Restricted];

/// The version that has no end.
const LATEST: u32 = u32::MAX;

/// In the order in which Kubernetes names what it finds. Where Restricted has a stricter control of its own, Baseline's is
/// Baseline's alone.
const CONTROLS: [(Asking, RangeInclusive<u32>, Check); 32] = [
    (BOTH, 0..=LATEST, baseline::app_armor),
    (BOTH, 0..=21, baseline::capabilities),
    (BASELINE, 22..=LATEST, baseline::capabilities),
    (BOTH, 0..=LATEST, baseline::host_namespaces),
    (BASELINE, 0..=LATEST, baseline::host_path_volumes),
    (BOTH, 0..=LATEST, baseline::host_ports),
    (BOTH, 34..=LATEST, baseline::handler_hosts),
    (BOTH, 0..=LATEST, baseline::privileged),
    (BOTH, 0..=34, baseline::proc_mount),
    (BASELINE, 35..=LATEST, |pod| among_host_users(pod, baseline::proc_mount)),
    (BOTH, 0..=30, |pod| baseline::selinux(pod, &baseline::SELINUX_TYPES[..3])),
    (BOTH, 31..=LATEST, |pod| baseline::selinux(pod, &baseline::SELINUX_TYPES)),
    (BOTH, 0..=18, baseline::seccomp_annotations),
    (BASELINE, 19..=LATEST, baseline::seccomp),
    (BOTH, 0..=26, |pod| baseline::sysctls(pod, &baseline::SYSCTLS[..5])),
    (BOTH, 27..=28, |pod| baseline::sysctls(pod, &baseline::SYSCTLS[..6])),
    (BOTH, 29..=31, |pod| baseline::sysctls(pod, &baseline::SYSCTLS[..10])),
    (BOTH, 32..=36, |pod| baseline::sysctls(pod, &baseline::SYSCTLS[..12])),
    (BOTH, 37..=LATEST, |pod| baseline::sysctls(pod, &baseline::SYSCTLS)),
    (BOTH, 0..=LATEST, baseline::windows_host_process),
    (RESTRICTED, 8..=24, restricted::privilege_escalation),
    (RESTRICTED, 25..=LATEST, |pod| on_linux(pod, restricted::privilege_escalation)),
    (RESTRICTED, 22..=24, restricted::capabilities),
    (RESTRICTED, 25..=LATEST, |pod| on_linux_or_else(pod, restricted::capabilities, baseline::capabilities)),
    (RESTRICTED, 35..=LATEST, baseline::proc_mount),
    (RESTRICTED, 0..=LATEST, restricted::volumes),
    (RESTRICTED, 0..=34, restricted::non_root),
    (RESTRICTED, 35..=LATEST, |pod| among_host_users(pod, restricted::non_root)),
    (RESTRICTED, 23..=34, restricted::user),
    (RESTRICTED, 35..=LATEST, |pod| among_host_users(pod, restricted::user)),
    (RESTRICTED, 19..=24, restricted::seccomp),
    (RESTRICTED, 25..=LATEST, |pod| on_linux_or_else(pod, restricted::seccomp, baseline::seccomp)),
];

/// What Windows has none of is not asked of its pods.
fn on_linux(pod: &Pod<'_>, check: Check) -> Option<Violation> {
    if pod.is_for_windows() { None } else { check(pod) }
}

/// The same, and they get no more than Baseline gives them.
fn on_linux_or_else(pod: &Pod<'_>, check: Check, on_windows: Check) -> Option<Violation> {
    if pod.is_for_windows() { on_windows(pod) } else { check(pod) }
}

/// What would harm the host's users harms nobody in a pod with users of its own.
fn among_host_users(pod: &Pod<'_>, check: Check) -> Option<Violation> {
    if pod.has_own_users() { None } else { check(pod) }
}

impl Standard {
    /// All that a pod, or the template of one, does against the standard.
    pub(crate) fn violations(self, pod: &Value) -> Vec<Violation> {
        if self.level == Level::Privileged {
            return vec![];
        }
        let pod = Pod::of(pod);
        self.checks().filter_map(|check| check(&pod)).collect()
    }

    fn checks(self) -> impl Iterator<Item = Check> {
        let minor = match self.version {
            Version::Minor(minor) => minor,
            Version::Latest => LATEST,
        };
        let controls = CONTROLS.into_iter();
        controls
            .filter(move |(asking, versions, _)| asking.contains(&self.level) && versions.contains(&minor))
            .map(|(_, _, check)| check)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.detail)
    }
}

fn found(reason: impl Into<String>, detail: String) -> Option<Violation> {
    Some(Violation { reason: reason.into(), detail })
}
