//! What each check takes and refuses, and from which version on.

use berth_json::{Value, json};

use super::{Level, Policy, Standard, Version};

/// A pod that keeps to the strictest standard, with one container, `c`.
fn hardened() -> Value {
    json!({"metadata": {}, "spec": {
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "c", "image": "i", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        }}],
    }})
}

/// That pod, with some of it otherwise: `null` takes away.
fn but(changes: &[(&str, Value)]) -> Value {
    let mut pod = hardened();
    for (pointer, value) in changes {
        let mut at = &mut pod;
        for part in pointer.split('/') {
            at = match part.parse::<usize>() {
                Ok(index) => {
                    let list = at.as_array_mut().expect("a list");
                    if index == list.len() {
                        list.push(json!({}));
                    }
                    &mut list[index]
                }
                Err(_) => &mut at[part],
            };
        }
        *at = value.clone();
    }
    pod
}

fn found(level: Level, version: &str, pod: &Value) -> Vec<String> {
    let version = Version::parse(version).expect("a version");
    Standard { level, version }.violations(pod).iter().map(ToString::to_string).collect()
}

#[test]
fn a_hardened_pod_keeps_to_every_standard() {
    for version in ["v1.0", "v1.19", "v1.25", "v1.34", "v1.99", "latest"] {
        for level in [Level::Privileged, Level::Baseline, Level::Restricted] {
            assert_eq!(found(level, version, &hardened()), [""; 0], "{level:?} {version}");
        }
    }
}

#[test]
fn a_usual_pod_keeps_to_the_baseline_and_hears_what_else_is_asked() {
    let pod = json!({"spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "c"}]}});
    assert_eq!(found(Level::Baseline, "latest", &pod), [""; 0]);
    assert_eq!(
        found(Level::Restricted, "latest", &pod),
        [
            "allowPrivilegeEscalation != false (containers \"i\", \"c\" must set securityContext.allowPrivilegeEscalation=false)",
            "unrestricted capabilities (containers \"i\", \"c\" must set securityContext.capabilities.drop=[\"ALL\"])",
            "runAsNonRoot != true (pod or containers \"i\", \"c\" must set securityContext.runAsNonRoot=true)",
            "seccompProfile (pod or containers \"i\", \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" \
             or \"Localhost\")",
        ]
    );
}

#[test]
fn what_the_baseline_refuses() {
    let context = "spec/containers/0/securityContext";
    let of = |field: &str| format!("{context}/{field}");
    let selinux = "seLinuxOptions (pod and container \"c\" set forbidden securityContext.seLinuxOptions: type \"spc_t\"; user \
                   may not be set; role may not be set)";
    let two = json!([{"name": "c", "ports": [{"hostPort": 9}, {"hostPort": 0}]}, {"name": "d", "ports": [{"hostPort": 10}]}]);
    for (changes, expected) in [
        (
            vec![
                ("spec/hostNetwork", json!(true)),
                ("spec/hostPID", json!(true)),
                ("spec/hostIPC", json!(true)),
            ],
            "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)",
        ),
        (
            vec![("spec/volumes", json!([{"name": "v", "hostPath": {"path": "/"}}]))],
            "hostPath volumes (volume \"v\")",
        ),
        (vec![("spec/containers", two)], "hostPort (containers \"c\", \"d\" use hostPorts 10, 9)"),
        (
            vec![
                ("spec/containers/0/livenessProbe", json!({"httpGet": {"host": "10.0.0.1"}})),
                ("spec/containers/0/lifecycle", json!({"preStop": {"tcpSocket": {"host": "h"}}})),
            ],
            "probe or lifecycle host (container \"c\" uses probe or lifecycle hosts \"10.0.0.1\", \"h\")",
        ),
        (
            vec![(&of("privileged"), json!(true))],
            "privileged (container \"c\" must not set securityContext.privileged=true)",
        ),
        (
            vec![(
                "spec/ephemeralContainers",
                json!([{"name": "e", "securityContext": {"privileged": true}}]),
            )],
            "privileged (container \"e\" must not set securityContext.privileged=true)",
        ),
        (
            vec![(&of("capabilities/add"), json!(["SYS_ADMIN", "CHOWN", "BPF"]))],
            "non-default capabilities (container \"c\" must not include \"BPF\", \"SYS_ADMIN\" in securityContext.capabilities.add)",
        ),
        (
            vec![(&of("procMount"), json!("Unmasked"))],
            "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            vec![
                ("spec/securityContext/seLinuxOptions", json!({"type": "spc_t", "user": "u"})),
                (&of("seLinuxOptions"), json!({"role": "r"})),
            ],
            selinux,
        ),
        (
            vec![
                ("spec/securityContext/seccompProfile/type", json!("Unconfined")),
                (&of("seccompProfile"), json!({"type": "Unconfined"})),
            ],
            "seccompProfile (pod and container \"c\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            vec![(
                "spec/securityContext/sysctls",
                json!([{"name": "kernel.msgmax"}, {"name": "net.ipv4.tcp_rmem"}]),
            )],
            "forbidden sysctls (kernel.msgmax)",
        ),
        (
            vec![("spec/securityContext/windowsOptions", json!({"hostProcess": true}))],
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
        (
            vec![(&of("appArmorProfile"), json!({"type": "Unconfined"}))],
            "forbidden AppArmor profile (container \"c\" must not set AppArmor profile type to \"Unconfined\")",
        ),
        (
            vec![
                ("spec/securityContext/appArmorProfile", json!({"type": "Unconfined"})),
                (
                    "metadata/annotations",
                    json!({"container.apparmor.security.beta.kubernetes.io/c": "unconfined"}),
                ),
            ],
            "forbidden AppArmor profiles (pod and annotation must not set AppArmor profile type to \"Unconfined\", \
          \"container.apparmor.security.beta.kubernetes.io/c=\"unconfined\"\")",
        ),
    ] {
        assert_eq!(found(Level::Baseline, "latest", &but(&changes)), [expected]);
    }
}

#[test]
fn what_the_level_restricted_refuses_besides() {
    let context = "spec/containers/0/securityContext";
    let of = |field: &str| format!("{context}/{field}");
    let volumes = json!([{"name": "a", "hostPath": {"path": "/"}}, {"name": "b", "nfs": {}}, {"name": "c", "emptyDir": {}}]);
    for (changes, expected) in [
        (
            vec![(&*of("allowPrivilegeEscalation"), json!(true))],
            "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false)",
        ),
        (
            vec![(&of("capabilities"), json!({"add": ["CHOWN", "NET_BIND_SERVICE"]}))],
            "unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]; container \"c\" must \
          not include \"CHOWN\" in securityContext.capabilities.add)",
        ),
        (
            vec![(&of("procMount"), json!("Unmasked")), ("spec/hostUsers", json!(false))],
            "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            vec![("spec/volumes", volumes)],
            "restricted volume types (volumes \"a\", \"b\" use restricted volume types \"hostPath\", \"nfs\")",
        ),
        (
            vec![("spec/securityContext/runAsNonRoot", json!(false)), (&of("runAsNonRoot"), json!(false))],
            "runAsNonRoot != true (pod and container \"c\" must not set securityContext.runAsNonRoot=false)",
        ),
        (
            vec![("spec/securityContext/runAsNonRoot", Value::Null)],
            "runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true)",
        ),
        (
            vec![("spec/securityContext/runAsUser", json!(0)), (&of("runAsUser"), json!(0))],
            "runAsUser=0 (pod and container \"c\" must not set runAsUser=0)",
        ),
        (
            vec![("spec/securityContext/seccompProfile", Value::Null)],
            "seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \
          \"Localhost\")",
        ),
        (
            vec![(&of("seccompProfile"), json!({"type": "Unconfined"}))],
            "seccompProfile (container \"c\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
    ] {
        let pod = but(&changes);
        assert_eq!(found(Level::Restricted, "latest", &pod), [expected]);
    }
}

#[test]
fn what_a_container_says_itself_counts() {
    for changes in [
        vec![
            ("spec/securityContext/runAsNonRoot", Value::Null),
            ("spec/containers/0/securityContext/runAsNonRoot", json!(true)),
        ],
        vec![
            ("spec/securityContext/seccompProfile", Value::Null),
            ("spec/containers/0/securityContext/seccompProfile", json!({"type": "Localhost"})),
        ],
        vec![("spec/containers/0/securityContext/capabilities/add", json!(["NET_BIND_SERVICE"]))],
        vec![("spec/volumes", json!([{"name": "v", "projected": {}}, {"name": "w", "image": {}}]))],
    ] {
        assert_eq!(found(Level::Restricted, "latest", &but(&changes)), [""; 0], "{changes:?}");
    }
}

#[test]
fn a_version_asks_what_it_asked_then() {
    let sysctl = |name: &str| but(&[("spec/securityContext/sysctls", json!([{"name": name}]))]);
    let engine = but(&[("spec/securityContext/seLinuxOptions", json!({"type": "container_engine_t"}))]);
    let host = but(&[("spec/containers/0/livenessProbe", json!({"tcpSocket": {"host": "h"}}))]);
    let own_users = |changes: &[(&str, Value)]| but(&[changes, &[("spec/hostUsers", json!(false))]].concat());
    let root = own_users(&[
        ("spec/securityContext/runAsUser", json!(0)),
        ("spec/securityContext/runAsNonRoot", json!(false)),
    ]);
    let unmasked = own_users(&[("spec/containers/0/securityContext/procMount", json!("Unmasked"))]);
    let bare = but(&[
        ("spec/containers/0/securityContext", json!({})),
        ("spec/securityContext", json!({"runAsNonRoot": true})),
    ]);
    let mut windows = bare.clone();
    windows["spec"]["os"] = json!({"name": "windows"});
    let annotated = but(&[(
        "metadata/annotations",
        json!({
            "seccomp.security.alpha.kubernetes.io/pod": "unconfined",
            "container.seccomp.security.alpha.kubernetes.io/c": "docker/default",
            "container.seccomp.security.alpha.kubernetes.io/nobody": "unconfined",
        }),
    )]);
    let capability = but(&[("spec/containers/0/securityContext/capabilities/add", json!(["BPF"]))]);
    // The level, the pod, the version before a change and how many things it finds, the version after it.
    for (level, pod, before, after) in [
        (Level::Baseline, sysctl("net.ipv4.ip_local_reserved_ports"), (26, 1), (27, 0)),
        (Level::Baseline, sysctl("net.ipv4.tcp_keepalive_time"), (28, 1), (29, 0)),
        (Level::Baseline, sysctl("net.ipv4.tcp_wmem"), (31, 1), (32, 0)),
        (Level::Baseline, sysctl("net.ipv4.ping_group_range"), (0, 0), (99, 0)),
        (Level::Baseline, engine, (30, 1), (31, 0)),
        (Level::Baseline, host, (33, 0), (34, 1)),
        (Level::Baseline, unmasked.clone(), (34, 1), (35, 0)),
        (Level::Restricted, unmasked, (34, 1), (35, 1)),
        (Level::Restricted, root, (34, 2), (35, 0)),
        (Level::Baseline, annotated, (18, 1), (19, 0)),
        (Level::Restricted, capability, (21, 1), (22, 1)),
        (Level::Restricted, bare.clone(), (7, 0), (8, 1)),
        (Level::Restricted, bare.clone(), (18, 1), (19, 2)),
        (Level::Restricted, bare, (21, 2), (22, 3)),
        (Level::Restricted, windows, (24, 3), (25, 0)),
    ] {
        for (minor, count) in [before, after] {
            let found = found(level, &format!("v1.{minor}"), &pod);
            assert_eq!(found.len(), count, "v1.{minor}: {found:?}");
        }
    }
}

#[test]
fn versions_are_read() {
    assert_eq!(Version::parse("latest"), Some(Version::Latest));
    assert_eq!(Version::parse("v1.0"), Some(Version::Minor(0)));
    assert_eq!(Version::parse("v1.35"), Some(Version::Minor(35)));
    for wrong in ["", "v1", "v1.", "v1.07", "v1.-1", "v1.+1", "v2.0", "1.2", "Latest", "v1.3 "] {
        assert_eq!(Version::parse(wrong), None, "{wrong:?}");
    }
}

#[test]
fn labels_make_a_policy() {
    let policy = |labels: &[(&str, &str)]| {
        let found = Policy::of(|key| {
            labels
                .iter()
                .find(|(name, _)| key.strip_prefix("pod-security.kubernetes.io/") == Some(name))
                .map(|l| l.1)
        });
        (found.enforce.to_string(), found.warn.to_string())
    };
    for (labels, enforce, warn) in [
        (&[][..], "privileged:latest", "privileged:latest"),
        (&[("enforce", "restricted")], "restricted:latest", "restricted:latest"),
        (&[("enforce", "baseline"), ("enforce-version", "v1.30")], "baseline:v1.30", "baseline:v1.30"),
        (&[("enforce", "baseline"), ("warn", "restricted")], "baseline:latest", "restricted:latest"),
        (&[("enforce", "restricted"), ("warn", "privileged")], "restricted:latest", "privileged:latest"),
        (&[("enforce", "baseline"), ("warn-version", "v1.20")], "baseline:latest", "baseline:v1.20"),
        (&[("enforce", "strict"), ("enforce-version", "new")], "restricted:latest", "restricted:latest"),
        (&[("warn", "strict")], "privileged:latest", "privileged:latest"),
    ] {
        assert_eq!(policy(labels), (enforce.to_owned(), warn.to_owned()), "{labels:?}");
    }
}
