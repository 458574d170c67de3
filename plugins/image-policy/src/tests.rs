use super::*;
use berth_sdk::admission::ask;
use serde_json::{Value, json};

fn pod(images: &[&str]) -> Value {
    let containers: Vec<Value> = images
        .iter()
        .enumerate()
        .map(|(i, image)| json!({"name": format!("c{i}"), "image": image}))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "team"},
        "spec": {"containers": containers},
    })
}

fn said(config: &str, request: &Request) -> String {
    ask::<ImagePolicy>(config, request).expect("a good configuration").message().to_owned()
}

#[test]
fn each_container_is_judged() {
    let both = r#"{"allowedRegistries": ["registry.example"]}"#;
    let pods = Request::create("pods", pod(&["registry.example/a:1", "nginx:1", "registry.example/b"]));
    assert_eq!(
        said(both, &pods),
        "container c1: the image nginx:1 is not from an allowed registry (registry.example); \
         container c2: the image registry.example/b must have a tag other than latest, or a digest"
    );
    assert_eq!(said("", &Request::create("pods", pod(&["a:1", "b@sha256:0"]))), "");
    assert_eq!(said(r#"{"allowLatest": true}"#, &Request::create("pods", pod(&["a", "b:latest"]))), "");
    assert_eq!(
        said(r#"{"requireDigest": true}"#, &Request::create("pods", pod(&["a:1"]))),
        "container c0: the image a:1 is not named by digest (@sha256:…)"
    );
    assert_eq!(said(r#"{"exemptNamespaces": ["team"]}"#, &Request::create("pods", pod(&["a"]))), "");
}

#[test]
fn what_is_there_already_is_not_refused_again() {
    let old = pod(&["a"]);
    let mut new = old.clone();
    new["metadata"]["labels"] = json!({"x": "y"});
    assert_eq!(said("", &Request::update("pods", old.clone(), new)), "");
    let new = pod(&["b"]);
    assert_eq!(
        said("", &Request::update("pods", old, new)),
        "container c0: the image b must have a tag other than latest, or a digest"
    );
}

#[test]
fn a_mistyped_key_is_no_silent_default() {
    let error = ImagePolicy::describe(br#"{"allowedRegistry": []}"#).unwrap_err();
    assert!(error.starts_with("unknown field `allowedRegistry`, expected one of"), "{error}");
}
