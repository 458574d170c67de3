//! Questions about identities and rights.
#![allow(clippy::unwrap_used)] // a test may

mod common;

use std::sync::Arc;

use berth_json::{Value, json};
use berth_pipeline::Identity;
use common::{World, admin};

const ACCESS: &str = "selfsubjectaccessreviews.authorization.k8s.io";

fn known(user: &str, group: &str) -> Arc<Identity> {
    Arc::new(Identity {
        user: user.to_owned(),
        uid: "u".to_owned(),
        groups: vec![group.to_owned(), "system:authenticated".to_owned()],
        extra: [("scopes".to_owned(), vec!["a".to_owned(), "b".to_owned()])].into(),
    })
}

fn resource(verb: &str, group: &str, resource: &str) -> Value {
    json!({"resourceAttributes": {
        "namespace": "ns", "verb": verb, "group": group, "resource": resource, "name": "n1",
    }})
}

fn path(verb: &str, path: &str) -> Value {
    json!({"nonResourceAttributes": {"verb": verb, "path": path}})
}

#[test]
fn everybody_learns_what_he_may_do() {
    let mut world = World::new();
    let who = [admin(), known("system:node:n1", "system:nodes"), known("system:serviceaccount:ns:x", "g")];
    let cases = [
        (resource("get", "", "configmaps"), [true, false, false]),
        (resource("get", "", "nodes"), [true, true, false]),
        (resource("create", "authorization.k8s.io", "selfsubjectaccessreviews"), [true, true, true]),
        (resource("create", "authorization.k8s.io", "subjectaccessreviews"), [true, false, false]),
        (resource("*", "*", "*"), [true, false, false]),
        (resource("list", "example.com", "widgets"), [true, false, false]),
        (path("get", "/apis"), [true, true, true]),
        (path("post", "/apis"), [true, false, false]),
    ];
    for (spec, expected) in cases {
        for (identity, allowed) in who.iter().zip(expected) {
            world.identity = identity.clone();
            let (code, answer) = world.reply(world.create(ACCESS, "", json!({"spec": spec})));
            assert_eq!((code, &answer["status"]), (201, &json!({"allowed": allowed})), "{answer}");
        }
    }
    assert_eq!(world.state.list(ACCESS, "").count(), 0, "a review is not stored");
}

#[test]
fn the_administrator_asks_about_others() {
    let mut world = World::new();
    let review = |user: &str, groups: &[&str]| {
        let mut spec = resource("get", "", "pods");
        spec["user"] = user.into();
        spec["groups"] = json!(groups);
        json!({"spec": spec})
    };
    let others = "subjectaccessreviews.authorization.k8s.io";
    let master = world.ok(world.create(others, "", review("u", &["system:masters"])));
    assert_eq!(master["status"], json!({"allowed": true}));
    let local = "localsubjectaccessreviews.authorization.k8s.io";
    let nobody = world.ok(world.create(local, "ns", review("u", &[])));
    assert_eq!(nobody["status"], json!({"allowed": false}));
    assert_eq!(nobody["metadata"], json!({"namespace": "ns"}));

    let refused = world.refused(world.create(others, "", review("", &[])));
    let message = ".authorization.k8s.io \"\" is invalid: spec.user: Invalid value: \"\": at least one of user or group must be specified";
    assert_eq!(refused, (422, message.to_owned()));
    let refused = world.refused(world.create(local, "kube-system", review("u", &[])));
    assert!(refused.1.contains("must match metadata.namespace"), "{refused:?}");
    world.identity = known("u", "g");
    assert_eq!(world.refused(world.create(others, "", review("u", &[]))).0, 403);
}

#[test]
fn a_review_asks_one_thing() {
    let mut world = World::new();
    let mut both = resource("get", "", "pods");
    both["nonResourceAttributes"] = json!({"verb": "get", "path": "/"});
    let words = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
    for (spec, shown) in [(json!({}), "null"), (both, r#"{"Path":"/","Verb":"get"}"#)] {
        let refused = world.refused(world.create(ACCESS, "", json!({"spec": spec})));
        assert_eq!(refused.0, 422);
        assert!(refused.1.ends_with(&format!("spec: Invalid value: {shown}: {words}")), "{refused:?}");
    }
}

#[test]
fn who_asks_is_told_who_he_is_and_all_that_he_may_do() {
    let mut world = World::new();
    world.identity = known("jane", "g");
    let answer = world.ok(world.create("selfsubjectreviews.authentication.k8s.io", "", json!({})));
    let user = json!({"username": "jane", "uid": "u", "groups": ["g", "system:authenticated"], "extra": {"scopes": ["a", "b"]}});
    assert_eq!(answer["status"], json!({"userInfo": user}));

    let rules = "selfsubjectrulesreviews.authorization.k8s.io";
    let answer = world.ok(world.create(rules, "", json!({"spec": {"namespace": "ns"}})));
    let paths = answer["status"]["nonResourceRules"][0]["nonResourceURLs"].as_array().unwrap();
    assert!(paths.contains(&"/openapi/*".into()) && !paths.contains(&"*".into()), "{paths:?}");
    assert_eq!(answer["status"]["incomplete"], false);
    world.identity = admin();
    let answer = world.ok(world.create(rules, "", json!({"spec": {"namespace": "ns"}})));
    let all = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
    assert_eq!(answer["status"]["resourceRules"][0], all);
}

#[test]
fn a_token_is_known_while_its_account_is_there() {
    let mut world = World::new();
    let account = world.get("serviceaccounts", "default").unwrap();
    let uid = account["metadata"]["uid"].as_str().unwrap();
    let review = |token: &str| json!({"spec": {"token": token}});
    let reviews = "tokenreviews.authentication.k8s.io";
    let good = world.ok(world.create(reviews, "", review(&format!("ns default {uid}"))));
    assert_eq!(good["status"]["authenticated"], true);
    assert_eq!(good["status"]["user"]["username"], "system:serviceaccount:ns:default");
    for (bad, why) in
        [("x", "it is no token"), ("ns default other", "the token outlived what it is bound to")]
    {
        let answer = world.ok(world.create(reviews, "", review(bad)));
        assert_eq!(answer["status"], json!({"user": {}, "error": why}));
    }
    assert_eq!(world.refused(world.create(reviews, "", json!({}))).0, 400);
}
