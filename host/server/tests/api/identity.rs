//! Who somebody is, as he and others are told: tokens, certificates, acting as somebody else, and checking tokens elsewhere.

use berth_client::{ApiResource, Credentials, DeleteOptions};
use bytes::Bytes;
use http::Request;
use http::response::Parts;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};

use crate::harness::Harness;

const ACCOUNTS: ApiResource = ApiResource::SERVICE_ACCOUNTS;

/// A token of the account `robot` that is bound to the pod `p` on node `n1`, and who it is of.
struct Robot {
    token: String,
    pod: Value,
    node: Value,
}

impl Robot {
    async fn make(harness: &Harness) -> Self {
        let client = harness.client();
        let named = |name: &str| json!({ "metadata": { "name": name } });
        client.create(ACCOUNTS, "default", &named("robot")).await.unwrap();
        let node = client.create(ApiResource::NODES, "", &named("n1")).await.unwrap();
        let mut pod = named("p");
        pod["spec"] = json!({
            "serviceAccountName": "robot", "nodeName": "n1", "containers": [{ "name": "c", "image": "i" }],
        });
        let pod = client.create(ApiResource::PODS, "default", &pod).await.unwrap();
        let uid = |object: &Value| object["metadata"]["uid"].clone();
        let bound = json!({ "kind": "Pod", "apiVersion": "v1", "name": "p", "uid": uid(&pod) });
        let request = json!({
            "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": { "boundObjectRef": bound },
        });
        let answer = client.create_sub(ACCOUNTS, "default", "robot", "token", &request).await.unwrap();
        let token = answer["status"]["token"].as_str().unwrap().to_owned();
        Self { token, pod: uid(&pod), node: uid(&node) }
    }

    /// What is said of whoever shows the token.
    fn extra(&self, id: &Value) -> Value {
        let key = |name: &str| format!("authentication.kubernetes.io/{name}");
        json!({
            key("credential-id"): [format!("JTI={}", id.as_str().unwrap())],
            key("node-name"): ["n1"], key("node-uid"): [self.node],
            key("pod-name"): ["p"], key("pod-uid"): [self.pod],
        })
    }
}

/// Checks a token as anybody else would: by the documents alone, with somebody else's code.
async fn check_elsewhere(harness: &Harness, robot: &Robot) -> Value {
    let client = harness.client_as(Credentials::Token(robot.token.clone()));
    let document = client.get_raw("/.well-known/openid-configuration").await.unwrap();
    let configuration: Value = serde_json::from_slice(&document).unwrap();
    let keys = configuration["jwks_uri"].as_str().unwrap();
    let issuer = configuration["issuer"].as_str().unwrap();
    let path = keys.strip_prefix(issuer).expect("the keys are where the issuer is");
    let keys: JwkSet = serde_json::from_slice(&client.get_raw(path).await.unwrap()).unwrap();
    let kid = decode_header(&robot.token).unwrap().kid.unwrap();
    let key = DecodingKey::from_jwk(keys.find(&kid).expect("the token's key is among them")).unwrap();
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[issuer]);
    let token = decode::<Value>(&robot.token, &key, &validation).unwrap();
    let mut forged = robot.token.clone();
    let at = forged.rfind('.').unwrap() - 3;
    let letter = if forged.as_bytes()[at] == b'A' { "B" } else { "A" };
    forged.replace_range(at..=at, letter);
    assert!(decode::<Value>(&forged, &key, &validation).is_err(), "a forged one passes");
    token.claims
}

#[tokio::test]
async fn a_token_is_checked_elsewhere_by_the_issuer_s_keys() {
    let harness = Harness::start().await;
    let robot = Robot::make(&harness).await;
    let claims = check_elsewhere(&harness, &robot).await;
    assert_eq!(claims["sub"], "system:serviceaccount:default:robot");
    assert_eq!(claims["kubernetes.io"]["pod"], json!({ "name": "p", "uid": robot.pod }));
    assert_eq!(claims["kubernetes.io"]["node"], json!({ "name": "n1", "uid": robot.node }));
    assert_eq!(claims["jti"].as_str().unwrap().len(), 36);
}

async fn get(
    harness: &Harness,
    credentials: &Credentials,
    path: &str,
    headers: &[(&str, &str)],
) -> (Parts, Value) {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (head, body) = harness.send(credentials, request.body(Bytes::new()).unwrap()).await;
    (head, serde_json::from_slice(&body).unwrap())
}

async fn post(
    harness: &Harness,
    credentials: &Credentials,
    headers: &[(&str, &str)],
    kind: &str,
    spec: Value,
) -> Value {
    let path = format!("/apis/authentication.k8s.io/v1/{}s", kind.to_lowercase());
    let object = json!({ "kind": kind, "apiVersion": "authentication.k8s.io/v1", "spec": spec });
    let mut request = Request::post(path).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (_, body) = harness.send(credentials, request.body(object.to_string().into()).unwrap()).await;
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn the_issuer_s_documents_have_their_types_and_readers() {
    let harness = Harness::start().await;
    let robot = Credentials::Token(Robot::make(&harness).await.token);
    let administrator = &harness.config.credentials;
    for (path, media_type) in [
        ("/.well-known/openid-configuration", "application/json"),
        ("/openid/v1/jwks", "application/jwk-set+json"),
    ] {
        for (credentials, slash) in [(&robot, ""), (&robot, "/"), (administrator, "")] {
            let (head, _) = get(&harness, credentials, &format!("{path}{slash}"), &[]).await;
            assert_eq!(head.status, 200, "{path}");
            assert_eq!(head.headers["content-type"], media_type);
            assert_eq!(head.headers["cache-control"], "public, max-age=3600");
        }
        assert_eq!(get(&harness, &Credentials::Anonymous, path, &[]).await.0.status, 401);
        let (head, refusal) = get(&harness, administrator, path, &[("impersonate-user", "jane")]).await;
        assert_eq!(head.status, 403);
        assert_eq!(refusal["message"], format!("forbidden: User \"jane\" cannot get path \"{path}\""));
    }
}

#[tokio::test]
async fn a_token_s_review_tells_the_token_the_pod_and_the_node() {
    let harness = Harness::start().await;
    let robot = Robot::make(&harness).await;
    let id = check_elsewhere(&harness, &robot).await["jti"].take();
    let (administrator, shown) = (&harness.config.credentials, Credentials::Token(robot.token.clone()));
    let answer = post(&harness, administrator, &[], "TokenReview", json!({ "token": robot.token })).await;
    assert_eq!(answer["status"]["user"]["extra"], robot.extra(&id), "{answer}");
    let answer = post(&harness, &shown, &[], "SelfSubjectReview", Value::Null).await;
    assert_eq!(answer["status"]["userInfo"]["username"], "system:serviceaccount:default:robot");
    assert_eq!(answer["status"]["userInfo"]["extra"], robot.extra(&id));
    let answer = post(&harness, administrator, &[], "SelfSubjectReview", Value::Null).await;
    let id = &answer["status"]["userInfo"]["extra"]["authentication.kubernetes.io/credential-id"];
    let id = id[0].as_str().unwrap();
    assert!(id.starts_with("X509SHA256=") && id.len() == 11 + 64, "{id}");
}

#[tokio::test]
async fn who_acts_as_somebody_else_is_him_with_all_that_is_known_of_him() {
    let harness = Harness::start().await;
    let node = "impersonate-extra-authentication.kubernetes.io%2fnode-name";
    let headers = [("impersonate-user", "jane"), (node, "n1"), ("impersonate-extra-scopes", "a")];
    let answer =
        post(&harness, &harness.config.credentials, &headers, "SelfSubjectReview", Value::Null).await;
    let extra = json!({ "authentication.kubernetes.io/node-name": ["n1"], "scopes": ["a"] });
    assert_eq!(answer["status"]["userInfo"]["extra"], extra, "and nothing of who acts");
    let shown = Credentials::Token(Robot::make(&harness).await.token);
    let refused = post(&harness, &shown, &headers, "SelfSubjectReview", Value::Null).await;
    assert_eq!(refused["code"], 403, "{refused}");
}

#[tokio::test]
async fn a_pod_s_token_outlives_its_node_but_not_the_pod() {
    let harness = Harness::start().await;
    let robot = Robot::make(&harness).await;
    let (client, shown) = (harness.client(), harness.client_as(Credentials::Token(robot.token.clone())));
    client.delete(ApiResource::NODES, "", "n1", &DeleteOptions::default()).await.unwrap();
    assert!(shown.get_raw("/apis").await.is_ok());
    let at_once = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    client.delete(ApiResource::PODS, "default", "p", &at_once).await.unwrap();
    assert_eq!(shown.get_raw("/apis").await.unwrap_err().status().unwrap().code, 401);
}
