//! Which Kubernetes Berth is one of: its API, and the kubelet that a node behaves like.

/// The minor version, as programs compare it.
pub const MINOR: u8 = 37;

/// The release whose schema table, defaults and answers are served.
pub const RELEASE: &str = "v1.37.1";

/// What `GET /version` and a node's `kubeletVersion` say: Berth's own version is build metadata.
pub const GIT_VERSION: &str = concat!("v1.37.1+berth-", env!("CARGO_PKG_VERSION"));

/// As whom a node asks when it probes a container.
pub const PROBE_USER_AGENT: &str = "kube-probe/1.37";

#[cfg(test)]
mod tests {
    use super::{GIT_VERSION, MINOR, PROBE_USER_AGENT, RELEASE};

    #[test]
    fn every_spelling_is_of_one_release() {
        assert!(RELEASE.starts_with(&format!("v1.{MINOR}.")));
        assert!(GIT_VERSION.starts_with(&format!("{RELEASE}+berth-")));
        assert_eq!(PROBE_USER_AGENT, format!("kube-probe/1.{MINOR}"));
        let table = include_str!("../schema/generate/go.mod");
        assert!(table.contains(&format!("k8s.io/kubernetes {RELEASE}\n")), "the table is of another release");
    }
}
