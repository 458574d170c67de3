//! What strangers and pods try, over connections of their own.

use std::sync::Arc;
use std::time::Duration;

use crate::harness::Harness;
use berth_client::{ApiResource, ClientError, Credentials};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A connection of somebody without a certificate, which speaks the protocol that `alpn` names.
async fn connect(harness: &Harness, alpn: &str) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&harness.config.authorities_pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let tcp = TcpStream::connect(harness.address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(name, tcp).await.unwrap()
}

/// The token of a service account that may do nothing but ask about itself.
async fn robot(harness: &Harness) -> String {
    let client = harness.client();
    let account = json!({ "metadata": { "name": "robot" } });
    client.create(ApiResource::SERVICE_ACCOUNTS, "default", &account).await.unwrap();
    client.token("default", "robot", 3600, None).await.unwrap().0
}

/// The head of a POST with a body of 3 MB that never comes.
fn head(path: &str, token: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: 3000000\r\n\r\n"
    )
}

/// What comes until `end`, or until the connection is closed.
async fn answer(stream: &mut TlsStream<TcpStream>, end: &str) -> String {
    let mut all = Vec::new();
    let mut some = [0; 4096];
    while !String::from_utf8_lossy(&all).contains(end) {
        match stream.read(&mut some).await {
            Ok(0) | Err(_) => break,
            Ok(count) => all.extend_from_slice(&some[..count]),
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// How long it takes until the other side closes, on a clock that jumps as soon as everybody waits.
async fn closed_after(stream: &mut TlsStream<TcpStream>) -> Duration {
    tokio::time::pause();
    let started = tokio::time::Instant::now();
    answer(stream, "no such thing is said").await;
    let took = started.elapsed();
    tokio::time::resume();
    took
}

#[tokio::test]
async fn who_says_nothing_is_let_go_after_ten_seconds() {
    let harness = Harness::start().await;
    for (alpn, said) in [
        ("http/1.1", ""),
        ("h2", ""),
        ("h2", "PRI * HTTP/2"),
        ("h2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("http/1.1", "GET /version HTTP/1.1\r\nHo"),
    ] {
        let mut stream = connect(&harness, alpn).await;
        stream.write_all(said.as_bytes()).await.unwrap();
        let took = closed_after(&mut stream).await.as_secs();
        assert!((10..=12).contains(&took), "{alpn} {said:?}: {took} s");
    }
}

#[tokio::test]
async fn who_has_asked_may_pause_but_not_for_ever() {
    let harness = Harness::start().await;
    let mut stream = connect(&harness, "http/1.1").await;
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(answer(&mut stream, "ok").await.starts_with("HTTP/1.1 200"));
    let took = closed_after(&mut stream).await.as_secs();
    assert!((30..=92).contains(&took), "{took} s");
}

#[tokio::test]
async fn the_body_of_a_forbidden_write_is_not_waited_for() {
    let harness = Harness::start().await;
    let token = robot(&harness).await;
    for (path, token, code) in [
        ("/api/v1/namespaces/default/configmaps", token.as_str(), "403"),
        ("/api/v1/namespaces/default/pods", token.as_str(), "403"),
        ("/api/v1/namespaces/default/pods", "no.such.token", "401"),
        ("/metrics", token.as_str(), "403"),
    ] {
        let mut stream = connect(&harness, "http/1.1").await;
        stream.write_all(head(path, token).as_bytes()).await.unwrap();
        let answered = answer(&mut stream, "\"code\":").await;
        assert!(answered.starts_with(&format!("HTTP/1.1 {code}")), "{path}: {answered}");
    }
}

#[tokio::test]
async fn who_sends_a_large_forbidden_body_still_sees_the_answer() {
    let harness = Harness::start().await;
    let token = robot(&harness).await;
    let mut stream = connect(&harness, "http/1.1").await;
    stream.write_all(head("/api/v1/namespaces/default/configmaps", &token).as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; 3_000_000]).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let answered = answer(&mut stream, "\r\n\r\nok").await;
    assert!(answered.starts_with("HTTP/1.1 403"), "{answered}");
    assert!(answered.ends_with("ok"), "and the connection goes on: {answered}");
}

#[tokio::test]
async fn a_body_that_drips_is_given_up() {
    let harness = Harness::start().await;
    let token = robot(&harness).await;
    let mut stream = connect(&harness, "http/1.1").await;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    stream.write_all(head(path, &token).as_bytes()).await.unwrap();
    stream.write_all(b"{").await.unwrap();
    tokio::time::pause();
    let answered = answer(&mut stream, "\"code\":").await;
    assert!(answered.contains("the request's body came too slowly: 1 bytes in 10 s"), "{answered}");
}

#[tokio::test]
async fn a_pod_learns_nothing_from_metrics() {
    let harness = Harness::start().await;
    let robot = harness.client_as(Credentials::Token(robot(&harness).await));
    for path in ["/metrics", "/debug/pprof", "/logs", "/"] {
        let Err(ClientError::Status(status)) = robot.get_raw(path).await else { panic!("{path} was shown") };
        let user = "system:serviceaccount:default:robot";
        assert_eq!(status.code, 403);
        assert_eq!(status.message, format!("forbidden: User \"{user}\" cannot get path \"{path}\""));
    }
    for path in ["/api", "/apis", "/api/v1", "/apis/apps/v1", "/openapi/v3", "/version", "/healthz"] {
        assert!(robot.get_raw(path).await.is_ok(), "{path}");
    }
    assert!(harness.client().get_raw("/metrics").await.is_ok());
}

#[tokio::test]
async fn a_large_yaml_body_is_answered_and_leaves_others_alone() {
    let harness = Harness::start().await;
    let token = robot(&harness).await;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let bomb = format!("a: &a {}\nb: [{}]\n", "x".repeat(1_000_000), "*a,".repeat(90_000));
    let mut stream = connect(&harness, "http/1.1").await;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/yaml\r\n\
         Content-Length: {}\r\n\r\n{bomb}",
        bomb.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let answered = answer(&mut stream, "\"code\":").await;
    assert!(answered.starts_with("HTTP/1.1 400"), "{answered}");
    assert!(answered.contains("yaml: document contains excessive aliasing"), "{answered}");
}
