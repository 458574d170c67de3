//! Security contexts of pods and containers.

use super::containers::descending;
use crate::kinds::cursor::Cursor;
use crate::kinds::meta::{as_go, one_of, reject};
use crate::kinds::names;
use crate::kinds::view::{repeats, str_at};
use crate::status::Problems;

/// The longest name of a sysctl.
const SYSCTL_LENGTH_MAX: usize = 253;

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
    if context.child("seLinuxChangePolicy").exists() {
        one_of(&context.child("seLinuxChangePolicy"), &["MountOption", "Recursive"], problems);
    }
}

/// A pod that says it is for Linux has nothing to say to Windows.
pub(super) fn validate_os(spec: &Cursor<'_>, problems: &mut Problems) {
    if spec.child("os").child("name").text() != "linux" {
        return;
    }
    let refuse = |context: Cursor<'_>, problems: &mut Problems| {
        if context.child("windowsOptions").exists() {
            let detail = "windows options cannot be set for a linux pod";
            problems.forbidden(context.child("windowsOptions"), detail);
        }
    };
    refuse(spec.child("securityContext"), problems);
    for list in ["initContainers", "containers"] {
        for container in spec.child(list).items() {
            refuse(container.child("securityContext"), problems);
        }
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
            problems.invalid(context, &as_go(context.value()), detail);
        }
        let capabilities = context.child("capabilities");
        if capabilities.child("add").list().iter().any(|name| name == "CAP_SYS_ADMIN") {
            let detail =
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            problems.invalid(context, &as_go(context.value()), detail);
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
        if name.is_empty() {
            problems.required(name, "");
        } else if !is_sysctl(name.text()) {
            let detail = format!(
                "must have at most {SYSCTL_LENGTH_MAX} characters and match regex \
                 ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
            );
            problems.invalid(name, name.value(), &detail);
        } else if is_repeated {
            problems.duplicate(name, name.value());
        }
    }
}

/// Whether a text can name a sysctl: segments between dots or slashes, each with a letter or digit at both ends.
fn is_sysctl(name: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let is_segment = |segment: &str| {
        let bytes = segment.as_bytes();
        let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(b);
        bytes.iter().all(inner) && is_end(bytes.first()) && is_end(bytes.last())
    };
    name.len() <= SYSCTL_LENGTH_MAX && name.split(['.', '/']).all(is_segment)
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
