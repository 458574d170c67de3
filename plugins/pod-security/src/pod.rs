//! A pod, or the template of one, as the controls look at it; and how they name what they find.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

/// How pods chose seccomp profiles before there was a field for it: for all containers, and for one by its name.
const SECCOMP: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_OF: &str = "container.seccomp.security.alpha.kubernetes.io/";
/// The same of AppArmor, which was chosen by container only.
const APP_ARMOR_OF: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Its init containers, its containers and its ephemeral ones are all judged alike.
pub(crate) struct Pod<'a> {
    object: &'a Value,
    pub(crate) spec: &'a Value,
    pub(crate) containers: Vec<&'a Value>,
}

impl<'a> Pod<'a> {
    pub(crate) fn of(object: &'a Value) -> Self {
        let spec = &object["spec"];
        let lists = ["initContainers", "containers", "ephemeralContainers"];
        Self { object, spec, containers: lists.iter().flat_map(|list| items(&spec[list])).collect() }
    }

    pub(crate) fn is_for_windows(&self) -> bool {
        self.spec["os"]["name"] == "windows"
    }

    /// Whether its users are others than the host's: its root is nobody there.
    pub(crate) fn has_own_users(&self) -> bool {
        self.spec["hostUsers"] == false
    }

    /// Its own security context and those of its containers.
    pub(crate) fn contexts(&self) -> impl Iterator<Item = &'a Value> {
        let own = std::iter::once(&self.spec["securityContext"]);
        own.chain(self.containers.iter().map(|container| &container["securityContext"]))
    }

    /// The containers that do something; `None` when none does.
    pub(crate) fn containers_that(&self, does: impl Fn(&Value) -> bool) -> Option<Names<'a>> {
        let those = self.containers.iter().filter(|container| does(container));
        Names::of("container", those.map(|container| text(&container["name"])).collect())
    }

    /// Who sets something in a security context: `pod and container "a"`; `None` when nobody does.
    pub(crate) fn setters(&self, sets: impl Fn(&Value) -> bool) -> Option<String> {
        let containers = self.containers_that(|container| sets(&container["securityContext"]));
        match (sets(&self.spec["securityContext"]), containers) {
            (true, Some(containers)) => Some(format!("pod and {containers}")),
            (true, None) => Some("pod".to_owned()),
            (false, containers) => containers.map(|containers| containers.to_string()),
        }
    }

    /// Keys and values of the annotations that choose seccomp profiles for the pod or one of its containers.
    pub(crate) fn seccomp_annotations(&self) -> Vec<(&'a str, &'a str)> {
        let has = |name: &str| self.containers.iter().any(|container| container["name"] == name);
        let chooses = |key: &str| key == SECCOMP || key.strip_prefix(SECCOMP_OF).is_some_and(has);
        self.annotations().filter(|(key, _)| chooses(key)).collect()
    }

    /// The same of AppArmor.
    pub(crate) fn app_armor_annotations(&self) -> Vec<(&'a str, &'a str)> {
        self.annotations().filter(|(key, _)| key.starts_with(APP_ARMOR_OF)).collect()
    }

    fn annotations(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let all = self.object["metadata"]["annotations"].as_object().into_iter().flatten();
        all.map(|(key, value)| (key.as_str(), text(value)))
    }
}

/// Things of one kind: `container "a"`, `containers "a", "b"`. Never empty.
pub(crate) struct Names<'a> {
    kind: &'static str,
    names: Vec<&'a str>,
}

impl<'a> Names<'a> {
    pub(crate) fn of(kind: &'static str, names: Vec<&'a str>) -> Option<Self> {
        (!names.is_empty()).then_some(Self { kind, names })
    }

    /// The verb that follows them.
    pub(crate) fn uses(&self) -> &'static str {
        if self.names.len() == 1 { "uses" } else { "use" }
    }

    /// The same by name, each once.
    pub(crate) fn sorted(self) -> Self {
        Self { names: BTreeSet::from_iter(self.names).into_iter().collect(), ..self }
    }
}

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", counted(self.kind, self.names.len()), quoted(self.names.iter().copied()))
    }
}

/// One of them, or several.
pub(crate) fn counted(kind: &str, count: usize) -> String {
    if count == 1 { kind.to_owned() } else { format!("{kind}s") }
}

/// `"a", "b"`.
pub(crate) fn quoted<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    texts.into_iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", ")
}

pub(crate) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
