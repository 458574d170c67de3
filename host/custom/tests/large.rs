//! Definitions as large projects have them: hundreds of fields, rules, whole containers, fields of any shape.
#![allow(clippy::unwrap_used)] // a test may

use std::time::{Duration, Instant};

use berth_api::decode::{self, Expected, MediaType};
use berth_api::resource::Resource;
use berth_api::{Problems, Timestamp};
use berth_custom::{conditions, definitions, kinds_of};
use berth_json::{Value, json};

/// The definition in a file, as it is stored and served.
fn definition(text: &str) -> Value {
    let resource = definitions();
    let decoded =
        decode::decode(&resource.schema, Expected::of(&resource), MediaType::Yaml, text.as_bytes()).unwrap();
    assert_eq!(decoded.findings, []);
    let mut definition = decoded.value;
    assert_eq!(resource.behaviour.prune(&mut definition), []);
    resource.behaviour.prepare_create(&mut definition);
    resource.behaviour.default(&mut definition);
    let mut problems = Problems::default();
    resource.behaviour.validate(&definition, &mut problems);
    assert_eq!(problems.causes, []);
    definition["status"] = conditions(&definition, [], Timestamp::from_seconds(0)).unwrap();
    definition
}

fn kind(text: &str) -> Resource {
    let mut kinds = kinds_of(&definition(text)).unwrap();
    assert_eq!(kinds.len(), 1);
    kinds.remove(0)
}

/// Creates an object: what it becomes, what was dropped, and what is wrong with it.
fn create(kind: &Resource, spec: Value) -> (Value, Vec<String>, Vec<String>) {
    let mut object = json!({
        "apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": "x", "namespace": "n"}, "spec": spec,
    });
    let dropped = kind.behaviour.prune(&mut object);
    kind.behaviour.prepare_create(&mut object);
    kind.behaviour.default(&mut object);
    let mut problems = Problems::default();
    kind.behaviour.validate(&object, &mut problems);
    let problems = problems.causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message));
    (object, dropped.iter().map(|finding| finding.warning()).collect(), problems.collect())
}

#[test]
fn certificates() {
    let kind = kind(include_str!("data/certificates.yaml"));
    let good =
        json!({"secretName": "s", "issuerRef": {"name": "ca"}, "dnsNames": ["a.example"], "privateKey": {}});
    let (mut object, dropped, problems) = create(&kind, good.clone());
    assert_eq!((dropped, problems), (vec![], vec![]));
    assert_eq!(object["spec"]["privateKey"]["rotationPolicy"], "Always");
    let fields = kind.behaviour.fields(&object);
    assert_eq!((&*fields[0].name, &*fields[0].value), ("spec.issuerRef.name", "ca"));

    let bad = json!({
        "secretName": "s", "issuerRef": {"name": "ca"}, "renewBefore": "1h", "renewBeforePercentage": 5,
        "privateKey": {"algorithm": "Ed25519", "size": 1},
    });
    assert_eq!(
        create(&kind, bad).2,
        [
            "spec.renewBefore: Forbidden: renewBefore and renewBeforePercentage are mutually exclusive",
            "spec.privateKey: Invalid value: size is ignored for Ed25519",
        ]
    );
    let bad = json!({"secretName": "s", "usages": ["sign"], "privateKey": {"algorithm": "DSA"}});
    let problems = create(&kind, bad).2;
    assert!(problems.contains(&"spec.issuerRef: Required value".to_owned()), "{problems:?}");
    assert!(problems[0].starts_with("spec.privateKey.algorithm: Unsupported value: \"DSA\""), "{problems:?}");

    object["status"] =
        json!({"conditions": [{"type": "Issuing", "status": "False"}, {"type": "Ready", "status": "True"}]});
    let cells = kind.cells(&kind.behaviour.columns(), &object, Timestamp::from_seconds(0));
    assert_eq!(cells[..4], [json!("x"), json!("True"), json!("s"), json!("ca")]);
    let mut changed = object.clone();
    changed["spec"]["secretName"] = "t".into();
    let mut problems = Problems::default();
    kind.behaviour.validate_update(&changed, &object, &mut problems);
    assert_eq!(problems.text(), "spec: Invalid value: the secret stays");
}

#[test]
fn workflows() {
    let kind = kind(include_str!("data/workflows.yaml"));
    let good = json!({
        "entrypoint": "main", "unheardOf": {"kept": true},
        "templates": [
            {"name": "main", "steps": [[{"name": "a", "template": "say", "withItems": [1, "two", {"three": 3}]}]]},
            {"name": "say", "container": {"name": "c", "image": "i", "ports": [{"containerPort": 1}]},
                "retryStrategy": {"limit": "3"}},
        ],
        "volumeClaimTemplates": [{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "w", "x": 1}}],
    });
    let (object, dropped, problems) = create(&kind, good);
    assert_eq!(dropped, ["unknown field \"spec.volumeClaimTemplates[0].metadata.x\""]);
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(object["spec"]["serviceAccountName"], "default");
    assert_eq!(object["spec"]["templates"][1]["container"]["ports"][0]["protocol"], "TCP");
    assert_eq!(object["spec"]["unheardOf"]["kept"], true);

    let bad = json!({"templates": [{"name": "a", "container": {"name": "c"}, "dag": {"tasks": []}}, {"name": "b"}]});
    assert_eq!(
        create(&kind, bad).2,
        [
            "<nil>: Invalid value: \"\": \"spec.templates[0]\" must validate one and only one schema (oneOf). Found 2 \
             valid alternatives",
            "<nil>: Invalid value: \"\": \"spec.templates[1]\" must validate one and only one schema (oneOf). Found none \
             valid",
            "spec.templates[1].container: Required value",
        ]
    );
}

#[test]
fn prometheuses() {
    let kind = kind(include_str!("data/prometheuses.yaml"));
    let good = json!({
        "replicas": 2, "retention": "15d", "retentionSize": "10GB", "enableFeatures": ["a", "b"],
        "resources": {"requests": {"memory": "400Mi", "cpu": 1}},
        "alerting": {"alertmanagers": [{"name": "a", "port": "web"}, {"name": "b", "port": 9093}]},
        "storage": {"volumeClaimTemplate": {"spec": {"resources": {"requests": {"storage": "1Ti"}}}}},
        "remoteWrite": [{"url": "http://r", "writeRelabelConfigs": [{"sourceLabels": ["a"]}]}],
    });
    let (object, dropped, problems) = create(&kind, good);
    assert_eq!((dropped, problems), (vec![], vec![]));
    assert_eq!(object["spec"]["scrapeInterval"], "30s");
    assert_eq!(object["spec"]["remoteWrite"][0]["writeRelabelConfigs"][0]["action"], "replace");
    assert_eq!(kind.scale.as_ref().unwrap().spec_replicas, ".spec.shards");

    let bad = json!({
        "replicas": -1, "retention": "15 days", "enableFeatures": ["a", "a"], "resources": {"limits": {"cpu": "much"}},
        "alerting": {"alertmanagers": [{"name": "", "port": 1.5}]}, "remoteWrite": [{"url": "u", "writeRelabelConfigs": []}],
    });
    let problems = create(&kind, bad).2;
    for wanted in [
        "spec.replicas: Invalid value: -1: spec.replicas in body should be greater than or equal to 0",
        "spec.enableFeatures[1]: Duplicate value: \"a\"",
        "spec.alerting.alertmanagers[0].name: Invalid value: \"\": spec.alerting.alertmanagers[0].name in body should be \
         at least 1 chars long",
        "spec.alerting.alertmanagers[0].port: Invalid value: \"number\": spec.alerting.alertmanagers[0].port in body must \
         be of type integer,string: \"number\"",
        "spec.remoteWrite[0].writeRelabelConfigs: Invalid value: 0: spec.remoteWrite[0].writeRelabelConfigs in body should \
         have at least 1 items",
    ] {
        assert!(problems.iter().any(|problem| problem == wanted), "{wanted}\n{problems:#?}");
    }
    let of_pattern =
        |field: &str| problems.iter().any(|problem| problem.starts_with(field) && problem.contains("match"));
    assert!(of_pattern("spec.retention:") && of_pattern("spec.resources.limits.cpu:"), "{problems:#?}");
    let rule = json!({"retention": "0", "retentionSize": "1GB"});
    assert_eq!(create(&kind, rule).2, ["spec: Invalid value: retention 0 leaves nothing for 1GB"]);
}

#[test]
fn large_definitions_are_judged_and_compiled_in_no_time() {
    /// Some thirty times what it takes here, so that a busy machine does not matter.
    const PATIENCE: Duration = Duration::from_secs(10);
    let started = Instant::now();
    for text in [
        include_str!("data/certificates.yaml"),
        include_str!("data/workflows.yaml"),
        include_str!("data/prometheuses.yaml"),
    ] {
        let kind = kind(text);
        assert_eq!(kind.behaviour.components().len(), 2);
    }
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
}
