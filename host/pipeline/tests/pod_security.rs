//! Pods are held against the standards that their namespace names.
#![allow(clippy::unwrap_used)] // a test may

mod common;

use berth_json::{Value, json};
use berth_pipeline::Request;
use common::{World, at, deployment, pod};

fn label(world: &mut World, labels: &[(&str, &str)]) -> Vec<String> {
    let all: Value = labels
        .iter()
        .map(|(key, value)| (format!("pod-security.kubernetes.io/{key}"), Value::from(*value)))
        .collect();
    let mut request = world.merge("namespaces", "ns", json!({"metadata": {"labels": all}}));
    request.namespace = String::new();
    world.apply(request).unwrap().warnings
}

fn hardened(name: &str) -> Value {
    let mut object = pod(name);
    object["spec"]["securityContext"] =
        json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    object["spec"]["containers"][0]["securityContext"] =
        json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    object
}

fn on_host_network(name: &str) -> Value {
    let mut object = pod(name);
    object["spec"]["hostNetwork"] = json!(true);
    object
}

fn warnings(world: &mut World, request: Request) -> Vec<String> {
    world.apply(request).unwrap().warnings.into_iter().filter(|text| text.contains("PodSecurity")).collect()
}

const USUAL: &str = "allowPrivilegeEscalation != false (container \"c\" must set \
                     securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"c\" must set \
                     securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"c\" must set \
                     securityContext.runAsNonRoot=true), seccompProfile (pod or container \"c\" must set \
                     securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")";

#[test]
fn what_violates_the_standard_is_refused_and_what_makes_it_warned_of() {
    let mut world = World::new();
    label(&mut world, &[("enforce", "restricted")]);
    let message = format!("pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": {USUAL}");
    assert_eq!(world.refused(world.create("pods", "ns", pod("p"))), (403, message));
    let fine = world.create("pods", "ns", hardened("p"));
    assert_eq!(warnings(&mut world, fine), [""; 0]);
    let expected = format!("would violate PodSecurity \"restricted:latest\": {USUAL}");
    let made = world.create("deployments.apps", "ns", deployment("w", 1));
    assert_eq!(warnings(&mut world, made), std::slice::from_ref(&expected));
    let resized = world.merge("deployments.apps", "w", json!({"spec": {"replicas": 2}}));
    assert_eq!(warnings(&mut world, resized), [expected], "an update too");
    let scaled = at("scale", world.merge("deployments.apps", "w", json!({"spec": {"replicas": 3}})));
    assert_eq!(warnings(&mut world, scaled), [""; 0], "its template is not sent");
}

#[test]
fn a_namespace_may_enforce_one_standard_and_warn_of_another() {
    let mut world = World::new();
    label(&mut world, &[("enforce", "baseline"), ("warn", "restricted"), ("warn-version", "v1.20")]);
    let (code, message) = world.refused(world.create("pods", "ns", on_host_network("p")));
    assert_eq!(code, 403);
    assert!(
        message.contains("violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)"),
        "{message}"
    );
    let usual = world.create("pods", "ns", pod("p"));
    let warned = warnings(&mut world, usual);
    assert!(
        warned.len() == 1 && warned[0].starts_with("would violate PodSecurity \"restricted:v1.20\": "),
        "{warned:?}"
    );
    assert!(!warned[0].contains("capabilities"), "that came later: {warned:?}");
}

#[test]
fn what_runs_goes_on_until_its_containers_change() {
    let mut world = World::new();
    world.ok(world.create("pods", "ns", pod("p")));
    label(&mut world, &[("enforce", "restricted")]);
    world.ok(world.merge("pods", "p", json!({"metadata": {"labels": {"a": "b"}}})));
    world.ok(at("status", world.merge("pods", "p", json!({"status": {"phase": "Running"}}))));
    let image = json!({"spec": {"containers": [{"name": "c", "image": "app:2"}]}});
    let mut request = world.merge("pods", "p", json!({}));
    request.body =
        berth_pipeline::Body::Patch(berth_pipeline::PatchKind::Strategic, image.to_string().into());
    let (code, message) = world.refused(request);
    assert!(code == 403 && message.contains("violates PodSecurity"), "{message}");
    world.ok(world.delete("pods", "p", json!({})));
}

#[test]
fn a_stricter_standard_tells_which_pods_it_would_not_take() {
    let mut world = World::new();
    for object in [pod("b"), pod("a"), pod("c"), on_host_network("net"), hardened("good")] {
        world.ok(world.create("pods", "ns", object));
    }
    let expected = [
        "existing pods in namespace \"ns\" violate the new PodSecurity enforce level \"restricted:latest\"",
        "a (and 2 other pods): allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, \
         seccompProfile",
        "net: host namespaces, allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, \
         seccompProfile",
    ];
    assert_eq!(label(&mut world, &[("enforce", "restricted")]), expected);
    assert_eq!(label(&mut world, &[("enforce", "baseline")]), [""; 0], "that is laxer");
    assert_eq!(label(&mut world, &[("warn", "restricted")]), [""; 0], "nothing is enforced by that");
    let expected = [
        "existing pods in namespace \"ns\" violate the new PodSecurity enforce level \"baseline:v1.30\"",
        "net: host namespaces",
    ];
    assert_eq!(label(&mut world, &[("enforce-version", "v1.30")]), expected);
}

#[test]
fn labels_that_mean_nothing_are_refused() {
    let mut world = World::new();
    for (key, value, why) in [
        ("enforce", "strict", "must be one of privileged, baseline, restricted"),
        ("warn-version", "1.30", "must be \"latest\" or \"v1.x\""),
    ] {
        let labels: Value =
            [(format!("pod-security.kubernetes.io/{key}"), Value::from(value))].into_iter().collect();
        let object = json!({"metadata": {"name": "n", "labels": labels}});
        let (code, message) = world.refused(world.create("namespaces", "", object));
        assert!(code == 422 && message.ends_with(why), "{message}");
    }
}
