//! The checks of the level Baseline: nothing that gives known power over the host.

use berth_json::Value;

use super::checks::{Violation, among_host_users};
use super::pod::{Pod, counted, distinct, listed, name, quoted};
use crate::kinds::view::{at, int_at, list_at, str_at};

/// How pods named AppArmor profiles before they had a field for it.
const APP_ARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

/// The capabilities that container runtimes give by default.
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

const SELINUX_TYPES: [&str; 4] = ["", "container_t", "container_init_t", "container_kvm_t"];

/// Sysctls that concern the pod alone, in the order in which they came to be allowed.
const SYSCTLS: [&str; 12] = [
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
];

pub(super) fn violation(reason: impl Into<String>, detail: String) -> Option<Violation> {
    Some(Violation { reason: reason.into(), detail })
}

/// `pod and containers "a", "b"`; empty when it is neither.
pub(super) fn setters(pod: bool, containers: &[&str]) -> String {
    let of_pod = pod.then(|| "pod".to_owned());
    let of_containers = (!containers.is_empty()).then(|| listed("container", containers));
    of_pod.into_iter().chain(of_containers).collect::<Vec<_>>().join(" and ")
}

/// The pod's and its containers' values of a field of the security context that are not as they should be: who has them,
/// and which they are.
pub(super) fn wrong<'a>(
    pod: &Pod<'a>,
    field: &str,
    is_right: impl Fn(&str) -> bool,
) -> (String, Vec<&'a str>) {
    let of = |value: Option<&'a Value>| {
        value.map(|value| value.as_str().unwrap_or_default()).filter(|v| !is_right(v))
    };
    let path = format!("securityContext.{field}");
    let of_pod = of(pod.spec(&path));
    let of_containers: Vec<(&str, &str)> = pod
        .containers
        .iter()
        .filter_map(|container| Some((name(container), of(at(container, &path))?)))
        .collect();
    let names: Vec<&str> = of_containers.iter().map(|(name, _)| *name).collect();
    let values = distinct(of_pod.into_iter().chain(of_containers.iter().map(|(_, value)| *value)));
    (setters(of_pod.is_some(), &names), values)
}

pub(super) fn app_armor(pod: &Pod<'_>) -> Option<Violation> {
    let (mut setters, values) =
        wrong(pod, "appArmorProfile.type", |kind| matches!(kind, "RuntimeDefault" | "Localhost"));
    let is_right = |value: &str| matches!(value, "" | "runtime/default") || value.starts_with("localhost/");
    let annotations: Vec<String> = pod
        .annotations()
        .filter(|(key, value)| key.starts_with(APP_ARMOR_ANNOTATION) && !is_right(value))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    if !annotations.is_empty() {
        let and = if setters.is_empty() { "" } else { " and " };
        setters.push_str(&format!("{and}{}", counted("annotation", annotations.len())));
    }
    let all: Vec<&str> = values.into_iter().chain(annotations.iter().map(String::as_str)).collect();
    if all.is_empty() {
        return None;
    }
    let detail = format!("{setters} must not set AppArmor profile type to {}", quoted(&all));
    violation(counted("forbidden AppArmor profile", all.len()), detail)
}

pub(super) fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    let (names, added) = adding(pod, &CAPABILITIES);
    if names.is_empty() {
        return None;
    }
    violation("non-default capabilities", must_not_add(&names, &added))
}

/// The containers that add other capabilities than these, and which.
pub(super) fn adding<'a>(pod: &Pod<'a>, allowed: &[&str]) -> (Vec<&'a str>, Vec<&'a str>) {
    let path = "securityContext.capabilities.add";
    let is_other = |capability: &&Value| !capability.as_str().is_some_and(|text| allowed.contains(&text));
    let names = pod.names_where(|container| list_at(container, path).iter().any(|added| is_other(&added)));
    let added = pod.containers.iter().flat_map(|container| list_at(container, path)).filter(is_other);
    (names, distinct(added.filter_map(Value::as_str)))
}

pub(super) fn must_not_add(names: &[&str], added: &[&str]) -> String {
    let containers = listed("container", names);
    format!("{containers} must not include {} in securityContext.capabilities.add", quoted(added))
}

pub(super) fn host_namespaces(pod: &Pod<'_>) -> Option<Violation> {
    let shared = ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|field| pod.is(field, true));
    let shared: Vec<String> = shared.map(|field| format!("{field}=true")).collect();
    if shared.is_empty() { None } else { violation("host namespaces", shared.join(", ")) }
}

pub(super) fn host_path_volumes(pod: &Pod<'_>) -> Option<Violation> {
    let volumes = pod.list("volumes").iter().filter(|volume| volume.get("hostPath").is_some());
    let names: Vec<&str> = volumes.map(name).collect();
    if names.is_empty() { None } else { violation("hostPath volumes", listed("volume", &names)) }
}

pub(super) fn host_ports(pod: &Pod<'_>) -> Option<Violation> {
    let taken = |container: &Value| -> Vec<String> {
        let ports = list_at(container, "ports").iter().filter_map(|port| int_at(port, "hostPort"));
        ports.filter(|port| *port != 0).map(|port| port.to_string()).collect()
    };
    let names = pod.names_where(|container| !taken(container).is_empty());
    let ports: Vec<String> = pod.containers.iter().flat_map(|container| taken(container)).collect();
    let ports = distinct(ports.iter().map(String::as_str));
    if names.is_empty() {
        return None;
    }
    let (uses, what) = (if names.len() == 1 { "uses" } else { "use" }, counted("hostPort", ports.len()));
    violation("hostPort", format!("{} {uses} {what} {}", listed("container", &names), ports.join(", ")))
}

/// Probes and hooks that ask another host than the pod let the node ask in the pod's stead.
pub(super) fn handler_hosts(pod: &Pod<'_>) -> Option<Violation> {
    const HANDLERS: [&str; 5] =
        ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle.postStart", "lifecycle.preStop"];
    let asked = |container: &'_ Value| -> Vec<String> {
        let handlers = HANDLERS.iter().filter_map(|path| at(container, path));
        let hosts =
            handlers.flat_map(|handler| [str_at(handler, "httpGet.host"), str_at(handler, "tcpSocket.host")]);
        hosts.filter(|host| !host.is_empty()).map(str::to_owned).collect()
    };
    let names = distinct(pod.names_where(|container| !asked(container).is_empty()));
    let hosts: Vec<String> = pod.containers.iter().flat_map(|container| asked(container)).collect();
    let hosts = distinct(hosts.iter().map(String::as_str));
    if names.is_empty() {
        return None;
    }
    let uses = if names.len() == 1 { "uses" } else { "use" };
    let what = counted("probe or lifecycle host", hosts.len());
    violation(
        "probe or lifecycle host",
        format!("{} {uses} {what} {}", listed("container", &names), quoted(&hosts)),
    )
}

pub(super) fn privileged(pod: &Pod<'_>) -> Option<Violation> {
    let names =
        pod.names_where(|container| at(container, "securityContext.privileged") == Some(&Value::Bool(true)));
    if names.is_empty() {
        return None;
    }
    let detail = format!("{} must not set securityContext.privileged=true", listed("container", &names));
    violation("privileged", detail)
}

pub(super) fn proc_mount(pod: &Pod<'_>) -> Option<Violation> {
    let path = "securityContext.procMount";
    let other = |container: &Value| at(container, path).is_some_and(|kind| kind != "Default");
    let names = pod.names_where(other);
    let kinds = distinct(pod.containers.iter().filter(|c| other(c)).map(|container| str_at(container, path)));
    if names.is_empty() {
        return None;
    }
    let containers = listed("container", &names);
    violation("procMount", format!("{containers} must not set {path} to {}", quoted(&kinds)))
}

pub(super) fn proc_mount_among_host_users(pod: &Pod<'_>) -> Option<Violation> {
    among_host_users(pod, proc_mount)
}

pub(super) fn selinux(pod: &Pod<'_>) -> Option<Violation> {
    selinux_but(pod, &SELINUX_TYPES)
}

pub(super) fn selinux_with_engine(pod: &Pod<'_>) -> Option<Violation> {
    let types: Vec<&str> = SELINUX_TYPES.into_iter().chain(["container_engine_t"]).collect();
    selinux_but(pod, &types)
}

fn selinux_but(pod: &Pod<'_>, types: &[&str]) -> Option<Violation> {
    let path = "securityContext.seLinuxOptions";
    let all = || {
        pod.spec(path).into_iter().chain(pod.containers.iter().filter_map(|container| at(container, path)))
    };
    let is_wrong_type = |options: &Value| !types.contains(&str_at(options, "type"));
    let is_set = |field: &str| all().any(|options| !str_at(options, field).is_empty());
    let is_wrong = |options: &Value| {
        is_wrong_type(options) || ["user", "role"].iter().any(|field| !str_at(options, field).is_empty())
    };
    let names = pod.names_where(|container| at(container, path).is_some_and(is_wrong));
    let setters = setters(pod.spec(path).is_some_and(is_wrong), &names);
    if setters.is_empty() {
        return None;
    }
    let wrong =
        distinct(all().filter(|options| is_wrong_type(options)).map(|options| str_at(options, "type")));
    let mut faults = Vec::new();
    if !wrong.is_empty() {
        faults.push(listed("type", &wrong));
    }
    let fields = ["user", "role"].into_iter().filter(|field| is_set(field));
    faults.extend(fields.map(|field| format!("{field} may not be set")));
    violation("seLinuxOptions", format!("{setters} set forbidden {path}: {}", faults.join("; ")))
}

pub(super) fn seccomp_annotations(pod: &Pod<'_>) -> Option<Violation> {
    let is_right = |value: &str| {
        matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/")
    };
    let wrong = pod.seccomp_annotations().into_iter().filter(|(_, value)| !is_right(value));
    let mut wrong: Vec<String> = wrong.map(|(key, value)| format!("{key}={value:?}")).collect();
    wrong.sort();
    if wrong.is_empty() {
        return None;
    }
    let what = counted("annotation", wrong.len());
    violation("seccompProfile", format!("forbidden {what} {}", wrong.join(", ")))
}

pub(super) fn seccomp(pod: &Pod<'_>) -> Option<Violation> {
    let (setters, values) = wrong(pod, "seccompProfile.type", is_seccomp_profile);
    if setters.is_empty() {
        return None;
    }
    let detail = format!("{setters} must not set securityContext.seccompProfile.type to {}", quoted(&values));
    violation("seccompProfile", detail)
}

pub(super) fn is_seccomp_profile(kind: &str) -> bool {
    matches!(kind, "RuntimeDefault" | "Localhost")
}

pub(super) fn sysctls(pod: &Pod<'_>) -> Option<Violation> {
    sysctls_but(pod, &SYSCTLS[..5])
}

pub(super) fn sysctls_of_27(pod: &Pod<'_>) -> Option<Violation> {
    sysctls_but(pod, &SYSCTLS[..6])
}

pub(super) fn sysctls_of_29(pod: &Pod<'_>) -> Option<Violation> {
    sysctls_but(pod, &SYSCTLS[..10])
}

pub(super) fn sysctls_of_32(pod: &Pod<'_>) -> Option<Violation> {
    sysctls_but(pod, &SYSCTLS)
}

fn sysctls_but(pod: &Pod<'_>, allowed: &[&str]) -> Option<Violation> {
    let names = pod.list("securityContext.sysctls").iter().map(name);
    let forbidden: Vec<&str> = names.filter(|name| !allowed.contains(name)).collect();
    if forbidden.is_empty() { None } else { violation("forbidden sysctls", forbidden.join(", ")) }
}

pub(super) fn windows_host_process(pod: &Pod<'_>) -> Option<Violation> {
    let path = "securityContext.windowsOptions.hostProcess";
    let names = pod.names_where(|container| at(container, path) == Some(&Value::Bool(true)));
    let setters = setters(pod.is(path, true), &names);
    if setters.is_empty() {
        None
    } else {
        violation("hostProcess", format!("{setters} must not set {path}=true"))
    }
}
