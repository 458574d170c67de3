use berth_sdk::admission::ask;
use serde_json::json;

use super::*;

const USUAL: &str = "allowPrivilegeEscalation != false (container \"c\" must set \
                     securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"c\" must set \
                     securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"c\" must set \
                     securityContext.runAsNonRoot=true), seccompProfile (pod or container \"c\" must set \
                     securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")";

/// A pod that Baseline takes and Restricted does not.
fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "team"},
        "spec": {"containers": [{"name": "c", "image": "app:1"}]},
    })
}

fn on_host_network() -> Value {
    let mut pod = pod();
    pod["spec"]["hostNetwork"] = json!(true);
    pod
}

fn namespace(labels: &[(&str, &str)]) -> Value {
    let labels: Value = labels.iter().map(|(key, value)| (format!("{PREFIX}{key}"), json!(value))).collect();
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team", "labels": labels}})
}

fn within(labels: &[(&str, &str)], request: Request) -> Request {
    labels
        .iter()
        .fold(request, |request, (key, value)| request.with_namespace_label(&format!("{PREFIX}{key}"), value))
}

fn verdict(config: &Value, request: &Request) -> Verdict {
    ask::<PodSecurity>(&config.to_string(), request).expect("a good configuration")
}

fn noted(verdict: &Verdict) -> Vec<(&str, &str)> {
    let notes = verdict.audits().iter();
    notes.map(|(name, value)| (name.strip_prefix(PREFIX).expect("our prefix"), value.as_str())).collect()
}

#[test]
fn what_violates_the_enforced_standard_is_refused() {
    let labels = [("enforce", "restricted")];
    let refused = verdict(&json!({}), &within(&labels, Request::create("pods", pod())));
    assert_eq!(refused.message(), format!("violates PodSecurity \"restricted:latest\": {USUAL}"));
    assert_eq!((refused.code(), refused.warnings().len()), (0, 0), "403, and nothing twice");
    assert_eq!(noted(&refused), [("enforce-policy", "restricted:latest")]);
    let taken = verdict(&json!({}), &Request::create("pods", on_host_network()));
    assert_eq!(noted(&taken), [("enforce-policy", "privileged:latest")]);
    assert!(taken.is_allowed() && taken.warnings().is_empty());
}

#[test]
fn other_standards_are_warned_of_and_noted() {
    let labels =
        [("enforce", "baseline"), ("warn", "restricted"), ("warn-version", "v1.20"), ("audit", "restricted")];
    let taken = verdict(&json!({}), &within(&labels, Request::create("pods", pod())));
    assert!(taken.is_allowed());
    let would = "would violate PodSecurity \"restricted:v1.20\": ";
    let expected = [
        "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), \
         runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true)",
        "seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \
         \"Localhost\")",
    ];
    assert_eq!(taken.warnings(), expected.map(|text| format!("{would}{text}")), "each has 256 bytes");
    let note = format!("would violate PodSecurity \"restricted:latest\": {USUAL}");
    assert_eq!(noted(&taken), [("enforce-policy", "baseline:latest"), ("audit-violations", &*note)]);
}

#[test]
fn what_makes_pods_is_warned_of_but_never_refused() {
    let template = json!({"spec": on_host_network()["spec"]});
    let spec = json!({"template": template});
    let labels = [("enforce", "baseline"), ("audit", "baseline")];
    let would = "would violate PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)";
    for (api_version, resource, object) in [
        ("apps/v1", "deployments", json!({"spec": spec})),
        ("apps/v1", "replicasets", json!({"spec": spec})),
        ("apps/v1", "statefulsets", json!({"spec": spec})),
        ("apps/v1", "daemonsets", json!({"spec": spec})),
        ("batch/v1", "jobs", json!({"spec": spec})),
        ("batch/v1", "cronjobs", json!({"spec": {"jobTemplate": {"spec": spec}}})),
        ("v1", "replicationcontrollers", json!({"spec": spec})),
        ("v1", "podtemplates", json!({"template": template})),
    ] {
        let mut object = object;
        object["apiVersion"] = json!(api_version);
        object["metadata"] = json!({"name": "w", "namespace": "team"});
        for request in [
            Request::create(resource, object.clone()),
            Request::update(resource, object.clone(), object.clone()),
        ] {
            let taken = verdict(&json!({}), &within(&labels, request));
            assert!(taken.is_allowed(), "{resource}");
            assert_eq!(taken.warnings(), [would], "{resource}");
            assert_eq!(noted(&taken), [("audit-violations", would)], "{resource}");
        }
    }
    let bare = json!({"apiVersion": "v1", "metadata": {"name": "w", "namespace": "team"}, "spec": {}});
    let taken = verdict(&json!({}), &within(&labels, Request::create("replicationcontrollers", bare)));
    assert_eq!(taken, Verdict::allow());
}

#[test]
fn what_runs_is_judged_again_when_its_containers_change() {
    let labels = [("enforce", "restricted")];
    let update = |change: fn(&mut Value)| {
        let mut new = pod();
        change(&mut new);
        verdict(&json!({}), &within(&labels, Request::update("pods", pod(), new))).is_allowed()
    };
    assert!(update(|pod| pod["metadata"]["labels"] = json!({"a": "b"})));
    assert!(update(|pod| pod["metadata"]["annotations"] = json!({"a": "b"})));
    assert!(update(|pod| pod["spec"]["tolerations"] = json!([{"operator": "Exists"}])));
    assert!(update(|pod| pod["spec"]["activeDeadlineSeconds"] = json!(5)));
    assert!(!update(|pod| pod["spec"]["containers"][0]["image"] = json!("app:2")));
    assert!(!update(|pod| pod["spec"]["ephemeralContainers"] = json!([{"name": "e"}])));
    const SECCOMP: &str = "seccomp.security.alpha.kubernetes.io/pod";
    assert!(!update(|pod| pod["metadata"]["annotations"] = json!({SECCOMP: "unconfined"})));
    const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/c";
    assert!(!update(|pod| pod["metadata"]["annotations"] = json!({APP_ARMOR: "unconfined"})));
}

#[test]
fn what_no_label_says_the_configuration_says() {
    let config = json!({"defaults": {
        "enforce": "baseline", "enforceVersion": "v1.30", "audit": "restricted", "auditVersion": "v1.7", "warn": "baseline",
    }});
    let refused = verdict(&config, &Request::create("pods", on_host_network()));
    let host = "host namespaces (hostNetwork=true)";
    assert_eq!(refused.message(), format!("violates PodSecurity \"baseline:v1.30\": {host}"));
    let root = "runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true)";
    let note = format!("would violate PodSecurity \"restricted:v1.7\": {host}, {root}");
    assert_eq!(noted(&refused), [("enforce-policy", "baseline:v1.30"), ("audit-violations", &*note)]);
    let labelled = within(&[("enforce", "privileged")], Request::create("pods", on_host_network()));
    let taken = verdict(&config, &labelled);
    assert!(taken.is_allowed());
    assert_eq!(taken.warnings(), [format!("would violate PodSecurity \"baseline:latest\": {host}")]);
}

#[test]
fn who_is_exempt_is_not_looked_at() {
    let config = json!({"defaults": {"enforce": "baseline"}, "exemptions": {
        "usernames": ["ops"], "namespaces": ["kube-system"], "runtimeClasses": ["sandbox"],
    }});
    let elsewhere = |name: &str| {
        let mut pod = on_host_network();
        pod["metadata"]["namespace"] = json!(name);
        Request::create("pods", pod)
    };
    let of_class = |class: &str| {
        let mut pod = on_host_network();
        pod["spec"]["runtimeClassName"] = json!(class);
        Request::create("pods", pod)
    };
    for (request, exempt) in [
        (elsewhere("kube-system"), Some("namespace")),
        (elsewhere("kube"), None),
        (elsewhere("team").by("ops", &[]), Some("user")),
        (elsewhere("team").by("oops", &[]), None),
        (of_class("sandbox"), Some("runtimeClass")),
        (of_class("other"), None),
    ] {
        let verdict = verdict(&config, &request);
        assert_eq!(verdict.is_allowed(), exempt.is_some(), "{exempt:?}");
        let found = verdict.audits().iter().find(|(name, _)| name == "pod-security.kubernetes.io/exempt");
        assert_eq!(found.map(|(_, value)| value.as_str()), exempt);
    }
}

#[test]
fn labels_that_mean_nothing_are_refused_when_they_come() {
    let wrong = [("enforce", "strict"), ("warn-version", "1.30")];
    let refused = verdict(&json!({}), &Request::create("namespaces", namespace(&wrong[..1])));
    let enforce = "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, \
                   baseline, restricted";
    assert_eq!((refused.code(), refused.message()), (422, enforce));
    let both = verdict(&json!({}), &Request::update("namespaces", namespace(&wrong[..1]), namespace(&wrong)));
    let version = "metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: \"1.30\": must be \"latest\" or \
                   \"v1.x\"";
    assert_eq!((both.code(), both.message()), (422, &*format!("[{enforce}, {version}]")));
    let mut renamed = namespace(&wrong);
    renamed["metadata"]["annotations"] = json!({"a": "b"});
    assert!(verdict(&json!({}), &Request::update("namespaces", namespace(&wrong), renamed)).is_allowed());
}

#[test]
fn pods_under_labels_that_mean_nothing_keep_to_the_strictest_standard() {
    let refused = verdict(&json!({}), &within(&[("enforce", "strict")], Request::create("pods", pod())));
    assert_eq!(refused.message(), format!("violates PodSecurity \"restricted:latest\": {USUAL}"));
    let error = "Failed to parse policy: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be \
                 one of privileged, baseline, restricted";
    assert_eq!(noted(&refused), [("error", error), ("enforce-policy", "restricted:latest")]);
}

#[test]
fn who_makes_a_namespace_stricter_hears_that_its_pods_were_not_looked_at() {
    let unseen = |standard: &str| {
        format!(
            "existing pods in namespace \"team\" were not checked against the new PodSecurity enforce level \"{standard}\": an \
             admission policy cannot see them"
        )
    };
    for (before, after, warned) in [
        (&[][..], &[("enforce", "baseline")][..], Some("baseline:latest")),
        (&[("enforce", "baseline")], &[("enforce", "restricted")], Some("restricted:latest")),
        (
            &[("enforce", "baseline")],
            &[("enforce", "baseline"), ("enforce-version", "v1.30")],
            Some("baseline:v1.30"),
        ),
        (&[("enforce", "restricted")], &[("enforce", "baseline")], None),
        (&[("enforce", "baseline")], &[("enforce", "privileged"), ("enforce-version", "v1.30")], None),
        (&[("enforce", "baseline")], &[("enforce", "baseline"), ("warn", "restricted")], None),
    ] {
        let taken = verdict(&json!({}), &Request::update("namespaces", namespace(before), namespace(after)));
        let expected: Vec<String> = warned.into_iter().map(unseen).collect();
        assert_eq!(taken.warnings(), expected, "{before:?} → {after:?}");
    }
    let new = verdict(&json!({}), &Request::create("namespaces", namespace(&[("enforce", "baseline")])));
    assert_eq!(new, Verdict::allow(), "a new one has no pods");
}

#[test]
fn labels_of_an_exempt_namespace_are_said_to_be_ignored() {
    let config = json!({"exemptions": {"namespaces": ["team"]}});
    let labels =
        [("enforce", "baseline"), ("audit", "privileged"), ("warn", "restricted"), ("warn-version", "v1.30")];
    let ignored = "namespace \"team\" is exempt from Pod Security, and the policy (enforce=baseline:latest, \
                   warn=restricted:v1.30) will be ignored";
    let new = verdict(&config, &Request::create("namespaces", namespace(&labels)));
    assert_eq!(new.warnings(), [ignored]);
    let stricter = verdict(&config, &Request::update("namespaces", namespace(&[]), namespace(&labels)));
    assert_eq!(stricter.warnings(), [ignored]);
    let same = verdict(&config, &Request::update("namespaces", namespace(&labels), namespace(&labels)));
    assert_eq!(same, Verdict::allow());
    assert_eq!(verdict(&config, &Request::create("namespaces", namespace(&[]))), Verdict::allow());
}

#[test]
fn texts_fit_their_room_however_many_containers_there_are() {
    let names: Vec<Value> = (0..100).map(|i| json!({"name": format!("container-{i}")})).collect();
    let mut large = pod();
    large["spec"]["containers"] = names.into();
    let ask = |labels: &[(&str, &str)]| {
        verdict(&json!({}), &within(labels, Request::create("pods", large.clone())))
    };
    let refused = ask(&[("enforce", "restricted")]);
    assert!(refused.message().len() <= 1_024 && refused.message().ends_with('…'), "{}", refused.message());
    let warned = ask(&[("warn", "restricted"), ("audit", "restricted")]);
    let reasons = ["allowPrivilegeEscalation", "unrestricted capabilities", "runAsNonRoot", "seccompProfile"];
    assert_eq!(warned.warnings().len(), reasons.len());
    for (warning, reason) in warned.warnings().iter().zip(reasons) {
        assert!(warning.len() <= 256 && warning.contains(reason) && warning.ends_with('…'), "{warning}");
    }
    assert!(warned.audits().iter().all(|(name, value)| name.len() <= 63 && value.len() <= 1_024));
}

#[test]
fn configurations_are_read() {
    for (config, why) in [
        (r#"{"default": {}}"#, "unknown field `default`"),
        (r#"{"defaults": {"enforce": "strict"}}"#, "unknown variant `strict`"),
        (r#"{"defaults": {"warnVersion": "1.30"}}"#, "must be \"latest\" or \"v1.x\""),
        (r#"{"exemptions": {"users": []}}"#, "unknown field `users`"),
    ] {
        let error = PodSecurity::describe(config.as_bytes()).unwrap_err();
        assert!(error.starts_with(why), "{error}");
    }
    let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
    let keys = |of: &str| -> Vec<String> {
        let fields = schema["properties"][of]["properties"].as_object().expect("an object");
        fields.keys().cloned().collect()
    };
    let named = json!({
        "defaults": keys("defaults")
            .into_iter()
            .map(|key| { let value = if key.ends_with("Version") { "v1.37" } else { "baseline" }; (key, json!(value)) })
            .collect::<Value>(),
        "exemptions": keys("exemptions").into_iter().map(|key| (key, json!(["a"]))).collect::<Value>(),
    });
    let (policy, _) = PodSecurity::describe(named.to_string().as_bytes()).expect("all that the schema names");
    let standard = Standard { level: Level::Baseline, version: Version::Minor(37) };
    assert_eq!(policy.defaults, Modes { enforce: standard, audit: standard, warn: standard });
}
