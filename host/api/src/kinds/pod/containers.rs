//! Containers and init containers: names, images, ports and what they mount.

use std::collections::BTreeSet;

use super::{env, probes, resources, security};
use crate::kinds::cursor::Cursor;
use crate::kinds::meta::{one_of, reject};
use crate::kinds::names;
use crate::kinds::view::{repeats, str_at};
use crate::status::Problems;

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
/// As many restart rules as a container may have.
const RESTART_RULES_MAX: usize = 20;
/// As many exit codes as there are beside success.
const EXIT_CODES_MAX: usize = 255;

/// Checks all containers of a pod spec.
pub(super) fn validate_all(spec: &Cursor<'_>, problems: &mut Problems) {
    let mut names_seen = BTreeSet::new();
    let grace_s = spec.child("terminationGracePeriodSeconds").int().unwrap_or_default();
    let containers = spec.child("containers");
    if containers.is_empty() {
        problems.required(containers, "");
    }
    for container in containers.items() {
        validate_common(&container, spec, problems);
        validate_restart(&container, problems);
        check_unique_name(&container, &mut names_seen, problems);
        probes::validate_all(&container, grace_s, problems);
        refuse_own_restart(&container, spec.child("restartPolicy").text(), problems);
    }
    let mut host_ports = BTreeSet::new();
    for container in containers.items() {
        check_host_ports(&container, &mut host_ports, problems);
    }
    for container in spec.child("initContainers").items() {
        validate_common(&container, spec, problems);
        validate_restart(&container, problems);
        check_unique_name(&container, &mut names_seen, problems);
        // Plain init containers run one after the other: each has the host's ports for itself.
        check_host_ports(&container, &mut BTreeSet::new(), problems);
        if container.child("restartPolicy").text() == "Always" {
            probes::validate_all(&container, grace_s, problems);
        } else {
            refuse_long_running(&container, problems);
            for policy in container.child("resizePolicy").items() {
                let restart = policy.child("restartPolicy");
                if restart.text() == "RestartContainer" {
                    let detail = "must not be set to 'RestartContainer' for non-sidecar initContainers";
                    problems.invalid(restart, restart.value(), detail);
                }
            }
        }
    }
}

fn refuse_long_running(container: &Cursor<'_>, problems: &mut Problems) {
    for key in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if container.child(key).exists() {
            let detail = "may not be set for init containers without restartPolicy=Always";
            problems.forbidden(container.child(key), detail);
        }
    }
}

fn check_unique_name(container: &Cursor<'_>, seen: &mut BTreeSet<String>, problems: &mut Problems) {
    let name = container.child("name");
    if !name.is_empty() && !seen.insert(name.text().to_owned()) {
        problems.duplicate(name, name.value());
    }
}

/// What holds for every container, in the order of the API server.
fn validate_common(container: &Cursor<'_>, spec: &Cursor<'_>, problems: &mut Problems) {
    let name = container.child("name");
    if name.is_empty() {
        problems.required(name, "");
    } else {
        reject(&name, names::label_1123(name.text()), problems);
    }
    if container.child("image").is_empty() {
        problems.required(container.child("image"), "");
    }
    let message_policies = ["FallbackToLogsOnError", "File"];
    one_of(&container.child("terminationMessagePolicy"), &message_policies, problems);
    validate_ports(&container.child("ports"), problems);
    env::validate_env(&container.child("env"), problems);
    env::validate_env_from(&container.child("envFrom"), problems);
    validate_mounts(container, &spec.child("volumes"), problems);
    one_of(&container.child("imagePullPolicy"), &["Always", "IfNotPresent", "Never"], problems);
    resources::validate_requirements(&container.child("resources"), problems);
    let pod_restart = spec.child("restartPolicy").text();
    validate_resize(&container.child("resizePolicy"), pod_restart, problems);
    security::validate_container_context(&container.child("securityContext"), problems);
}

fn validate_ports(ports: &Cursor<'_>, problems: &mut Problems) {
    let mut names_seen = BTreeSet::new();
    for port in ports.items() {
        let (name, number, host) = (port.child("name"), port.child("containerPort"), port.child("hostPort"));
        if !name.is_empty() {
            let faults = names::port_name(name.text());
            if faults.is_empty() && !names_seen.insert(name.text().to_owned()) {
                problems.duplicate(name, name.value());
            }
            reject(&name, faults, problems);
        }
        match number.int().unwrap_or_default() {
            0 => problems.required(number, ""),
            value => reject(&number, names::port_number(value), problems),
        }
        if let Some(value) = host.int().filter(|&value| value != 0) {
            reject(&host, names::port_number(value), problems);
        }
        one_of(&port.child("protocol"), &PROTOCOLS, problems);
    }
}

/// No two ports of one pod may claim the same port of the host.
fn check_host_ports(container: &Cursor<'_>, seen: &mut BTreeSet<String>, problems: &mut Problems) {
    for port in container.child("ports").items() {
        let host_port = port.child("hostPort");
        let Some(number) = host_port.int().filter(|&number| number != 0) else { continue };
        let claim = format!("{}/{}/{number}", port.child("protocol").text(), port.child("hostIP").text());
        if seen.contains(&claim) {
            problems.duplicate(host_port, &claim.into());
        } else {
            seen.insert(claim);
        }
    }
}

fn validate_mounts(container: &Cursor<'_>, volumes: &Cursor<'_>, problems: &mut Problems) {
    let mounts = container.child("volumeMounts");
    let privileged = container.child("securityContext").child("privileged").is_true();
    let volumes: BTreeSet<&str> = volumes.list().iter().map(|volume| str_at(volume, "name")).collect();
    let repeated = repeats(mounts.list(), |mount| str_at(mount, "mountPath"));
    for (index, mount) in mounts.items().enumerate() {
        let (name, path) = (mount.child("name"), mount.child("mountPath"));
        if name.is_empty() {
            problems.required(name, "");
        }
        if !volumes.contains(name.text()) {
            problems.not_found(name, &name.text().into());
        }
        if path.is_empty() {
            problems.required(path, "");
        }
        if repeated[index] {
            problems.invalid(path, &path.text().into(), "must be unique");
        }
        validate_sub_path(&mounts, &mount, problems);
        validate_propagation(&mounts, &mount, privileged, problems);
        validate_recursive(&mount, problems);
    }
}

/// The API server leaves the index out of these paths.
fn validate_sub_path(mounts: &Cursor<'_>, mount: &Cursor<'_>, problems: &mut Problems) {
    let (path, expression) = (mount.child("subPath"), mount.child("subPathExpr"));
    if !path.is_empty() {
        descending(&mounts.child("subPath").path(), path.text(), problems);
    }
    if !expression.is_empty() {
        if !path.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            problems.invalid(expression, expression.value(), detail);
        }
        descending(&mounts.child("subPathExpr").path(), expression.text(), problems);
    }
}

fn validate_propagation(mounts: &Cursor<'_>, mount: &Cursor<'_>, privileged: bool, problems: &mut Problems) {
    let mode = mount.child("mountPropagation");
    if !mode.exists() {
        return;
    }
    let path = mounts.child("mountPropagation").path();
    match mode.text() {
        "Bidirectional" if !privileged => {
            problems.forbidden(
                path,
                "Bidirectional mount propagation is available only to privileged containers",
            );
        }
        "None" | "HostToContainer" | "Bidirectional" => {}
        _ => problems.not_supported(path, mode.value(), &["Bidirectional", "HostToContainer", "None"]),
    }
}

fn validate_recursive(mount: &Cursor<'_>, problems: &mut Problems) {
    let recursive = mount.child("recursiveReadOnly");
    match recursive.text() {
        "" | "Disabled" => {}
        "Enabled" | "IfPossible" if !mount.child("readOnly").is_true() => {
            problems.forbidden(recursive, "may only be specified when readOnly is true");
        }
        "Enabled" | "IfPossible" => {}
        _ => problems.not_supported(recursive, recursive.value(), &["Disabled", "Enabled", "IfPossible"]),
    }
}

/// A relative path that never leaves the directory it starts from.
pub(super) fn descending(at: &str, path: &str, problems: &mut Problems) {
    if path.starts_with('/') {
        problems.invalid(at, &path.into(), "must be a relative path");
    }
    no_backsteps(at, path, problems);
}

/// A path without `..`.
pub(super) fn no_backsteps(at: &str, path: &str, problems: &mut Problems) {
    if path.split('/').any(|part| part == "..") {
        problems.invalid(at, &path.into(), "must not contain '..'");
    }
}

/// Most causes name the list, not the item, as the API server's do.
fn validate_resize(policies: &Cursor<'_>, pod_restart: &str, problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for policy in policies.items() {
        let (resource, restart) = (policy.child("resourceName"), policy.child("restartPolicy"));
        if !seen.insert(resource.text().to_owned()) {
            problems.duplicate(policy, resource.value());
        }
        for (part, supported) in
            [(resource, &["cpu", "memory"]), (restart, &["NotRequired", "RestartContainer"])]
        {
            if part.is_empty() {
                problems.required(policies, "");
            } else if !supported.contains(&part.text()) {
                problems.not_supported(policies, part.value(), supported);
            }
        }
        if pod_restart == "Never" && restart.text() != "NotRequired" {
            let detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            problems.invalid(policies, &restart.text().into(), detail);
        }
    }
}

/// When a container itself is started again, whatever the pod says.
fn validate_restart(container: &Cursor<'_>, problems: &mut Problems) {
    let (policy, rules) = (container.child("restartPolicy"), container.child("restartPolicyRules"));
    if !policy.exists() {
        if !rules.is_empty() {
            problems.required(policy, "must specify restartPolicy when restart rules are used");
        }
    } else {
        one_of(&policy, &["Always", "Never", "OnFailure"], problems);
    }
    if rules.list().len() > RESTART_RULES_MAX {
        problems.too_many(rules, rules.list().len(), RESTART_RULES_MAX);
    }
    for rule in rules.items() {
        one_of(&rule.child("action"), &["Restart", "RestartAllContainers"], problems);
        let codes = rule.child("exitCodes");
        if !codes.exists() {
            problems.required(codes, "must be specified");
            continue;
        }
        one_of(&codes.child("operator"), &["In", "NotIn"], problems);
        let values = codes.child("values");
        if values.list().len() > EXIT_CODES_MAX {
            problems.too_many(values, values.list().len(), EXIT_CODES_MAX);
        }
    }
}

/// Berth starts a container again as its pod says; a policy of its own is a promise only where it says otherwise.
fn refuse_own_restart(container: &Cursor<'_>, pod_restart: &str, problems: &mut Problems) {
    let policy = container.child("restartPolicy");
    if policy.text() == "Always" && pod_restart != "Always" {
        let detail = format!("Berth restarts the containers of a pod alike, here {pod_restart}");
        problems.forbidden(policy, &detail);
    }
}
