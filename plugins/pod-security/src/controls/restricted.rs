//! What Restricted asks besides: what is known to harden a pod.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Violation, baseline, found};
use crate::pod::{Names, Pod, counted, items, quoted, text};

/// Volumes that hold only what the pod, or its namespace, has.
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

pub(super) fn privilege_escalation(pod: &Pod<'_>) -> Option<Violation> {
    let who =
        pod.containers_that(|container| container["securityContext"]["allowPrivilegeEscalation"] != false)?;
    found(
        "allowPrivilegeEscalation != false",
        format!("{who} must set securityContext.allowPrivilegeEscalation=false"),
    )
}

pub(super) fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    let keeps_some = |container: &Value| {
        items(&container["securityContext"]["capabilities"]["drop"]).all(|capability| capability != "ALL")
    };
    let keeping = pod.containers_that(keeps_some);
    let keeping = keeping.map(|who| format!("{who} must set securityContext.capabilities.drop=[\"ALL\"]"));
    let details: Vec<String> =
        keeping.into_iter().chain(baseline::added_but(pod, &["NET_BIND_SERVICE"])).collect();
    if details.is_empty() { None } else { found("unrestricted capabilities", details.join("; ")) }
}

pub(super) fn volumes(pod: &Pod<'_>) -> Option<Violation> {
    let mut names = Vec::new();
    let mut kinds = BTreeSet::new();
    for volume in items(&pod.spec["volumes"]) {
        let fields = volume.as_object().into_iter().flatten();
        let mut sources =
            fields.filter(|(key, source)| *key != "name" && !source.is_null()).map(|(key, _)| key);
        // A volume that says nothing of where it comes from is none that could be allowed.
        let first = sources.next().map_or("unknown", String::as_str);
        let other =
            std::iter::once(first).chain(sources.map(String::as_str)).find(|kind| !VOLUMES.contains(kind));
        if let Some(kind) = other {
            names.push(text(&volume["name"]));
            kinds.insert(kind);
        }
    }
    let names = Names::of("volume", names)?;
    let (uses, what) = (names.uses(), counted("restricted volume type", kinds.len()));
    found("restricted volume types", format!("{names} {uses} {what} {}", quoted(kinds)))
}

pub(super) fn non_root(pod: &Pod<'_>) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    if let Some(setters) = pod.setters(|context| context["runAsNonRoot"] == false) {
        return found(REASON, format!("{setters} must not set securityContext.runAsNonRoot=false"));
    }
    if pod.spec["securityContext"]["runAsNonRoot"] == true {
        return None;
    }
    let who = pod.containers_that(|container| container["securityContext"]["runAsNonRoot"] != true)?;
    found(REASON, format!("pod or {who} must set securityContext.runAsNonRoot=true"))
}

pub(super) fn user(pod: &Pod<'_>) -> Option<Violation> {
    let setters = pod.setters(|context| context["runAsUser"] == 0)?;
    found("runAsUser=0", format!("{setters} must not set runAsUser=0"))
}

pub(super) fn seccomp(pod: &Pod<'_>) -> Option<Violation> {
    let forbidden = baseline::seccomp(pod);
    if forbidden.is_some() || !pod.spec["securityContext"]["seccompProfile"].is_null() {
        return forbidden;
    }
    let who = pod.containers_that(|container| container["securityContext"]["seccompProfile"].is_null())?;
    found(
        "seccompProfile",
        format!(
            "pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\""
        ),
    )
}
