//! What Baseline forbids: what is known to give power over the host.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Violation, found};
use crate::pod::{Names, Pod, counted, items, quoted, text};

/// Those that container runtimes give by default.
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Those of containers, in the order in which they came to be allowed.
pub(super) const SELINUX_TYPES: [&str; 4] =
    ["container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

/// Those that concern the pod alone, in the order in which they came to be allowed.
pub(super) const SYSCTLS: [&str; 14] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_notsent_lowat",
    "net.ipv4.tcp_slow_start_after_idle",
];

/// A profile of seccomp or AppArmor that switches neither off.
fn is_profile(kind: &Value) -> bool {
    kind == "RuntimeDefault" || kind == "Localhost"
}

pub(super) fn app_armor(pod: &Pod<'_>) -> Option<Violation> {
    let is_wrong = |context: &Value| {
        let profile = &context["appArmorProfile"];
        !profile.is_null() && !is_profile(&profile["type"])
    };
    let types = pod.contexts().filter(|context| is_wrong(context));
    let types: BTreeSet<&str> = types.map(|context| text(&context["appArmorProfile"]["type"])).collect();
    let is_right = |name: &str| matches!(name, "" | "runtime/default") || name.starts_with("localhost/");
    let annotations = pod.app_armor_annotations().into_iter().filter(|(_, name)| !is_right(name));
    let annotations: Vec<String> = annotations.map(|(key, name)| format!("{key}={name:?}")).collect();
    let annotators = (!annotations.is_empty()).then(|| counted("annotation", annotations.len()));
    let setters: Vec<String> = pod.setters(is_wrong).into_iter().chain(annotators).collect();
    if setters.is_empty() {
        return None;
    }
    let all: Vec<&str> = types.into_iter().chain(annotations.iter().map(String::as_str)).collect();
    found(
        counted("forbidden AppArmor profile", all.len()),
        format!("{} must not set AppArmor profile type to {}", setters.join(" and "), quoted(all)),
    )
}

pub(super) fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    found("non-default capabilities", added_but(pod, &CAPABILITIES)?)
}

/// Which containers add other capabilities than these, and which.
pub(super) fn added_but(pod: &Pod<'_>, allowed: &[&str]) -> Option<String> {
    let others = |container: &Value| -> Vec<String> {
        let added = items(&container["securityContext"]["capabilities"]["add"]).map(text);
        added.filter(|name| !allowed.contains(name)).map(str::to_owned).collect()
    };
    let who = pod.containers_that(|container| !others(container).is_empty())?;
    let all: BTreeSet<String> = pod.containers.iter().flat_map(|container| others(container)).collect();
    let all = quoted(all.iter().map(String::as_str));
    Some(format!("{who} must not include {all} in securityContext.capabilities.add"))
}

pub(super) fn host_namespaces(pod: &Pod<'_>) -> Option<Violation> {
    let shared = ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|field| pod.spec[field] == true);
    let shared: Vec<String> = shared.map(|field| format!("{field}=true")).collect();
    if shared.is_empty() { None } else { found("host namespaces", shared.join(", ")) }
}

pub(super) fn host_path_volumes(pod: &Pod<'_>) -> Option<Violation> {
    let volumes = items(&pod.spec["volumes"]).filter(|volume| !volume["hostPath"].is_null());
    let names = Names::of("volume", volumes.map(|volume| text(&volume["name"])).collect())?;
    found("hostPath volumes", names.to_string())
}

pub(super) fn host_ports(pod: &Pod<'_>) -> Option<Violation> {
    let taken = |container: &Value| -> Vec<String> {
        let ports = items(&container["ports"]).filter_map(|port| port["hostPort"].as_i64());
        ports.filter(|port| *port != 0).map(|port| port.to_string()).collect()
    };
    let who = pod.containers_that(|container| !taken(container).is_empty())?;
    let ports: BTreeSet<String> = pod.containers.iter().flat_map(|container| taken(container)).collect();
    let (uses, what) = (who.uses(), counted("hostPort", ports.len()));
    found("hostPort", format!("{who} {uses} {what} {}", Vec::from_iter(ports).join(", ")))
}

/// Through a probe or a hook that asks another host than the pod, the node asks in the pod's stead.
pub(super) fn handler_hosts(pod: &Pod<'_>) -> Option<Violation> {
    let asked = |container: &Value| -> Vec<String> {
        let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| &container[probe]);
        let hooks = ["postStart", "preStop"].map(|hook| &container["lifecycle"][hook]);
        let handlers = probes.into_iter().chain(hooks);
        let hosts =
            handlers.flat_map(|handler| ["httpGet", "tcpSocket"].map(|how| text(&handler[how]["host"])));
        hosts.filter(|host| !host.is_empty()).map(str::to_owned).collect()
    };
    let who = pod.containers_that(|container| !asked(container).is_empty())?.sorted();
    let hosts: BTreeSet<String> = pod.containers.iter().flat_map(|container| asked(container)).collect();
    let (uses, what) = (who.uses(), counted("probe or lifecycle host", hosts.len()));
    let hosts = quoted(hosts.iter().map(String::as_str));
    found("probe or lifecycle host", format!("{who} {uses} {what} {hosts}"))
}

pub(super) fn privileged(pod: &Pod<'_>) -> Option<Violation> {
    let who = pod.containers_that(|container| container["securityContext"]["privileged"] == true)?;
    found("privileged", format!("{who} must not set securityContext.privileged=true"))
}

pub(super) fn proc_mount(pod: &Pod<'_>) -> Option<Violation> {
    let other = |container: &Value| {
        let kind = &container["securityContext"]["procMount"];
        !kind.is_null() && kind != "Default"
    };
    let who = pod.containers_that(other)?;
    let kinds = pod.containers.iter().filter(|container| other(container));
    let kinds: BTreeSet<&str> =
        kinds.map(|container| text(&container["securityContext"]["procMount"])).collect();
    found("procMount", format!("{who} must not set securityContext.procMount to {}", quoted(kinds)))
}

pub(super) fn selinux(pod: &Pod<'_>, types: &[&str]) -> Option<Violation> {
    let of = |context: &Value, field: &str| text(&context["seLinuxOptions"][field]).to_owned();
    let has_wrong_type = |context: &Value| {
        let kind = of(context, "type");
        !kind.is_empty() && !types.contains(&kind.as_str())
    };
    let names = |context: &Value, field: &str| !of(context, field).is_empty();
    let setters =
        pod.setters(|context| has_wrong_type(context) || names(context, "user") || names(context, "role"))?;
    let wrong: BTreeSet<String> =
        pod.contexts().filter(|context| has_wrong_type(context)).map(|context| of(context, "type")).collect();
    let mut faults: Vec<String> = Names::of("type", wrong.iter().map(String::as_str).collect())
        .map(|types| types.to_string())
        .into_iter()
        .collect();
    let fields =
        ["user", "role"].into_iter().filter(|field| pod.contexts().any(|context| names(context, field)));
    faults.extend(fields.map(|field| format!("{field} may not be set")));
    found(
        "seLinuxOptions",
        format!("{setters} set forbidden securityContext.seLinuxOptions: {}", faults.join("; ")),
    )
}

pub(super) fn seccomp_annotations(pod: &Pod<'_>) -> Option<Violation> {
    let is_right =
        |name: &str| matches!(name, "runtime/default" | "docker/default") || name.starts_with("localhost/");
    let wrong = pod.seccomp_annotations().into_iter().filter(|(_, name)| !is_right(name));
    let wrong: BTreeSet<String> = wrong.map(|(key, name)| format!("{key}={name:?}")).collect();
    if wrong.is_empty() {
        return None;
    }
    let what = counted("annotation", wrong.len());
    found("seccompProfile", format!("forbidden {what} {}", Vec::from_iter(wrong).join(", ")))
}

pub(super) fn seccomp(pod: &Pod<'_>) -> Option<Violation> {
    let is_wrong = |context: &Value| {
        let profile = &context["seccompProfile"];
        !profile.is_null() && !is_profile(&profile["type"])
    };
    let setters = pod.setters(is_wrong)?;
    let types = pod.contexts().filter(|context| is_wrong(context));
    let types: BTreeSet<&str> = types.map(|context| text(&context["seccompProfile"]["type"])).collect();
    found(
        "seccompProfile",
        format!("{setters} must not set securityContext.seccompProfile.type to {}", quoted(types)),
    )
}

pub(super) fn sysctls(pod: &Pod<'_>, allowed: &[&str]) -> Option<Violation> {
    let names = items(&pod.spec["securityContext"]["sysctls"]).map(|sysctl| text(&sysctl["name"]));
    let forbidden: Vec<&str> = names.filter(|name| !allowed.contains(name)).collect();
    if forbidden.is_empty() { None } else { found("forbidden sysctls", forbidden.join(", ")) }
}

pub(super) fn windows_host_process(pod: &Pod<'_>) -> Option<Violation> {
    let setters = pod.setters(|context| context["windowsOptions"]["hostProcess"] == true)?;
    found("hostProcess", format!("{setters} must not set securityContext.windowsOptions.hostProcess=true"))
}
