//! Creating, replacing and patching.
#![allow(clippy::unwrap_used)] // a test may

mod common;

use berth_json::{Value, json};
use berth_pipeline::{Body, FieldValidation, PatchKind, Verb};
use berth_state::{Action, Commit, Draft, Expect, Key, Ledger, Op};
use common::{World, at, config_map, deployment, pod};

#[test]
fn a_created_object_has_what_the_server_sets() {
    let mut world = World::new();
    let made = world.ok(world.create("configmaps", "ns", config_map("m", "1")));
    assert_eq!(made["kind"], "ConfigMap");
    assert_eq!(made["metadata"]["namespace"], "ns");
    assert_eq!(made["metadata"]["creationTimestamp"], "2026-11-21T10:00:00Z");
    assert_eq!(made["metadata"]["uid"].as_str().unwrap().len(), 36);
    assert_eq!(made["metadata"]["resourceVersion"], world.state.revision().to_string());
    assert_eq!(world.get("configmaps", "m"), Some(made));
}

#[test]
fn what_a_client_may_not_set_is_dropped() {
    let mut world = World::new();
    let made = world.ok(world.create(
        "configmaps",
        "ns",
        json!({"metadata": {
            "name": "m", "uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z", "generation": 9,
            "selfLink": "/x", "deletionTimestamp": "2001-01-01T00:00:00Z", "deletionGracePeriodSeconds": 3,
        }}),
    ));
    let metadata = made["metadata"].as_object().unwrap();
    assert_ne!(metadata["uid"], "mine");
    assert_eq!(metadata["creationTimestamp"], "2026-11-21T10:00:00Z");
    assert_eq!(metadata["generation"], 9, "a kind without generations keeps a client's");
    for key in ["selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        assert!(!metadata.contains_key(key), "{key}");
    }
}

#[test]
fn generated_names() {
    let mut world = World::new();
    let mut made = |prefix: &str| {
        let object = json!({"metadata": {"generateName": prefix}});
        let made = world.ok(world.create("configmaps", "ns", object));
        made["metadata"]["name"].as_str().unwrap().to_owned()
    };
    let (first, second) = (made("gen-"), made("gen-"));
    assert!(first.starts_with("gen-") && first.len() == 9 && first != second, "{first} {second}");
    assert!(first[4..].bytes().all(|b| b"bcdfghjklmnpqrstvwxz2456789".contains(&b)), "{first}");
    assert_eq!(made(&"y".repeat(70)).len(), 63);
}

#[test]
fn creates_that_are_refused() {
    let mut world = World::new();
    world.ok(world.create("configmaps", "ns", config_map("m", "1")));
    let cases: &[(&str, Value, u16, &str)] = &[
        ("ns", config_map("m", "2"), 409, "configmaps \"m\" already exists"),
        ("absent", config_map("x", "1"), 404, "namespaces \"absent\" not found"),
        (
            "ns",
            json!({"metadata": {"name": "x", "resourceVersion": "12"}}),
            500,
            "resourceVersion should not be set on objects to be created",
        ),
        (
            "ns",
            json!({"metadata": {"name": "x", "namespace": "other"}}),
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            "ns",
            json!({}),
            422,
            "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required",
        ),
    ];
    for (namespace, object, code, message) in cases {
        let refused = world.refused(world.create("configmaps", namespace, object.clone()));
        assert_eq!(refused, (*code, (*message).to_owned()), "{object}");
    }
}

#[test]
fn unknown_fields_are_refused_told_or_dropped_as_asked() {
    let mut world = World::new();
    let object = |name: &str| json!({"metadata": {"name": name}, "bogus": 1});
    world.options.field_validation = FieldValidation::Strict;
    let (code, message) = world.refused(world.create("configmaps", "ns", object("s")));
    assert_eq!(code, 400);
    assert!(message.contains("strict decoding error: unknown field \"bogus\""), "{message}");
    for (validation, warnings) in [(FieldValidation::Warn, 1), (FieldValidation::Ignore, 0)] {
        world.options.field_validation = validation;
        let request = world.create("configmaps", "ns", object(&format!("{validation:?}").to_lowercase()));
        let answer = world.apply(request).unwrap();
        assert_eq!((answer.warnings.len(), answer.object().get("bogus")), (warnings, None));
    }
}

#[test]
fn a_dry_run_answers_and_changes_nothing() {
    let mut world = World::new();
    world.options.dry_run = true;
    let before = world.state.revision();
    let made = world.ok(world.create("deployments.apps", "ns", deployment("w", 1)));
    assert_eq!(made["metadata"].get("resourceVersion"), None);
    assert_eq!(world.state.revision(), before);
    assert_eq!(world.get("deployments.apps", "w"), None);
}

#[test]
fn a_put_checks_the_version_it_names() {
    let mut world = World::new();
    let first = world.ok(world.create("configmaps", "ns", config_map("m", "1")));
    let mut changed = first.clone();
    changed["data"] = json!({"a": "2"});
    let second = world.ok(world.update("configmaps", "m", changed));
    assert_ne!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);

    let cases: &[(&str, Value, u16, &str)] = &[
        (
            "resourceVersion",
            first["metadata"]["resourceVersion"].clone(),
            409,
            "the object has been modified",
        ),
        ("resourceVersion", json!("abc"), 500, "strconv.ParseUint: parsing \"abc\": invalid syntax"),
        (
            "uid",
            json!("00000000-0000-0000-0000-000000000000"),
            409,
            "Precondition failed: UID in precondition: 0000",
        ),
        (
            "name",
            json!(""),
            400,
            "the name of the object (m based on URL) was undeterminable: name must be provided",
        ),
        (
            "name",
            json!("other"),
            400,
            "the name of the object (other) does not match the name on the URL (m)",
        ),
    ];
    for (key, value, code, message) in cases {
        let mut object = second.clone();
        object["metadata"][*key] = value.clone();
        let refused = world.refused(world.update("configmaps", "m", object));
        assert!(refused.0 == *code && refused.1.contains(message), "{key}: {refused:?}");
    }
    for version in [json!("0"), Value::Null] {
        let mut object = second.clone();
        object["metadata"]["resourceVersion"] = version;
        world.ok(world.update("configmaps", "m", object));
    }
}

#[test]
fn a_put_that_changes_nothing_keeps_the_version() {
    let mut world = World::new();
    for (resource, object) in [("configmaps", config_map("m", "1")), ("deployments.apps", deployment("m", 1))]
    {
        let made = world.ok(world.create(resource, "ns", object));
        let before = world.state.revision();
        let same = world.ok(world.update(resource, "m", made.clone()));
        assert_eq!((same, world.state.revision()), (made, before));
    }
}

#[test]
fn only_some_kinds_are_made_by_put_and_not_all_are_replaced_blindly() {
    let mut world = World::new();
    let refused = world.refused(world.update("configmaps", "m", config_map("m", "1")));
    assert_eq!(refused, (404, "configmaps \"m\" not found".to_owned()));
    let lease = json!({"metadata": {"name": "l"}, "spec": {}});
    let (code, _) = world.reply(world.update("leases.coordination.k8s.io", "l", lease.clone()));
    assert_eq!(code, 201);
    let refused = world.refused(world.update("leases.coordination.k8s.io", "l", lease));
    let message = "leases.coordination.k8s.io \"l\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update";
    assert_eq!(refused, (422, message.to_owned()));
}

#[test]
fn the_generation_counts_changes_of_the_spec() {
    let mut world = World::new();
    world.ok(world.create("deployments.apps", "ns", deployment("w", 1)));
    let mut generation = |request| {
        let object = world.ok(request);
        object["metadata"]["generation"].as_i64().unwrap()
    };
    let fixture = World::new();
    let merge = |patch| fixture.merge("deployments.apps", "w", patch);
    assert_eq!(generation(merge(json!({"metadata": {"labels": {"a": "b"}}}))), 1);
    assert_eq!(generation(merge(json!({"spec": {"minReadySeconds": 5}}))), 2);
    assert_eq!(generation(merge(json!({"metadata": {"generation": 50}}))), 2);
    assert_eq!(generation(at("status", merge(json!({"status": {"observedGeneration": 2}})))), 2);
}

#[test]
fn status_and_spec_have_their_own_endpoints() {
    let mut world = World::new();
    world.ok(world.create("deployments.apps", "ns", deployment("w", 1)));
    let both = json!({"spec": {"minReadySeconds": 5}, "status": {"replicas": 7, "observedGeneration": 1}});
    let main = world.ok(world.merge("deployments.apps", "w", both.clone()));
    assert_eq!((&main["spec"]["minReadySeconds"], main["status"].get("replicas")), (&json!(5), None));
    let mut other = both;
    other["spec"]["minReadySeconds"] = json!(9);
    let status = world.ok(at("status", world.merge("deployments.apps", "w", other)));
    assert_eq!((&status["spec"]["minReadySeconds"], &status["status"]["replicas"]), (&json!(5), &json!(7)));
}

#[test]
fn a_patch_that_names_an_old_version_is_refused() {
    let mut world = World::new();
    let made = world.ok(world.create("configmaps", "ns", config_map("m", "1")));
    world.ok(world.merge("configmaps", "m", json!({"data": {"a": "2"}})));
    let version = &made["metadata"]["resourceVersion"];
    let stale = json!({"metadata": {"resourceVersion": version}, "data": {"a": "3"}});
    assert_eq!(world.refused(world.merge("configmaps", "m", stale)).0, 409);
    assert_eq!(world.refused(world.merge("configmaps", "absent", json!({}))).0, 404);
}

#[test]
fn the_scale_is_a_window_on_the_replicas() {
    let mut world = World::new();
    world.ok(world.create("deployments.apps", "ns", deployment("w", 1)));
    let scale = world.ok(at("scale", world.merge("deployments.apps", "w", json!({"spec": {"replicas": 3}}))));
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(3)));
    assert_eq!(scale["status"]["selector"], "app=a");
    let stored = world.get("deployments.apps", "w").unwrap();
    assert_eq!((&stored["spec"]["replicas"], &stored["metadata"]["generation"]), (&json!(3), &json!(2)));
    assert_eq!(scale["metadata"]["resourceVersion"], stored["metadata"]["resourceVersion"]);

    let refused =
        world.refused(at("scale", world.merge("deployments.apps", "w", json!({"spec": {"replicas": -1}}))));
    let message = "Scale.autoscaling \"w\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0";
    assert_eq!(refused, (422, message.to_owned()));
    let mut stale = scale;
    stale["metadata"]["resourceVersion"] = json!("1");
    assert_eq!(world.refused(at("scale", world.update("deployments.apps", "w", stale))).0, 409);
}

#[test]
fn endpoints_that_are_not_there() {
    let mut world = World::new();
    world.ok(world.create("configmaps", "ns", config_map("m", "1")));
    let (code, _) = world.refused(at("status", world.merge("configmaps", "m", json!({}))));
    assert_eq!(code, 404);
    let request = at("status", world.create("deployments.apps", "ns", deployment("w", 1)));
    assert_eq!(world.refused(request).0, 405);
    let request = world.request(Verb::DeleteCollection, "namespaces", "", "", Body::None);
    assert_eq!(world.refused(request).0, 405);
}

#[test]
fn services_get_addresses_and_ports() {
    let mut world = World::new();
    let service = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
    let ports = json!([{"port": 80}]);
    let made = world.ok(world.create("services", "ns", service("a", json!({"ports": ports}))));
    let address = made["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert!(address.starts_with("10.96.0.") && made["spec"]["clusterIPs"] == json!([address]), "{made}");
    assert_eq!(made["spec"]["ipFamilies"], json!(["IPv4"]));
    let relabelled = world.ok(world.merge("services", "a", json!({"metadata": {"labels": {"x": "y"}}})));
    assert_eq!(relabelled["spec"]["clusterIP"], json!(address));

    let cases: &[(Value, &str)] = &[
        (json!({"clusterIP": address, "ports": ports}), "provided IP is already allocated"),
        (
            json!({"clusterIP": "11.0.0.1", "ports": ports}),
            "the provided network does not match the current range",
        ),
        (json!({"clusterIP": "10.96.0.1", "ports": ports}), "provided IP is already allocated"),
        (
            json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]}),
            "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-30003",
        ),
    ];
    for (spec, message) in cases {
        let refused = world.refused(world.create("services", "ns", service("x", spec.clone())));
        assert!(refused.0 == 422 && refused.1.contains(message), "{refused:?}");
    }

    world.options.dry_run = true;
    let elsewhere = json!({"clusterIP": "11.0.0.1", "ports": ports});
    let refused = world.refused(world.create("services", "ns", service("x", elsewhere)));
    assert!(refused.1.ends_with("The range of valid IPs is 10.96.0.0/24"), "{refused:?}");
    world.options.dry_run = false;

    let spec = json!({"type": "NodePort", "ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "b"}]});
    let mut numbers = vec![];
    for name in ["n1", "n2"] {
        let made = world.ok(world.create("services", "ns", service(name, spec.clone())));
        numbers.extend((0..2).map(|at| made["spec"]["ports"][at]["nodePort"].as_i64().unwrap()));
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [30000, 30001, 30002, 30003]);
    let refused = world.refused(world.create("services", "ns", service("n3", spec)));
    assert!(refused.1.contains("range is full"), "{refused:?}");
}

#[test]
fn what_a_patch_may_not_change_is_refused() {
    let mut world = World::new();
    world.ok(world.create("deployments.apps", "ns", deployment("w", 1)));
    for (key, value) in [("uid", "other"), ("deletionTimestamp", "2020-01-01T00:00:00Z")] {
        let status =
            world.apply(world.merge("deployments.apps", "w", json!({"metadata": {key: value}}))).unwrap_err();
        let cause = format!("metadata.{key}: Invalid value: \"{value}\": field is immutable");
        assert_eq!(
            (status.code, status.message),
            (422, format!("Deployment.apps \"w\" is invalid: {cause}"))
        );
        // The metadata is checked for itself and with the kind; since v1.37 it is told once.
        assert_eq!(status.details.unwrap().causes.len(), 1);
    }
    let patch = json!({"metadata": {"creationTimestamp": "2020-01-01T00:00:00Z", "resourceVersion": null}});
    world.ok(world.merge("deployments.apps", "w", patch));
}

#[test]
fn keys_that_stand_twice_in_a_patch_are_told_of() {
    let mut world = World::new();
    world.ok(world.create("configmaps", "ns", config_map("m", "1")));
    let patch = |world: &World| {
        let bytes = r#"{"data": {"a": "2", "a": "3"}}"#.into();
        world.request(Verb::Patch, "configmaps", "ns", "m", Body::Patch(PatchKind::Merge, bytes))
    };
    let answer = world.apply(patch(&world)).unwrap();
    assert_eq!(answer.warnings, ["duplicate field \"data.a\""]);
    world.options.field_validation = FieldValidation::Strict;
    let (code, message) = world.refused(patch(&world));
    assert!(
        code == 422 && message.contains("strict decoding error: duplicate field \"data.a\""),
        "{message}"
    );
}

#[test]
fn what_is_wrong_anywhere_is_said_before_what_berth_lacks() {
    let mut world = World::new();
    let mut object = pod("p");
    object["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": ""}}]);
    let (_, message) = world.refused(world.create("pods", "ns", object.clone()));
    assert!(message.ends_with("claimName: Required value"), "{message}");
    object["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] = json!("c");
    assert!(
        world.refused(world.create("pods", "ns", object)).1.contains("Berth has no volumes of this type")
    );
}

#[test]
fn what_is_stored_is_bounded_and_what_was_larger_can_be_put_right() {
    let mut world = World::new();
    let many = |count: usize| -> Value { (0..count).map(|at| format!("example.com/{at:050}")).collect() };
    let large = |name: &str, count: usize| json!({"metadata": {"name": name, "namespace": "ns", "finalizers": many(count)}});
    let (code, message) = world.refused(world.create("configmaps", "ns", large("m", 40_000)));
    assert_eq!(code, 413);
    assert!(
        message.starts_with("Request entity too large: configmaps \"m\" would be stored as "),
        "{message}"
    );
    world.ok(world.create("configmaps", "ns", config_map("m", "1")));
    assert_eq!(world.refused(world.merge("configmaps", "m", large("m", 40_000))).0, 413);

    let resource = world.catalogue.named("configmaps").unwrap();
    let draft = Draft::encode(resource, &large("old", 50_000), None).unwrap();
    let key = Key::new("configmaps", "ns", "old");
    let op = Op { key, expect: Expect::Absent, action: Action::Put(draft) };
    let commit = Commit { ops: vec![op], ..Commit::default() };
    for change in Ledger::default().stage(&world.state, commit).unwrap() {
        world.state.publish(change);
    }
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    assert_eq!(world.refused(world.merge("configmaps", "old", label)).0, 413);
    let fewer = json!({"metadata": {"finalizers": many(40_000)}});
    world.ok(world.merge("configmaps", "old", fewer));
    let marked = world.ok(world.delete("configmaps", "old", json!({})));
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
}
