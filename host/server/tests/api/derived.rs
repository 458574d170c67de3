//! Objects that are stored nowhere.

use crate::harness::Harness;
use berth_client::{ApiResource, Transport};
use berth_pipeline::Identity;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};

const METRICS: &str = "/apis/metrics.k8s.io/v1beta1/nodes";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

async fn ask(harness: &Harness, method: Method, path: &str, accept: &str) -> (u16, Value) {
    let transport = harness.server.in_process(Identity::component("test"));
    let request = Request::builder().method(method).uri(path).header("accept", accept);
    let response = transport.send(request.body(Bytes::new()).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn they_are_made_of_what_is_stored_when_somebody_asks() {
    let harness = Harness::start().await;
    let client = harness.in_process();
    for (name, labels) in [("a", json!({"zone": "1"})), ("b", json!({"zone": "2"})), ("c", json!({}))] {
        let node = json!({"metadata": {"name": name, "labels": labels}});
        client.create(ApiResource::NODES, "", &node).await.unwrap();
    }
    let get = async |path: String| ask(&harness, Method::GET, &path, "application/json").await;
    for (query, names) in [
        ("", vec!["a", "b"]),
        ("?labelSelector=zone%3D2", vec!["b"]),
        ("?fieldSelector=metadata.name%3Da", vec!["a"]),
        ("?fieldSelector=metadata.name%3Dc", vec![]),
        ("?limit=1&resourceVersion=0", vec!["a", "b"]),
        ("?resourceVersion=1&resourceVersionMatch=NotOlderThan", vec!["a", "b"]),
    ] {
        let (code, list) = get(format!("{METRICS}{query}")).await;
        assert_eq!((code, &list["kind"]), (200, &json!("NodeMetricsList")), "{query}: {list}");
        let items = list["items"].as_array().unwrap();
        assert!(items.iter().all(|item| item.get("kind").is_none() && item["window"] == "15s"), "{list}");
        let found: Vec<&str> = items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!(found, names, "{query}");
    }
    let (code, one) = get(format!("{METRICS}/a?resourceVersion=0")).await;
    assert_eq!((code, &one["kind"], &one["metadata"]), (200, &json!("NodeMetrics"), &json!({"name": "a"})));
    let (_, table) = ask(&harness, Method::GET, METRICS, TABLE).await;
    assert_eq!(table["rows"][1]["cells"], json!(["b", "250m", "1Mi", "15s"]));
    assert_eq!(table["columnDefinitions"][1]["format"], "quantity");

    for (method, path, wanted) in [
        (Method::GET, "/c", 404),
        (Method::GET, "/d", 404),
        (Method::GET, "?watch=true", 405),
        (Method::GET, "/a/status", 404),
        (Method::GET, "?continue=abc", 400),
        (Method::GET, "?fieldSelector=spec.x%3Da", 400),
        (Method::GET, "?resourceVersion=1&resourceVersionMatch=Exact", 400),
        (Method::GET, "?resourceVersionMatch=Exact", 422),
        (Method::GET, "?resourceVersion=99999999", 504),
        (Method::GET, "/a?resourceVersion=x", 400),
        (Method::POST, "", 405),
        (Method::PUT, "/a", 405),
        (Method::DELETE, "/a", 405),
        (Method::DELETE, "", 405),
    ] {
        let (code, status) = ask(&harness, method.clone(), &format!("{METRICS}{path}"), "*/*").await;
        assert_eq!(code, wanted, "{method} {path}: {status}");
    }
}
