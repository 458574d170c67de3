//! What is accepted in a pod or a template but hardly meant.

use std::collections::BTreeMap;

use crate::kinds::cursor::Cursor;
use crate::kinds::view::{repeats, str_at};
use crate::quantity::Quantity;

/// Labels of nodes that have a newer name: old, since when, new.
const OLD_LABELS: [(&str, &str, &str); 5] = [
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    ("beta.kubernetes.io/instance-type", "v1.17", "node.kubernetes.io/instance-type"),
    ("failure-domain.beta.kubernetes.io/region", "v1.17", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "v1.17", "topology.kubernetes.io/zone"),
];

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// The warnings about a pod or a template, given its `metadata` and `spec`.
pub(in crate::kinds) fn warnings(metadata: &Cursor<'_>, spec: &Cursor<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for (key, _) in spec.child("nodeSelector").entries() {
        warn_old_label(key, &spec.child("nodeSelector").key(key), &mut found);
    }
    warn_affinity(&spec.child("affinity"), &mut found);
    for constraint in spec.child("topologySpreadConstraints").items() {
        warn_no_selector(&constraint, &mut found);
    }
    for (key, _) in metadata.child("annotations").entries() {
        if key.starts_with("seccomp.security.alpha.kubernetes.io/pod")
            || key.starts_with("container.seccomp.security.alpha.kubernetes.io/")
        {
            let annotations = metadata.child("annotations");
            let why = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
            found.push(format!("{}: {why}", annotations.key(key)));
        }
    }
    for list in ["initContainers", "containers"] {
        for container in spec.child(list).items() {
            warn_container(&container, &mut found);
        }
    }
    let grace = spec.child("terminationGracePeriodSeconds");
    if grace.int().is_some_and(|seconds| seconds < 0) {
        found.push(format!("{grace}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    found
}

fn warn_old_label(label: &str, at: &Cursor<'_>, found: &mut Vec<String>) {
    if let Some((_, since, new)) = OLD_LABELS.into_iter().find(|(old, ..)| *old == label) {
        found.push(format!("{at}: deprecated since {since}; use \"{new}\" instead"));
    }
}

fn warn_affinity(affinity: &Cursor<'_>, found: &mut Vec<String>) {
    let node = affinity.child("nodeAffinity");
    for term in node.child(REQUIRED).child("nodeSelectorTerms").items() {
        warn_term(&term, found);
    }
    for preferred in node.child(PREFERRED).items() {
        warn_term(&preferred.child("preference"), found);
    }
    for key in ["podAffinity", "podAntiAffinity"] {
        let pods = affinity.child(key);
        for term in pods.child(REQUIRED).items() {
            warn_no_selector(&term, found);
        }
        for weighted in pods.child(PREFERRED).items() {
            warn_no_selector(&weighted.child("podAffinityTerm"), found);
        }
    }
}

fn warn_term(term: &Cursor<'_>, found: &mut Vec<String>) {
    for requirement in term.child("matchExpressions").items() {
        let key = requirement.child("key");
        warn_old_label(key.text(), &key, found);
    }
}

fn warn_no_selector(term: &Cursor<'_>, found: &mut Vec<String>) {
    let selector = term.child("labelSelector");
    if !selector.exists() {
        found.push(format!("{selector}: a null labelSelector results in matching no pod"));
    }
}

fn warn_container(container: &Cursor<'_>, found: &mut Vec<String>) {
    warn_ports(&container.child("ports"), found);
    warn_env(&container.child("env"), found);
    for list in ["limits", "requests"] {
        for key in ["memory", "ephemeral-storage"] {
            let resources = container.child("resources");
            let amounts = resources.child(list);
            let amount = amounts.key(key);
            if Quantity::parse(amount.text()).is_ok_and(Quantity::is_fractional) {
                let text = amount.text();
                found.push(format!(
                    "{amount}: fractional byte value \"{text}\" is invalid, must be an integer"
                ));
            }
        }
    }
}

fn warn_ports(ports: &Cursor<'_>, found: &mut Vec<String>) {
    let mut seen = BTreeMap::new();
    for (index, port) in ports.items().enumerate() {
        let same = ["containerPort", "protocol", "hostPort", "hostIP"];
        let same = same.map(|key| port.child(key).value().to_string());
        let first = *seen.entry(same).or_insert(index);
        if first != index {
            found.push(format!("{port}: duplicate port definition with {ports}[{first}]"));
        }
    }
}

/// A later variable of the same name hides the former, unless it is built from it: `PATH=$(PATH):/more`.
fn warn_env(variables: &Cursor<'_>, found: &mut Vec<String>) {
    let repeated = repeats(variables.list(), |variable| str_at(variable, "name"));
    for (variable, is_repeated) in variables.items().zip(repeated) {
        let (name, value) = (variable.child("name").text(), variable.child("value").text());
        let reference = format!("$({name})");
        let builds_on_it = value != reference && value.contains(&reference);
        if is_repeated && !builds_on_it {
            let why =
                format!("hides previous definition of \"{name}\", which may be dropped when using apply");
            found.push(format!("{variable}: {why}"));
        }
    }
}
