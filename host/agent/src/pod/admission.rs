//! Pods that this node refuses to run: what they ask for would be denied to them in silence, or is not theirs to have.

use crate::manifest::{AppArmorProfile, Pod};
use crate::pod::observed::{FailureReason, Refusal};
use crate::sysctl::{Namespace, SysctlPattern, dotted, namespace};

/// Kernel parameters that a pod may set unless the node's administrator forbids it: each has an effect on that pod alone.
/// The kubelet's list.
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// Why this node does not run the pod, if it does not.
pub(crate) fn refusal(pod: &Pod, allowed: &[SysctlPattern], has_app_armor: bool) -> Option<Refusal> {
    forbidden_sysctl(pod, allowed).or_else(|| app_armor(pod, has_app_armor))
}

fn forbidden_sysctl(pod: &Pod, allowed: &[SysctlPattern]) -> Option<Refusal> {
    let why_not = |name: &str| {
        let is_allowed = SAFE_SYSCTLS.contains(&name) || allowed.iter().any(|pattern| pattern.matches(name));
        match namespace(name) {
            Some(_) if !is_allowed => Some("not allowlisted; see berth up --allowed-unsafe-sysctls"),
            Some(Namespace::Net) if pod.spec.host_network => Some("not allowed with host net enabled"),
            Some(Namespace::Ipc) if pod.spec.host_ipc => Some("not allowed with host ipc enabled"),
            Some(_) => None,
            None => Some("not allowlisted: it would change the whole machine"),
        }
    };
    let names = pod.spec.security_context.sysctls.iter().map(|sysctl| dotted(&sysctl.name));
    let (name, why) = names.into_iter().find_map(|name| why_not(&name).map(|why| (name, why)))?;
    let message = format!("forbidden sysctl: {name:?} {why}");
    Some(Refusal { reason: FailureReason::SysctlForbidden, message })
}

fn app_armor(pod: &Pod, has_app_armor: bool) -> Option<Refusal> {
    /// How profiles were asked for before there was a field.
    const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";
    let is_local =
        |profile: &Option<AppArmorProfile>| profile.as_ref().is_some_and(|p| p.kind == "Localhost");
    let annotated =
        |(name, value): (&String, &String)| name.starts_with(ANNOTATION) && value.starts_with("localhost/");
    let asked = is_local(&pod.spec.security_context.app_armor_profile)
        || pod.containers().any(|container| is_local(&container.security_context.app_armor_profile))
        || pod.metadata.annotations.iter().any(annotated);
    let why = if has_app_armor { "Berth loads no profiles" } else { "AppArmor is not enabled on the host" };
    let message = format!("Cannot enforce AppArmor: {why}");
    asked.then_some(Refusal { reason: FailureReason::AppArmor, message })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_safe_and_allowed_parameters_of_the_pods_own_namespaces_are_set() {
        let allowed: Vec<SysctlPattern> =
            ["kernel.msg*", "net/core/somaxconn"].iter().map(|text| text.parse().unwrap()).collect();
        let check = |name: &str, shares: &[&str]| {
            let mut spec = json!({ "securityContext": { "sysctls": [
                { "name": "net.ipv4.tcp_syncookies", "value": "0" }, { "name": name, "value": "1" },
            ] } });
            for field in shares {
                spec[*field] = json!(true);
            }
            if shares.contains(&"hostNetwork") {
                spec["securityContext"]["sysctls"].as_array_mut().unwrap().remove(0);
            }
            let pod = Pod::from_value(json!({ "spec": spec })).unwrap();
            refusal(&pod, &allowed, false).map(|refusal| refusal.message)
        };
        let refused = |why: &str| Some(format!("forbidden sysctl: {why}"));
        let unsafe_one =
            |name: &str| refused(&format!("{name:?} not allowlisted; see berth up --allowed-unsafe-sysctls"));
        assert_eq!(check("kernel.shm_rmid_forced", &[]), None);
        assert_eq!(check("net.ipv4.ip_unprivileged_port_start", &[]), None);
        assert_eq!(check("net/ipv4/ping_group_range", &[]), None);
        assert_eq!(check("kernel.msgmax", &[]), None);
        assert_eq!(check("net.core.somaxconn", &[]), None);
        assert_eq!(check("net.core.somaxconn2", &[]), unsafe_one("net.core.somaxconn2"));
        assert_eq!(check("net.ipv4.ip_forward", &[]), unsafe_one("net.ipv4.ip_forward"));
        assert_eq!(check("kernel.shmmax", &[]), unsafe_one("kernel.shmmax"));
        let everybody = "not allowlisted: it would change the whole machine";
        assert_eq!(check("vm.swappiness", &[]), refused(&format!("\"vm.swappiness\" {everybody}")));
        let shared = "\"kernel.msgmax\" not allowed with host ipc enabled";
        assert_eq!(check("kernel.msgmax", &["hostIPC"]), refused(shared));
        let shared = "\"net.core.somaxconn\" not allowed with host net enabled";
        assert_eq!(check("net.core.somaxconn", &["hostNetwork"]), refused(shared));
        assert_eq!(check("kernel.msgmax", &["hostNetwork"]), None);
    }

    #[test]
    fn a_profile_that_cannot_be_enforced_is_refused_and_the_default_is_not() {
        let check = |metadata: serde_json::Value, kind: &str, has_app_armor| {
            let security = json!({ "appArmorProfile": { "type": kind, "localhostProfile": "p" } });
            let spec = json!({ "containers": [{ "name": "c", "securityContext": security }] });
            let pod = Pod::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap();
            refusal(&pod, &[], has_app_armor).map(|refusal| refusal.message)
        };
        assert_eq!(check(json!({}), "RuntimeDefault", false), None);
        assert_eq!(check(json!({}), "Unconfined", true), None);
        let absent = Some("Cannot enforce AppArmor: AppArmor is not enabled on the host".to_owned());
        assert_eq!(check(json!({}), "Localhost", false), absent);
        assert_eq!(
            check(json!({}), "Localhost", true),
            Some("Cannot enforce AppArmor: Berth loads no profiles".to_owned())
        );
        let old =
            json!({ "annotations": { "container.apparmor.security.beta.kubernetes.io/c": "localhost/p" } });
        assert_eq!(check(old, "Unconfined", false), absent);
    }
}
