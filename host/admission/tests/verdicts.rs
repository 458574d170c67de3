//! What verdicts mean.
#![allow(clippy::unwrap_used)] // a test may

use berth_admission::{Breaker, Judged, Mutates, PolicyError, Verdict, judge};
use berth_api::{Timestamp, kinds};
use berth_json::{Value, json};

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "namespace": "team", "uid": "u"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    })
}

fn judged(sub_resource: &str, mutates: Mutates, verdict: Verdict) -> Result<Judged, String> {
    let catalogue = kinds::catalogue();
    let resource = catalogue.named("pods").unwrap();
    judge("strict", mutates, verdict, resource, sub_resource, Some(&pod())).map_err(|error| match error {
        PolicyError::BadVerdict(why) => why,
        PolicyError::Failed(why) => panic!("{why}"),
    })
}

fn patch(patch: &Value) -> Verdict {
    Verdict { allowed: true, patch: patch.to_string().into_bytes(), ..Verdict::default() }
}

#[test]
fn refusals() {
    let said = |code, message: &str| {
        let verdict = Verdict { code, message: message.to_owned(), ..Verdict::default() };
        judged("", Mutates::No, verdict).map(|judged| {
            let refusal = judged.refusal.unwrap();
            (refusal.code, refusal.message)
        })
    };
    let denied = "admission policy \"strict\" denied the request";
    assert_eq!(said(0, "no"), Ok((403, format!("{denied}: no"))));
    assert_eq!(said(422, "a\nb"), Ok((422, format!("{denied}: a b"))), "a line forges no other");
    assert_eq!(said(0, ""), Ok((403, format!("{denied} without explanation"))));
    assert_eq!(said(0, &"é".repeat(2_000)).unwrap().1.len(), denied.len() + 2 + 1_024);
    assert_eq!(said(200, "no"), Err("200 is no status of a refusal, which are 400 to 499".to_owned()));
    assert_eq!(said(500, "no"), Err("500 is no status of a refusal, which are 400 to 499".to_owned()));
}

#[test]
fn changes() {
    let label = json!([{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]);
    let changed = judged("", Mutates::Once, patch(&label)).unwrap().changed.unwrap();
    assert_eq!(changed["metadata"]["labels"]["a"], "b");
    let refused = Verdict { allowed: false, ..patch(&label) };
    assert_eq!(
        judged("", Mutates::Once, refused),
        Err("it has a patch, and it refuses the object".to_owned())
    );
    assert_eq!(
        judged("", Mutates::No, patch(&label)),
        Err("it has a patch, and it says that it changes no objects".to_owned())
    );
    assert_eq!(judged("", Mutates::Once, patch(&json!([]))).unwrap().changed, Some(pod()));
    assert_eq!(
        judged("", Mutates::Once, Verdict { allowed: true, ..Verdict::default() }).unwrap().changed,
        None
    );
}

#[test]
fn what_a_patch_may_not_do() {
    let set = |path: &str, value: Value| json!([{"op": "add", "path": path, "value": value}]);
    for (done, why) in [
        (set("/metadata/name", json!("q")), "its patch changes metadata.name, which is the server's"),
        (
            set("/metadata/namespace", json!("q")),
            "its patch changes metadata.namespace, which is the server's",
        ),
        (set("/metadata/uid", json!("q")), "its patch changes metadata.uid, which is the server's"),
        (
            set("/metadata/managedFields", json!([])),
            "its patch changes metadata.managedFields, which is the server's",
        ),
        (set("/kind", json!("Node")), "its patch changes what kind of object it is"),
        (set("/apiVersion", json!("v2")), "its patch changes what kind of object it is"),
        (set("", json!({})), "its patch does not fit the object: "),
        (set("", json!([1])), "its patch does not fit the object: "),
        (
            set("/status", json!({"phase": "Running"})),
            "its patch changes the status, which is written at `/status`",
        ),
        (json!({"not": "a list"}), "its patch: "),
        (set("/spec/nowhere/deep", json!(1)), "its patch does not fit the object: "),
        (set("/spec/containers", json!("a text")), "its patch does not fit the object: "),
        (
            set("/spec/unheardOf", json!(1)),
            "its patch does not fit the object: strict decoding error: unknown field",
        ),
        (
            json!([{"op": "test", "path": "/metadata/name", "value": "q"}]),
            "its patch does not fit the object: ",
        ),
    ] {
        let said = judged("", Mutates::Once, patch(&done)).unwrap_err();
        assert!(said.starts_with(why), "{done}: {said}");
    }
    let garbage = Verdict { allowed: true, patch: b"\xff{".to_vec(), ..Verdict::default() };
    assert!(judged("", Mutates::Once, garbage).unwrap_err().starts_with("its patch: "));
    let huge = Verdict { allowed: true, message: "m".repeat(5 << 20), ..Verdict::default() };
    assert_eq!(
        judged("", Mutates::Once, huge),
        Err("it has 5242880 bytes, and 4194304 are the limit".to_owned())
    );
    let phase = set("/status", json!({"phase": "Running"}));
    assert!(judged("status", Mutates::Once, patch(&phase)).unwrap().changed.is_some());
    assert_eq!(
        judged("scale", Mutates::Once, patch(&json!([]))),
        Err("it has a patch, and what is written at `/scale` is not a policy's to change".to_owned())
    );
}

#[test]
fn floods_of_words_are_cut() {
    let verdict = Verdict {
        allowed: true,
        warnings: vec!["w".repeat(1_000); 100],
        audit: vec![("k".repeat(100), "v".repeat(5_000)); 100],
        ..Verdict::default()
    };
    let Judged { warnings, audit, .. } = judged("", Mutates::No, verdict).unwrap();
    assert_eq!((warnings.len(), warnings[0].len()), (16, 256));
    assert_eq!((audit.len(), audit[0].0.len(), audit[0].1.len()), (16, 63, 1_024));
}

#[test]
fn a_policy_is_left_alone_when_all_reviews_fail() {
    let now = Timestamp::from_seconds(1_000);
    let mut breaker = Breaker::default();
    let opened: Vec<_> = (0..6).map(|_| breaker.count(now, true)).collect();
    assert_eq!(opened, [None, None, None, None, Some(5), Some(6)]);

    // One who can send what it fails at does not switch it off for the others.
    let mut breaker = Breaker::default();
    for round in 0..100 {
        assert_eq!(breaker.count(now, round % 5 != 0), None, "{round}");
    }
    // What was long ago does not count.
    let mut breaker = Breaker::default();
    for seconds in 0..100 {
        assert_eq!(breaker.count(Timestamp::from_seconds(seconds * 3), true), None);
    }
}
