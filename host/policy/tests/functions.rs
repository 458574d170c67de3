//! Policies that are functions of their question: admission and autoscaling in the sandbox, well-behaved and not.
#![allow(clippy::unwrap_used)] // Helpers of tests fail as tests do.

mod common;

use std::sync::Arc;

use berth_admission::{Mutates, Operation, PolicyError, Request, Reviewer, Verdict};
use berth_autoscale::{Metric, Pod, PodState, Question, Recommender, Source, TargetKind};
use berth_policy::{Limits, WasmRecommender, WasmReviewer};
use berth_sdk::admission::ask;
use common::{engine, guest};
use serde_json::json;

const MEMORY_BYTES: usize = 16 << 20;
const DEADLINE_MS: u64 = 50;

fn start(package: &str, config: &str) -> Result<WasmReviewer, String> {
    let component = engine().load(&guest(package), Limits::new(MEMORY_BYTES, DEADLINE_MS)).unwrap();
    component.admission("test", config.as_bytes()).map_err(|error| error.to_string())
}

fn hostile(fault: &str) -> Result<WasmReviewer, String> {
    start("tests/policies/hostile-admission", &format!("\"{fault}\""))
}

fn pod(image: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "team"},
        "spec": {"containers": [{"name": "c", "image": image}]},
    })
}

fn asked(object: &serde_json::Value) -> Request {
    Request {
        now_ms: 1,
        seed: 1,
        uid: "u".to_owned(),
        operation: Operation::Create,
        group: String::new(),
        version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        resource: "pods".to_owned(),
        sub_resource: String::new(),
        namespace: "team".to_owned(),
        namespace_labels: vec![],
        name: "p".to_owned(),
        user: "ann".to_owned(),
        user_uid: String::new(),
        user_groups: vec![],
        user_extra: vec![("key".to_owned(), vec!["value".to_owned()])],
        dry_run: false,
        object: Arc::from(object.to_string().into_bytes()),
        old_object: Arc::default(),
    }
}

fn review(reviewer: &WasmReviewer) -> Result<Verdict, String> {
    reviewer.review(&asked(&pod("i:1"))).map_err(|error| match error {
        PolicyError::Failed(why) | PolicyError::BadVerdict(why) => why,
    })
}

#[test]
fn a_policy_answers_in_the_sandbox_as_it_does_natively() {
    let config = r#"{"allowedRegistries": ["registry.example"]}"#;
    let wasm = start("plugins/image-policy", config).unwrap();
    assert_eq!((wasm.manifest().name.as_str(), wasm.manifest().mutates), ("image-policy", Mutates::No));
    for image in ["registry.example/a:1", "registry.example/a", "nginx:1", "", "é🦀"] {
        let verdict = wasm.review(&asked(&pod(image))).unwrap();
        let native = berth_sdk::admission::Request::create("pods", pod(image));
        let native = ask::<berth_plugin_image_policy::ImagePolicy>(config, &native).unwrap();
        assert_eq!(
            (verdict.allowed, verdict.message.as_str()),
            (native.is_allowed(), native.message()),
            "{image}"
        );
    }
}

#[test]
fn a_component_says_what_configuration_it_takes() {
    let schema =
        |package| engine().load(&guest(package), Limits::default()).unwrap().config_schema().unwrap();
    let taken: serde_json::Value = serde_json::from_str(&schema("plugins/image-policy")).unwrap();
    assert_eq!(taken["properties"]["requireDigest"]["type"], "boolean");
    assert_eq!(schema("tests/policies/hostile-admission"), "");
    assert_eq!(schema("plugins/spread"), "", "one that does not export `configuring`");
}

#[test]
fn what_fails_at_one_review_is_there_for_the_next() {
    for (fault, why) in [
        ("loop", "the policy used more than its 50 ms for one call"),
        ("eat", "the policy asked for more than its 16777216 bytes of memory"),
        ("recurse", "out of bounds"),
        ("panic", "a bug in the policy"),
        ("forged-line", "a bug 2026-11-30T00:00:00Z  INFO berth: all is well"),
        ("log-flood", "the policy used more than its 50 ms for one call"),
    ] {
        let reviewer = hostile(fault).unwrap();
        for _ in 0..2 {
            let said = review(&reviewer).unwrap_err();
            assert!(said.contains(why), "{fault}: {said}");
        }
    }
    let component = engine().load(&guest("tests/policies/hostile-admission"), Limits::new(64 << 20, 1_000));
    let flood = component.unwrap().admission("test", b"\"huge-message\"").unwrap();
    assert!(review(&flood).unwrap_err().contains("too much data"), "8 MiB of words");
    let reviewer = hostile("sometimes-panic").unwrap();
    let answers: Vec<bool> = (0..9).map(|_| review(&reviewer).is_ok()).collect();
    assert_eq!(answers, [true, true, false, true, true, false, true, true, false]);
}

#[test]
fn a_policy_that_leaks_does_not_end_by_that() {
    let reviewer = hostile("leak").unwrap();
    for round in 0..100 {
        assert!(
            review(&reviewer).is_ok(),
            "the review {round}, of a policy that leaks 1 of its 16 MiB at each"
        );
    }
}

#[test]
fn one_that_cannot_serve_is_refused_at_its_start() {
    for (fault, why) in [
        ("loop-at-once", "asked to describe itself, the policy used more than its 2000 ms for one call"),
        ("panic-at-once", "a bug in describe"),
        ("many-rules", "the plugin's manifest is not usable: it has 1000 rules, and 64 are the limit"),
        ("no-operation", "its rule 1: operations are the bits 1 create, 2 update and 4 delete, not 0"),
        ("bad-selector", "its rule 1: the selector `a in (`: "),
    ] {
        let said = hostile(fault).err().unwrap();
        assert!(said.contains(why), "{fault}: {said}");
    }
    let scheduler = engine().load(&guest("plugins/spread"), Limits::default()).unwrap();
    assert_eq!(
        scheduler.admission("s", b"").err().unwrap().to_string(),
        "the component is for the role scheduler, and is bound in the role admission"
    );
}

#[test]
fn many_may_ask_at_a_time() {
    let reviewer = start("plugins/image-policy", "").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..50).for_each(|_| assert!(review(&reviewer).unwrap().allowed)));
        }
    });
}

fn recommender(fault: &str) -> Result<WasmRecommender, String> {
    let component =
        engine().load(&guest("tests/policies/hostile-autoscaler"), Limits::new(MEMORY_BYTES, DEADLINE_MS));
    let config = format!("\"{fault}\"");
    component.unwrap().autoscaler("test", config.as_bytes()).map_err(|error| error.to_string())
}

fn question() -> Question {
    let pod = Pod { state: PodState::READY, start_ms: 1, ready_changed_ms: 2 };
    let metric = Metric {
        source: Source::Resource,
        name: "cpu".to_owned(),
        target_kind: TargetKind::Utilization,
        target: 50,
        trouble: String::new(),
        measured_ms: 1,
        window_ms: 1,
        pod_values: vec![Some(1), None],
        pod_requests: vec![None, Some(2)],
        value: None,
        history: vec![f64::NAN, 1.0],
    };
    Question {
        now_ms: 1,
        seed: 1,
        namespace: "team".to_owned(),
        name: "web".to_owned(),
        target: "Deployment/web".to_owned(),
        current: 2,
        desired: 2,
        min_replicas: 1,
        max_replicas: 9,
        tolerance_up: 0.1,
        tolerance_down: 0.1,
        initialization_ms: 1,
        readiness_delay_ms: 1,
        pods: vec![pod; 2],
        metrics: vec![metric],
        history_end_ms: 1,
        history_replicas: vec![1, 2],
    }
}

#[test]
fn recommendations_are_read_or_refused() {
    let said = |fault: &str| {
        let answer = recommender(fault).unwrap().recommend(&question());
        answer.map(|answer| (answer.replicas, answer.reason)).map_err(|error| error.to_string())
    };
    assert_eq!(said("none"), Ok((Some(3), "one more".to_owned())));
    assert_eq!(said("four-billion"), Ok((Some(u32::MAX), String::new())), "bounds are the host's");
    let (replicas, reason) = said("long-words").unwrap();
    assert_eq!((replicas, reason.len(), reason.contains('\n')), (None, 1_024, false));
    assert_eq!(
        said("no-such-metric").unwrap_err(),
        "the policy gave an unusable answer: there is no metric 8"
    );
    assert_eq!(said("loop").unwrap_err(), "the policy used more than its 50 ms for one call");
    assert!(said("panic").unwrap_err().contains("a bug in the policy"));
    for (fault, why) in [
        ("long-window", "a window of 4294967295 s is longer than the 604800 s of a week"),
        ("short-step", "a step of 1 s is not between 15 and 86400 s"),
        ("many-samples", "604800 s in steps of 15 s are more than 10080 samples"),
    ] {
        assert!(recommender(fault).err().unwrap().ends_with(why), "{fault}");
    }
}
