//! What holds of the table of controls as a whole, over pods that have one or two things otherwise than a hardened one.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::*;
use super::but;

/// From the first version to one after the newest in which a control changed.
const MINORS: RangeInclusive<u32> = 0..=38;

fn changes() -> Vec<(&'static str, Value)> {
    let unconfined = json!({"type": "Unconfined"});
    let one_volume = |source: &str| json!([{"name": "v", source: {}}]);
    vec![
        ("pod.hostUsers", json!(false)),
        ("pod.os", json!({"name": "windows"})),
        ("all.appArmorProfile", unconfined.clone()),
        ("note.container.apparmor.security.beta.kubernetes.io/c", json!("unconfined")),
        ("note.seccomp.security.alpha.kubernetes.io/pod", json!("unconfined")),
        ("note.container.seccomp.security.alpha.kubernetes.io/c", json!("unconfined")),
        ("ctx.capabilities", json!({})),
        ("ctx.capabilities", json!({"add": ["SYS_ADMIN"]})),
        ("ctx.capabilities", json!({"drop": ["ALL"], "add": ["SYS_ADMIN"]})),
        ("ctx.capabilities", json!({"drop": ["ALL"], "add": ["CHOWN"]})),
        ("pod.hostNetwork", json!(true)),
        ("pod.hostPID", json!(true)),
        ("pod.hostIPC", json!(true)),
        ("pod.volumes", one_volume("hostPath")),
        ("pod.volumes", one_volume("nfs")),
        ("pod.volumes", one_volume("secret")),
        ("pod.volumes", json!([{"name": "v", "hostPath": {}, "emptyDir": {}}])),
        ("c.ports", json!([{"hostPort": 80}])),
        ("c.readinessProbe", json!({"httpGet": {"host": "h"}})),
        ("c.lifecycle", json!({"postStart": {"httpGet": {"host": "h"}}})),
        ("ctx.privileged", json!(true)),
        ("ctx.procMount", json!("Unmasked")),
        ("all.seLinuxOptions", json!({"type": "container_engine_t"})),
        ("ctx.seLinuxOptions", json!({"type": "spc_t"})),
        ("ctx.seLinuxOptions", json!({"user": "u"})),
        ("ctx.seccompProfile", unconfined.clone()),
        ("all.seccompProfile", unconfined),
        ("all.seccompProfile", Value::Null),
        ("all.sysctls", json!([{"name": "kernel.msgmax"}])),
        ("all.sysctls", json!([{"name": "net.ipv4.tcp_rmem"}])),
        ("all.sysctls", json!([{"name": "net.ipv4.tcp_notsent_lowat"}])),
        ("ctx.windowsOptions", json!({"hostProcess": true})),
        ("ctx.allowPrivilegeEscalation", Value::Null),
        ("all.runAsNonRoot", json!(false)),
        ("all.runAsNonRoot", Value::Null),
        ("ctx.runAsNonRoot", json!(false)),
        ("ctx.runAsUser", json!(0)),
        ("c.securityContext", json!({})),
        ("pod.initContainers", json!([{"name": "i"}])),
        ("pod.ephemeralContainers", json!([{"name": "e", "securityContext": {"privileged": true}}])),
    ]
}

fn pods() -> Vec<Value> {
    let changes = changes();
    let pairs = changes.iter().flat_map(|one| changes.iter().map(move |other| [one.clone(), other.clone()]));
    pairs.map(|pair| but(&pair)).collect()
}

fn is_taken(level: Level, minor: u32, pod: &Value) -> bool {
    Standard { level, version: Version::Minor(minor) }.violations(pod).is_empty()
}

#[test]
fn what_restricted_takes_baseline_takes() {
    let mut taken = [0, 0];
    for pod in pods() {
        for minor in MINORS {
            let [baseline, restricted] =
                [Level::Baseline, Level::Restricted].map(|level| is_taken(level, minor, &pod));
            assert!(baseline || !restricted, "v1.{minor}: {pod}");
            taken[0] += u32::from(baseline);
            taken[1] += u32::from(restricted);
        }
    }
    assert!(taken[0] > taken[1] && taken[1] > 0, "both take some pods, and Baseline more: {taken:?}");
}

#[test]
fn each_control_finds_something() {
    let pods = pods();
    for (number, (_, versions, check)) in CONTROLS.iter().enumerate() {
        assert!(pods.iter().any(|pod| check(&Pod::of(pod)).is_some()), "control {number}, {versions:?}");
    }
}

#[test]
fn latest_is_what_no_version_after_it_changes() {
    for pod in pods() {
        for level in [Level::Baseline, Level::Restricted] {
            let at = |version| Standard { level, version }.violations(&pod);
            assert_eq!(at(Version::Minor(37)), at(Version::Latest), "{pod}");
        }
    }
}

#[test]
fn one_form_of_a_control_follows_the_other() {
    let pods = pods();
    for level in [Level::Baseline, Level::Restricted] {
        let mut controls = 0;
        for minor in MINORS {
            let standard = Standard { level, version: Version::Minor(minor) };
            let before = std::mem::replace(&mut controls, standard.checks().count());
            assert!(before <= controls, "no control ends without another in its stead: {standard}");
            assert!(controls <= 16, "a verdict has room for a warning of each: {standard}");
            for pod in &pods {
                let violations = standard.violations(pod);
                let reasons: BTreeSet<&str> = violations.iter().map(|found| &*found.reason).collect();
                assert_eq!(
                    reasons.len(),
                    violations.len(),
                    "nothing is said twice: {standard}: {violations:?}"
                );
            }
        }
    }
}
