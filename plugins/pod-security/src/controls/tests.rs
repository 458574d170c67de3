//! What each control refuses, in whose words, and from which version on.

mod properties;

use serde_json::{Value, json};

use super::*;

/// A pod that keeps to every standard, with one container, `c`.
fn hardened() -> Value {
    json!({"metadata": {}, "spec": {
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "c", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        }}],
    }})
}

/// That pod with something else at some places: `pod.x` is in its spec, `c.x` in its container, `ctx.x` in the container's
/// security context, `all.x` in its own, `note.x` the annotation `x`.
fn but(changes: &[(&str, Value)]) -> Value {
    let mut pod = hardened();
    for (place, value) in changes {
        let (part, field) = place.split_once('.').expect("a part and a field");
        let spec = &mut pod["spec"];
        let part = match part {
            "pod" => spec,
            "all" => &mut spec["securityContext"],
            "c" => &mut spec["containers"][0],
            "ctx" => &mut spec["containers"][0]["securityContext"],
            _ => {
                pod["metadata"]["annotations"][field] = value.clone();
                continue;
            }
        };
        part[field] = value.clone();
    }
    pod
}

fn found(standard: &str, pod: &Value) -> Vec<String> {
    let standard: Standard = standard.parse().expect("a standard");
    standard.violations(pod).iter().map(ToString::to_string).collect()
}

#[test]
fn what_baseline_refuses() {
    let seccomp = json!({"type": "Unconfined"});
    let app_armor = "container.apparmor.security.beta.kubernetes.io/c";
    for (changes, expected) in [
        (
            vec![("ctx.appArmorProfile", json!({"type": "Unconfined"}))],
            "forbidden AppArmor profile (container \"c\" must not set AppArmor profile type to \"Unconfined\")",
        ),
        (
            vec![
                ("all.appArmorProfile", json!({"type": "Unconfined"})),
                (&format!("note.{app_armor}"), json!("unconfined")),
            ],
            "forbidden AppArmor profiles (pod and annotation must not set AppArmor profile type to \"Unconfined\", \
          \"container.apparmor.security.beta.kubernetes.io/c=\"unconfined\"\")",
        ),
        (
            vec![("ctx.capabilities", json!({"add": ["SYS_ADMIN", "CHOWN", "BPF"]}))],
            "non-default capabilities (container \"c\" must not include \"BPF\", \"SYS_ADMIN\" in \
          securityContext.capabilities.add)",
        ),
        (
            vec![
                ("pod.hostNetwork", json!(true)),
                ("pod.hostPID", json!(true)),
                ("pod.hostIPC", json!(true)),
            ],
            "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)",
        ),
        (
            vec![(
                "pod.volumes",
                json!([{"name": "v", "hostPath": {"path": "/"}}, {"name": "w", "hostPath": {"path": "/"}}]),
            )],
            "hostPath volumes (volumes \"v\", \"w\")",
        ),
        (
            vec![
                ("pod.initContainers", json!([{"name": "i", "ports": [{"hostPort": 9}, {"hostPort": 0}]}])),
                ("c.ports", json!([{"hostPort": 10}])),
            ],
            "hostPort (containers \"i\", \"c\" use hostPorts 10, 9)",
        ),
        (vec![("c.ports", json!([{"hostPort": 80}]))], "hostPort (container \"c\" uses hostPort 80)"),
        (
            vec![
                ("c.livenessProbe", json!({"httpGet": {"host": "10.0.0.1"}})),
                ("c.lifecycle", json!({"preStop": {"tcpSocket": {"host": "h"}}})),
                (
                    "pod.ephemeralContainers",
                    json!([{"name": "a", "startupProbe": {"tcpSocket": {"host": "h"}}}]),
                ),
            ],
            "probe or lifecycle host (containers \"a\", \"c\" use probe or lifecycle hosts \"10.0.0.1\", \"h\")",
        ),
        (
            vec![("ctx.privileged", json!(true))],
            "privileged (container \"c\" must not set securityContext.privileged=true)",
        ),
        (
            vec![(
                "pod.ephemeralContainers",
                json!([{"name": "e", "securityContext": {"privileged": true}}]),
            )],
            "privileged (container \"e\" must not set securityContext.privileged=true)",
        ),
        (
            vec![("ctx.procMount", json!("Unmasked"))],
            "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            vec![
                ("all.seLinuxOptions", json!({"type": "spc_t", "user": "u"})),
                ("ctx.seLinuxOptions", json!({"role": "r"})),
            ],
            "seLinuxOptions (pod and container \"c\" set forbidden securityContext.seLinuxOptions: type \"spc_t\"; user may not \
          be set; role may not be set)",
        ),
        (
            vec![("all.seccompProfile", seccomp.clone()), ("ctx.seccompProfile", seccomp)],
            "seccompProfile (pod and container \"c\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            vec![(
                "all.sysctls",
                json!([{"name": "kernel.msgmax"}, {"name": "net.ipv4.tcp_rmem"}, {"name": "vm.overcommit"}]),
            )],
            "forbidden sysctls (kernel.msgmax, vm.overcommit)",
        ),
        (
            vec![("all.windowsOptions", json!({"hostProcess": true}))],
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
    ] {
        assert_eq!(found("baseline:latest", &but(&changes)), [expected]);
    }
}

#[test]
fn what_restricted_refuses_besides() {
    let volumes = json!([{"name": "a", "hostPath": {}}, {"name": "b", "nfs": {}}, {"name": "c", "emptyDir": {}}, {"name": "d"}]);
    for (changes, expected) in [
        (
            vec![("ctx.allowPrivilegeEscalation", json!(true))],
            "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false)",
        ),
        (
            vec![("ctx.capabilities", json!({"add": ["CHOWN", "NET_BIND_SERVICE"]}))],
            "unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]; container \"c\" must \
          not include \"CHOWN\" in securityContext.capabilities.add)",
        ),
        (
            vec![("ctx.procMount", json!("Unmasked")), ("pod.hostUsers", json!(false))],
            "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            vec![("pod.volumes", volumes)],
            "restricted volume types (volumes \"a\", \"b\", \"d\" use restricted volume types \"hostPath\", \"nfs\", \"unknown\")",
        ),
        (
            vec![("pod.volumes", json!([{"name": "v", "emptyDir": {}, "hostPath": {}}]))],
            "restricted volume types (volume \"v\" uses restricted volume type \"hostPath\")",
        ),
        (
            vec![("all.runAsNonRoot", json!(false)), ("ctx.runAsNonRoot", json!(false))],
            "runAsNonRoot != true (pod and container \"c\" must not set securityContext.runAsNonRoot=false)",
        ),
        (
            vec![("all.runAsNonRoot", Value::Null)],
            "runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true)",
        ),
        (
            vec![("all.runAsUser", json!(0)), ("ctx.runAsUser", json!(0))],
            "runAsUser=0 (pod and container \"c\" must not set runAsUser=0)",
        ),
        (
            vec![("all.seccompProfile", Value::Null)],
            "seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \
          \"Localhost\")",
        ),
        (
            vec![("ctx.seccompProfile", json!({"type": "Unconfined"}))],
            "seccompProfile (container \"c\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
    ] {
        assert_eq!(found("restricted:latest", &but(&changes)), [expected]);
    }
}

#[test]
fn a_usual_pod_hears_all_that_restricted_asks_of_each_container() {
    let pod = json!({"spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "c"}]}});
    assert_eq!(found("baseline:latest", &pod), [""; 0]);
    let expected = [
        "allowPrivilegeEscalation != false (containers \"i\", \"c\" must set securityContext.allowPrivilegeEscalation=false)",
        "unrestricted capabilities (containers \"i\", \"c\" must set securityContext.capabilities.drop=[\"ALL\"])",
        "runAsNonRoot != true (pod or containers \"i\", \"c\" must set securityContext.runAsNonRoot=true)",
        "seccompProfile (pod or containers \"i\", \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \
         \"Localhost\")",
    ];
    assert_eq!(found("restricted:latest", &pod), expected);
}

#[test]
fn what_the_standards_take() {
    for changes in [
        vec![],
        vec![("all.runAsNonRoot", Value::Null), ("ctx.runAsNonRoot", json!(true))],
        vec![("all.seccompProfile", Value::Null), ("ctx.seccompProfile", json!({"type": "Localhost"}))],
        vec![("ctx.capabilities", json!({"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}))],
        vec![(
            "pod.volumes",
            json!([{"name": "v", "projected": {}}, {"name": "w", "image": {}, "hostPath": null}]),
        )],
        vec![
            ("ctx.procMount", json!("Default")),
            ("ctx.runAsUser", json!(1000)),
            ("pod.hostNetwork", json!(false)),
        ],
        vec![("all.seLinuxOptions", json!({"type": "container_t", "level": "s0:c1"}))],
        vec![
            ("all.appArmorProfile", json!({"type": "Localhost"})),
            ("all.windowsOptions", json!({"hostProcess": false})),
        ],
        vec![("note.container.apparmor.security.beta.kubernetes.io/c", json!("localhost/mine"))],
        vec![
            ("c.livenessProbe", json!({"httpGet": {"host": "", "port": 80}})),
            ("c.ports", json!([{"containerPort": 80}])),
        ],
    ] {
        for standard in ["restricted:latest", "restricted:v1.0", "restricted:v1.24", "baseline:latest"] {
            assert_eq!(found(standard, &but(&changes)), [""; 0], "{standard}: {changes:?}");
        }
    }
    let host = but(&[("pod.hostNetwork", json!(true)), ("ctx.privileged", json!(true))]);
    assert_eq!(found("privileged:latest", &host), [""; 0]);
}

#[test]
fn a_version_asks_what_it_asked_then() {
    let sysctl = |name: &str| but(&[("all.sysctls", json!([{"name": name}]))]);
    let bare = || vec![("all.seccompProfile", Value::Null), ("c.securityContext", json!({}))];
    let windows = but(&[bare(), vec![("pod.os", json!({"name": "windows"}))]].concat());
    let own_users = |mut changes: Vec<(&'static str, Value)>| {
        changes.push(("pod.hostUsers", json!(false)));
        but(&changes)
    };
    let root = own_users(vec![("all.runAsUser", json!(0)), ("all.runAsNonRoot", json!(false))]);
    let unmasked = own_users(vec![("ctx.procMount", json!("Unmasked"))]);
    let annotated = but(&[
        ("note.seccomp.security.alpha.kubernetes.io/pod", json!("unconfined")),
        ("note.container.seccomp.security.alpha.kubernetes.io/c", json!("docker/default")),
        ("note.container.seccomp.security.alpha.kubernetes.io/nobody", json!("unconfined")),
    ]);
    // A level, a pod, the last version before a change and how much it finds, and how much the next one does.
    for (level, pod, last, before, after) in [
        ("baseline", sysctl("net.ipv4.ip_local_reserved_ports"), 26, 1, 0),
        ("baseline", sysctl("net.ipv4.tcp_keepalive_time"), 28, 1, 0),
        ("restricted", sysctl("net.ipv4.tcp_wmem"), 31, 1, 0),
        ("restricted", sysctl("net.ipv4.tcp_notsent_lowat"), 36, 1, 0),
        ("baseline", sysctl("net.ipv4.tcp_slow_start_after_idle"), 36, 1, 0),
        ("baseline", but(&[("all.seLinuxOptions", json!({"type": "container_engine_t"}))]), 30, 1, 0),
        ("baseline", but(&[("c.livenessProbe", json!({"tcpSocket": {"host": "h"}}))]), 33, 0, 1),
        ("baseline", unmasked.clone(), 34, 1, 0),
        ("restricted", unmasked, 34, 1, 1),
        ("restricted", root.clone(), 22, 1, 2),
        ("restricted", root, 34, 2, 0),
        ("baseline", annotated.clone(), 18, 1, 0),
        ("restricted", annotated, 18, 1, 0),
        ("restricted", but(&[("ctx.capabilities", json!({"drop": ["ALL"], "add": ["CHOWN"]}))]), 21, 0, 1),
        ("restricted", but(&bare()), 7, 0, 1),
        ("restricted", but(&bare()), 18, 1, 2),
        ("restricted", but(&bare()), 21, 2, 3),
        ("restricted", but(&bare()), 24, 3, 3),
        ("restricted", windows, 24, 3, 0),
    ] {
        for (minor, count) in [(last, before), (last + 1, after)] {
            let found = found(&format!("{level}:v1.{minor}"), &pod);
            assert_eq!(found.len(), count, "{level} v1.{minor}: {found:?}");
        }
    }
}

#[test]
fn windows_gets_no_more_than_baseline_gives() {
    let pod = but(&[
        ("pod.os", json!({"name": "windows"})),
        ("ctx.capabilities", json!({"add": ["SYS_ADMIN"]})),
        ("ctx.seccompProfile", json!({"type": "Unconfined"})),
    ]);
    assert_eq!(found("restricted:latest", &pod), found("baseline:latest", &pod));
    assert_eq!(found("restricted:latest", &pod).len(), 2);
}
