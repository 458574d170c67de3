//! A pod, or the template of one, as the checks look at it.

use berth_json::Value;

use crate::kinds::view::{at, list_at, str_at};

/// How pods named seccomp profiles before they had a field for it.
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

pub(super) struct Pod<'a> {
    object: &'a Value,
    /// Those that initialise, the usual ones, those that were added to look around.
    pub(super) containers: Vec<&'a Value>,
}

impl<'a> Pod<'a> {
    pub(super) fn of(object: &'a Value) -> Self {
        let lists = ["spec.initContainers", "spec.containers", "spec.ephemeralContainers"];
        Self { object, containers: lists.iter().flat_map(|list| list_at(object, list)).collect() }
    }

    /// What stands at a path of the pod's spec.
    pub(super) fn spec(&self, path: &str) -> Option<&'a Value> {
        at(self.object, "spec").and_then(|spec| at(spec, path))
    }

    pub(super) fn is(&self, path: &str, value: bool) -> bool {
        self.spec(path) == Some(&Value::Bool(value))
    }

    pub(super) fn list(&self, path: &str) -> &'a [Value] {
        self.spec(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    pub(super) fn is_for_windows(&self) -> bool {
        self.spec("os.name").is_some_and(|name| name == "windows")
    }

    /// Whether the pod's users are others than the host's: its root is nobody there.
    pub(super) fn has_own_users(&self) -> bool {
        self.is("hostUsers", false)
    }

    /// Keys and values.
    pub(super) fn annotations(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        annotations(self.object)
    }

    /// The names of the containers of which something is true.
    pub(super) fn names_where(&self, holds: impl Fn(&Value) -> bool) -> Vec<&'a str> {
        self.containers.iter().filter(|container| holds(container)).map(|container| name(container)).collect()
    }

    pub(super) fn seccomp_annotations(&self) -> Vec<(&'a str, &'a str)> {
        let is_own = |key: &str| {
            key == SECCOMP_POD
                || key
                    .strip_prefix(SECCOMP_CONTAINER)
                    .is_some_and(|of| self.containers.iter().any(|container| name(container) == of))
        };
        self.annotations().filter(|(key, _)| is_own(key)).collect()
    }
}

/// The annotations that choose seccomp profiles for a pod or one of its containers, in their order.
pub fn seccomp_annotations(object: &Value) -> Vec<(&str, &str)> {
    Pod::of(object).seccomp_annotations()
}

fn annotations(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    let all = at(object, "metadata.annotations").and_then(Value::as_object).into_iter().flatten();
    all.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
}

pub(super) fn name(object: &Value) -> &str {
    str_at(object, "name")
}

/// `container "a"`, `containers "a", "b"`.
pub(super) fn listed(what: &str, names: &[&str]) -> String {
    format!("{} {}", counted(what, names.len()), quoted(names))
}

/// `"a", "b"`.
pub(super) fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

/// One of them, or several.
pub(super) fn counted(what: &str, count: usize) -> String {
    if count == 1 { what.to_owned() } else { format!("{what}s") }
}

/// Sorted, each once.
pub(super) fn distinct<'a>(all: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut all: Vec<&str> = all.into_iter().collect();
    all.sort_unstable();
    all.dedup();
    all
}
