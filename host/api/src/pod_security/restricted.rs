//! The checks of the level Restricted: what is known to harden pods.

use berth_json::Value;

use super::baseline::{adding, is_seccomp_profile, must_not_add, setters, violation, wrong};
use super::checks::Violation;
use super::pod::{Pod, counted, distinct, listed, name, quoted};
use crate::kinds::view::{at, int_at, list_at};

/// Volumes that hold only what the pod's namespace, or the pod itself, has.
const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// Other volumes, in the order in which one of two would be named.
const OTHER_VOLUMES: [&str; 21] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];

pub(super) fn privilege_escalation(pod: &Pod<'_>) -> Option<Violation> {
    let path = "securityContext.allowPrivilegeEscalation";
    let names = pod.names_where(|container| at(container, path) != Some(&Value::Bool(false)));
    if names.is_empty() {
        return None;
    }
    let detail = format!("{} must set {path}=false", listed("container", &names));
    violation("allowPrivilegeEscalation != false", detail)
}

pub(super) fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    let drops_all = |container: &Value| {
        list_at(container, "securityContext.capabilities.drop").iter().any(|capability| capability == "ALL")
    };
    let keeping = pod.names_where(|container| !drops_all(container));
    let (names, added) = adding(pod, &["NET_BIND_SERVICE"]);
    let mut details = Vec::new();
    if !keeping.is_empty() {
        let containers = listed("container", &keeping);
        details.push(format!("{containers} must set securityContext.capabilities.drop=[\"ALL\"]"));
    }
    if !names.is_empty() {
        details.push(must_not_add(&names, &added));
    }
    if details.is_empty() { None } else { violation("unrestricted capabilities", details.join("; ")) }
}

pub(super) fn volumes(pod: &Pod<'_>) -> Option<Violation> {
    let has = |volume: &Value, kind: &str| volume.get(kind).is_some_and(|source| !source.is_null());
    let is_other = |volume: &&Value| !VOLUMES.iter().any(|kind| has(volume, kind));
    let others: Vec<&Value> = pod.list("volumes").iter().filter(is_other).collect();
    if others.is_empty() {
        return None;
    }
    let kind =
        |volume: &&Value| OTHER_VOLUMES.into_iter().find(|kind| has(volume, kind)).unwrap_or("unknown");
    let (names, kinds): (Vec<&str>, _) =
        (others.iter().map(|volume| name(volume)).collect(), distinct(others.iter().map(kind)));
    let uses = if names.len() == 1 { "uses" } else { "use" };
    let what = counted("restricted volume type", kinds.len());
    violation(
        "restricted volume types",
        format!("{} {uses} {what} {}", listed("volume", &names), quoted(&kinds)),
    )
}

pub(super) fn non_root(pod: &Pod<'_>) -> Option<Violation> {
    let path = "securityContext.runAsNonRoot";
    let says = |container: &Value, value: bool| at(container, path) == Some(&Value::Bool(value));
    let names = pod.names_where(|container| says(container, false));
    let setters = setters(pod.is(path, false), &names);
    if !setters.is_empty() {
        return violation("runAsNonRoot != true", format!("{setters} must not set {path}=false"));
    }
    let silent = pod.names_where(|container| !says(container, true));
    if pod.is(path, true) || silent.is_empty() {
        return None;
    }
    let detail = format!("pod or {} must set {path}=true", listed("container", &silent));
    violation("runAsNonRoot != true", detail)
}

pub(super) fn user(pod: &Pod<'_>) -> Option<Violation> {
    let path = "securityContext.runAsUser";
    let names = pod.names_where(|container| int_at(container, path) == Some(0));
    let of_pod = pod.spec(path).and_then(Value::as_i64) == Some(0);
    let setters = setters(of_pod, &names);
    if setters.is_empty() {
        None
    } else {
        violation("runAsUser=0", format!("{setters} must not set runAsUser=0"))
    }
}

pub(super) fn seccomp(pod: &Pod<'_>) -> Option<Violation> {
    let path = "securityContext.seccompProfile";
    let (setters, values) = wrong(pod, "seccompProfile.type", is_seccomp_profile);
    if !setters.is_empty() {
        let detail = format!("{setters} must not set {path}.type to {}", quoted(&values));
        return violation("seccompProfile", detail);
    }
    let silent = pod.names_where(|container| at(container, path).is_none());
    if pod.spec(path).is_some() || silent.is_empty() {
        return None;
    }
    let containers = listed("container", &silent);
    violation(
        "seccompProfile",
        format!("pod or {containers} must set {path}.type to \"RuntimeDefault\" or \"Localhost\""),
    )
}
