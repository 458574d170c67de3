//! Admission policies in the way of writes: in which order they are asked, and what happens when they give no verdict.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)] // a test may

mod world;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use berth_admission::{Mutates, Operation, PolicyError, Request as Asked, Verdict};
use berth_api::Reason;
use berth_json::{Value, json};
use berth_pipeline::{Body, Options, Request, Verb};
use berth_state::MemoryStore;
use tokio::sync::Notify;
use world::{Script, World, config_map, rule};

const MAPS: [&str; 1] = ["configmaps"];

fn allow() -> Verdict {
    Verdict { allowed: true, ..Verdict::default() }
}

fn set(key: &str, value: &str) -> Verdict {
    let patch = json!([
        {"op": "add", "path": "/data", "value": {key: value}},
    ]);
    Verdict { patch: patch.to_string().into_bytes(), ..allow() }
}

fn object_of(asked: &Asked) -> Value {
    serde_json::from_slice(&asked.object).unwrap()
}

#[tokio::test]
async fn those_that_change_come_first_and_once_more_then_those_that_refuse() {
    let world = World::start(&MemoryStore::new(), true).await;
    let calls = Arc::new(Mutex::new(Vec::new()));
    let script = |name: &'static str, answer: fn(&Value) -> Verdict| -> Script {
        let calls = calls.clone();
        Arc::new(move |asked: &Asked| {
            let object = object_of(asked);
            calls.lock().unwrap().push(format!("{name} {}", object["data"]));
            Ok(answer(&object))
        })
    };
    let maps = || rule("", &MAPS, 1);
    let refuse = script("refuse", |object| match object["data"]["n"].as_str() {
        Some("2") => Verdict { warnings: vec!["two".to_owned()], ..allow() },
        _ => Verdict { message: "n must be 2".to_owned(), ..Verdict::default() },
    });
    // The order is what bindings say, then their names; who only refuses is asked last wherever it stands.
    world.bind("refuse", Mutates::No, maps(), json!({"order": -9}), refuse).await;
    let once = script("once", |object| if object["data"]["n"] == "1" { set("n", "2") } else { allow() });
    world.bind("once", Mutates::Once, maps(), json!({"order": 5}), once).await;
    let again = script("again", |object| if object["data"].is_null() { set("n", "1") } else { allow() });
    world.bind("again", Mutates::Again, maps(), json!({}), again).await;

    let answer = world.create("configmaps", config_map("a")).await.unwrap();
    assert_eq!(answer.object()["data"], json!({"n": "2"}));
    assert_eq!(answer.warnings, ["two"]);
    let expected =
        ["again null", r#"once {"n":"1"}"#, r#"again {"n":"2"}"#, r#"refuse {"n":"2"}"#].map(str::to_owned);
    assert_eq!(std::mem::take(&mut *calls.lock().unwrap()), expected);

    let object = json!({"metadata": {"name": "b"}, "data": {"n": "3"}});
    let refused = world.create("configmaps", object).await.unwrap_err();
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (403, "admission policy \"refuse\" denied the request: n must be 2")
    );
    let expected = ["again", "once", "refuse"].map(|name| format!(r#"{name} {{"n":"3"}}"#));
    assert_eq!(*calls.lock().unwrap(), expected, "nothing was changed: nobody is asked again");
}

#[tokio::test]
async fn every_way_to_write_is_reviewed_and_told_as_it_is() {
    let world = World::start(&MemoryStore::new(), true).await;
    let asked = Arc::new(Mutex::new(Vec::<Asked>::new()));
    let told = asked.clone();
    let script: Script = Arc::new(move |request: &Asked| {
        told.lock().unwrap().push(request.clone());
        Ok(allow())
    });
    let everything = rule("*", &["configmaps", "namespaces", "deployments", "*/*"], 7);
    world.bind("witness", Mutates::No, everything, json!({}), script).await;
    // Controllers write, too.
    let seen = |by: &str| -> Vec<Asked> {
        let mut asked = asked.lock().unwrap();
        asked.drain(..).filter(|request| request.user == by).collect()
    };

    let labels = json!({"metadata": {"labels": {"env": "prod"}}});
    world.cluster.apply(world.merge("namespaces", "", "default", &labels)).await.unwrap();
    let [request] = &seen("system:test")[..] else { panic!("once") };
    assert!(request.namespace_labels.contains(&("env".to_owned(), "prod".to_owned())), "its own labels");
    assert_eq!((request.operation, request.resource.as_str()), (Operation::Update, "namespaces"));

    let dry = Options { dry_run: true, ..Options::default() };
    let create = world.request(Verb::Create, "configmaps", "", Body::Object(config_map("a")));
    world.cluster.apply(Request { options: dry, ..create.clone() }).await.unwrap();
    world.cluster.apply(create).await.unwrap();
    let [first, second] = &seen("system:test")[..] else { panic!("twice") };
    assert!(first.dry_run && !second.dry_run && first.uid != second.uid);
    assert!(second.namespace_labels.contains(&("env".to_owned(), "prod".to_owned())));
    assert_eq!((second.namespace.as_str(), second.name.as_str()), ("default", "a"));
    assert_eq!(
        (second.group.as_str(), second.version.as_str(), second.kind.as_str()),
        ("", "v1", "ConfigMap")
    );
    assert_eq!(second.user_groups, ["system:masters", "system:authenticated"]);
    assert!(second.old_object.is_empty());

    world.cluster.apply(world.request(Verb::Delete, "configmaps", "a", Body::None)).await.unwrap();
    let [request] = &seen("system:test")[..] else { panic!("once") };
    assert_eq!(request.operation, Operation::Delete);
    assert!(request.object.is_empty());
    let gone: Value = serde_json::from_slice(&request.old_object).unwrap();
    assert_eq!(gone["metadata"]["name"], "a");

    let template = json!({
        "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]},
    });
    let deployment = json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": template},
    });
    world.create("deployments.apps", deployment).await.unwrap();
    let scale = world.merge("deployments.apps", "scale", "web", &json!({"spec": {"replicas": 2}}));
    world.cluster.apply(scale).await.unwrap();
    let status =
        world.merge("deployments.apps", "status", "web", &json!({"status": {"observedGeneration": 9}}));
    world.cluster.apply(status).await.unwrap();
    let seen = seen("system:test");
    let mut paths: Vec<_> = seen.iter().map(|r| (r.kind.as_str(), r.sub_resource.as_str())).collect();
    paths.dedup(); // a write that met a controller's is reviewed again
    assert_eq!(paths, [("Deployment", ""), ("Scale", "scale"), ("Deployment", "status")]);
    assert_eq!(object_of(&seen[1])["spec"]["replicas"], 2);
}

#[tokio::test]
async fn a_policy_that_fails_is_dealt_with_as_its_binding_says() {
    let world = World::start(&MemoryStore::new(), true).await;
    let is_broken = Arc::new(AtomicBool::new(true));
    let script = || -> Script {
        let is_broken = is_broken.clone();
        Arc::new(move |_: &Asked| match is_broken.load(Ordering::SeqCst) {
            true => Err(PolicyError::Failed("it trapped".to_owned())),
            false => Ok(allow()),
        })
    };
    world.bind("closed", Mutates::No, rule("", &MAPS, 1), json!({"failurePolicy": "Fail"}), script()).await;
    let secrets = rule("", &["secrets"], 1);
    world.bind("open", Mutates::No, secrets, json!({"failurePolicy": "Ignore"}), script()).await;

    let answer = world.create("secrets", json!({"metadata": {"name": "s"}})).await.unwrap();
    assert_eq!(answer.warnings, ["admission policy \"open\" gave no verdict: it trapped"]);
    let refused = world.create("configmaps", config_map("a")).await.unwrap_err();
    assert_eq!(refused.code, 500);
    assert_eq!(
        refused.message,
        "Internal error occurred: admission policy \"closed\" gave no verdict: it trapped"
    );
    let status = world.binding_until("closed", |status| !status["message"].is_null()).await;
    assert_eq!((&status["message"], &status["activePlugin"]), (&"it trapped".into(), &"closed".into()));

    // One that fails at everything is left alone for a while; its binding's word stands.
    for _ in 0..4 {
        world.create("configmaps", config_map("a")).await.unwrap_err();
    }
    let status = world.binding_until("closed", |status| status["activePlugin"].is_null()).await;
    assert_eq!(status["message"], "plugin closed: the last 5 reviews failed: it trapped");
    let refused = world.create("configmaps", config_map("a")).await.unwrap_err();
    assert_eq!(refused.message, "admission policy \"closed\" gave no verdict: it does not run");
    assert_eq!(refused.reason, Reason::ServiceUnavailable);
    assert_eq!(refused.details.unwrap().retry_after_seconds, 1);

    // It comes back without anybody's help.
    is_broken.store(false, Ordering::SeqCst);
    world.binding_until("closed", |status| status["activePlugin"] == "closed").await;
    world.create("configmaps", config_map("a")).await.unwrap();
}

#[tokio::test]
async fn a_verdict_that_cannot_be_used_is_a_failed_call() {
    let world = World::start(&MemoryStore::new(), true).await;
    let clumsy: Script = Arc::new(|_: &Asked| Ok(set("n", "1")));
    world.bind("clumsy", Mutates::No, rule("", &MAPS, 1), json!({"failurePolicy": "Fail"}), clumsy).await;
    let refused = world.create("configmaps", config_map("a")).await.unwrap_err();
    let why = "it has a patch, and it says that it changes no objects";
    assert!(refused.message.ends_with(why), "{refused}");
    // Where somebody else has written meanwhile, it was asked once more.
    let counted = world.calls.to_text();
    let of = |family: &str| -> u32 {
        let name =
            format!("berth_policy_{family}_total{{role=\"admission\",place=\"clumsy\",plugin=\"clumsy\"}} ");
        let value = counted.lines().find_map(|line| line.strip_prefix(&name));
        value.unwrap_or_else(|| panic!("no {name} in\n{counted}")).parse().unwrap()
    };
    assert!(of("calls") > 0 && of("failures") == of("calls"), "{counted}");
}

#[tokio::test]
async fn a_policy_that_was_in_force_is_no_gap_after_a_restart() {
    let disk = MemoryStore::new();
    let world = World::start(&disk, true).await;
    let refuse: Script = Arc::new(|_: &Asked| Ok(Verdict::default()));
    world.bind("closed", Mutates::No, rule("*", &["*"], 7), json!({"failurePolicy": "Fail"}), refuse).await;
    world.binding_until("closed", |status| !status["manifest"].is_null()).await;
    world.create("configmaps", config_map("a")).await.unwrap_err();

    // It starts, although all that a cluster has is what the policy would be asked about.
    let world = World::start(&disk, false).await;
    let refused = world.create("configmaps", config_map("a")).await.unwrap_err();
    assert_eq!(refused.message, "admission policy \"closed\" gave no verdict: it does not run");
    // Who may change bindings can always open the cluster again.
    let unbind = world.request(Verb::Delete, "pluginbindings.berth.dev", "closed", Body::None);
    world.cluster.apply(unbind).await.unwrap();
    world.create("configmaps", config_map("a")).await.unwrap();
}

#[tokio::test]
async fn a_binding_that_never_was_in_force_holds_up_nothing() {
    let world = World::start(&MemoryStore::new(), true).await;
    let refuse: Script = Arc::new(|_: &Asked| Ok(Verdict::default()));
    world.install("closed", Mutates::No, rule("", &MAPS, 1), refuse).await;
    let spec = json!({
        "role": "admission", "plugin": "closed", "failurePolicy": "Fail", "config": {"strict": "very", "mild": 1},
    });
    let binding = json!({"metadata": {"name": "closed"}, "spec": spec});
    world.create("pluginbindings.berth.dev", binding).await.unwrap();
    let status = world.binding_until("closed", |status| !status["message"].is_null()).await;
    assert_eq!(
        status["message"],
        "plugin closed: spec.config is not what the plugin takes: strict: Invalid value: \"string\": strict in body must be of \
         type boolean: \"string\"; unknown field \"mild\""
    );
    world.create("configmaps", config_map("a")).await.unwrap();
}

#[tokio::test]
async fn a_policy_that_thinks_holds_up_nobody_else() {
    let world = World::start(&MemoryStore::new(), true).await;
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new((Mutex::new(false), std::sync::Condvar::new())));
    let (begin, gate) = (begun.clone(), go_on.clone());
    let slow: Script = Arc::new(move |_: &Asked| {
        begin.notify_one();
        let mut open = gate.0.lock().unwrap();
        while !*open {
            open = gate.1.wait(open).unwrap();
        }
        Ok(allow())
    });
    world.bind("slow", Mutates::No, rule("", &MAPS, 1), json!({}), slow).await;
    let quick: Script = Arc::new(|_: &Asked| Ok(allow()));
    world.bind("quick", Mutates::No, rule("", &["secrets"], 1), json!({}), quick).await;

    let create = world.request(Verb::Create, "configmaps", "", Body::Object(config_map("a")));
    let cluster = world.cluster.clone();
    let waiting = tokio::spawn(async move { cluster.apply(create).await });
    begun.notified().await;
    world.create("secrets", json!({"metadata": {"name": "s"}})).await.unwrap();
    assert!(!waiting.is_finished());
    *go_on.0.lock().unwrap() = true;
    go_on.1.notify_all();
    waiting.await.unwrap().unwrap();
}
