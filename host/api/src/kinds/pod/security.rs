//! Security contexts of pods and containers.

use super::containers::descending;
use crate::kinds::cursor::Cursor;
use crate::kinds::meta::{one_of, reject};
use crate::kinds::names;
use crate::kinds::view::{repeats, str_at};
use crate::status::Problems;

const PROFILES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];

/// Checks the pod's `securityContext` and what of the host it shares.
pub(super) fn validate_pod_context(spec: &Cursor<'_>, problems: &mut Problems) {
    if spec.child("hostNetwork").is_true() {
        validate_host_network(spec, problems);
    }
    let context = spec.child("securityContext");
    validate_ids(&context, &["fsGroup", "runAsUser", "runAsGroup"], problems);
    for group in context.child("supplementalGroups").items() {
        reject(&group, names::id_number(group.int().unwrap_or_default()), problems);
    }
    let shared = spec.child("shareProcessNamespace");
    if shared.is_true() && spec.child("hostPID").is_true() {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        problems.invalid(shared, shared.value(), detail);
    }
    validate_sysctls(&context.child("sysctls"), problems);
    if context.child("fsGroupChangePolicy").exists() {
        one_of(&context.child("fsGroupChangePolicy"), &["Always", "OnRootMismatch"], problems);
    }
    validate_seccomp(&context.child("seccompProfile"), problems);
    validate_app_armor(&context.child("appArmorProfile"), problems);
    if context.child("supplementalGroupsPolicy").exists() {
        one_of(&context.child("supplementalGroupsPolicy"), &["Merge", "Strict"], problems);
    }
}

/// On the host's network a container cannot listen on another port than the host's.
fn validate_host_network(spec: &Cursor<'_>, problems: &mut Problems) {
    for container in spec.child("containers").items() {
        for port in container.child("ports").items() {
            let number = port.child("containerPort");
            if port.child("hostPort").int() != number.int() {
                let detail = "must match `hostPort` when `hostNetwork` is true";
                problems.invalid(number, number.value(), detail);
            }
        }
    }
}

/// A pod with users of its own cannot share the host's other namespaces.
pub(super) fn validate_host_users(spec: &Cursor<'_>, problems: &mut Problems) {
    if spec.child("hostUsers").value().as_bool() != Some(false) {
        return;
    }
    for key in ["hostNetwork", "hostPID", "hostIPC"] {
        if spec.child(key).is_true() {
            problems.forbidden(spec.child(key), "when `hostUsers` is false");
        }
    }
}

/// Checks a container's `securityContext`.
pub(super) fn validate_container_context(context: &Cursor<'_>, problems: &mut Problems) {
    if !context.exists() {
        return;
    }
    validate_ids(context, &["runAsUser", "runAsGroup"], problems);
    if context.child("procMount").exists() {
        one_of(&context.child("procMount"), &["Default", "Unmasked"], problems);
    }
    validate_seccomp(&context.child("seccompProfile"), problems);
    validate_app_armor(&context.child("appArmorProfile"), problems);
    if context.child("allowPrivilegeEscalation").value().as_bool() == Some(false) {
        if context.child("privileged").is_true() {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            problems.invalid(context, context.value(), detail);
        }
        let capabilities = context.child("capabilities");
        if capabilities.child("add").list().iter().any(|name| name == "CAP_SYS_ADMIN") {
            let detail =
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            problems.invalid(context, context.value(), detail);
        }
    }
}

fn validate_ids(context: &Cursor<'_>, keys: &[&str], problems: &mut Problems) {
    for key in keys {
        let id = context.child(key);
        if let Some(value) = id.int() {
            reject(&id, names::id_number(value), problems);
        }
    }
}

fn validate_sysctls(sysctls: &Cursor<'_>, problems: &mut Problems) {
    let repeated = repeats(sysctls.list(), |sysctl| str_at(sysctl, "name"));
    for (sysctl, is_repeated) in sysctls.items().zip(repeated) {
        let name = sysctl.child("name");
        let parts = || name.text().split(['.', '/']);
        let is_part = |part: &str| {
            part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
                && part.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        };
        if name.is_empty() {
            problems.required(name, "");
        } else if !parts().all(is_part) {
            let detail = "must have at most 253 characters and match regex \
                ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9][-_a-z0-9]*[a-z0-9]?$";
            problems.invalid(name, name.value(), detail);
        } else if is_repeated {
            problems.duplicate(name, name.value());
        }
    }
}

fn validate_seccomp(profile: &Cursor<'_>, problems: &mut Problems) {
    validate_profile(profile, "seccomp", "seccompProfile", problems);
    let local = profile.child("localhostProfile");
    if profile.child("type").text() == "Localhost" && local.exists() {
        descending(&local.path(), local.text(), problems);
    }
}

fn validate_app_armor(profile: &Cursor<'_>, problems: &mut Problems) {
    validate_profile(profile, "AppArmor", "appArmorProfile", problems);
    let local = profile.child("localhostProfile");
    if profile.child("type").text() == "Localhost" && local.exists() && local.text().trim() != local.text() {
        problems.invalid(local, local.value(), "must not be padded with whitespace");
    }
}

fn validate_profile(profile: &Cursor<'_>, what: &str, field: &str, problems: &mut Problems) {
    if !profile.exists() {
        return;
    }
    let (kind, local) = (profile.child("type"), profile.child("localhostProfile"));
    if kind.is_empty() {
        problems.required(kind, &format!("type is required when {field} is set"));
    } else {
        one_of(&kind, &PROFILES, problems);
    }
    match (kind.text() == "Localhost", local.exists()) {
        (true, false) => problems.required(local, &format!("must be set when {what} type is Localhost")),
        (false, true) => {
            problems.invalid(local, local.value(), &format!("can only be set when {what} type is Localhost"));
        }
        _ => {}
    }
}
