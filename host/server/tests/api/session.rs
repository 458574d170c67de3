//! Logs and exec through a pretended node, with the WebSocket frames that kubectl sends.

use std::sync::Arc;

use crate::harness::Harness;
use berth_client::{ApiResource, Client, Credentials};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const PODS: ApiResource = ApiResource::PODS;

/// A pod with two containers, bound to the pretended node.
async fn bound_pod(client: &Client) {
    let accounts = ApiResource::SERVICE_ACCOUNTS;
    // Whoever makes it, a pod needs it.
    let _ = client.create(accounts, "default", &json!({ "metadata": { "name": "default" } })).await;
    let container = |name: &str| json!({ "name": name, "image": "i" });
    let pod =
        json!({ "metadata": { "name": "p" }, "spec": { "containers": [container("a"), container("b")] } });
    client.create(PODS, "default", &pod).await.unwrap();
    let node = json!({ "metadata": { "name": "n1" } });
    client.create(ApiResource::NODES, "", &node).await.unwrap();
    let binding = json!({ "metadata": { "name": "p" }, "target": { "kind": "Node", "name": "n1" } });
    client.create_sub(PODS, "default", "p", "binding", &binding).await.unwrap();
}

#[tokio::test]
async fn a_log_is_streamed_from_the_node() {
    let harness = Harness::start().await;
    let client = harness.client();
    bound_pod(&client).await;
    let log = |query: &str| format!("{}?{query}", PODS.path_of("default", "p", "log"));
    assert_eq!(client.get_raw(&log("container=a&tailLines=7")).await.unwrap(), "a\nSome(7)\n");
    let message = async |query: &str| client.get_raw(&log(query)).await.unwrap_err().to_string();
    assert!(message("").await.contains("choose one of: [a b]"));
    assert_eq!(message("container=b&previous=1").await, "container b has not been restarted yet");
}

/// Opens a session as kubectl does: HTTP/1.1, a client certificate, one protocol.
async fn open(harness: &Harness, query: &str) -> WebSocketStream<tokio_rustls::client::TlsStream<TcpStream>> {
    let Credentials::Certificate { certificate_pem, key_pem } = &harness.config.credentials else {
        panic!("the administrator has a certificate")
    };
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&harness.config.authorities_pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(certificate_pem).unwrap()],
            PrivateKeyDer::from_pem_slice(key_pem).unwrap(),
        )
        .unwrap();
    let tcp = TcpStream::connect(harness.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(name, tcp).await.unwrap();
    let uri = format!("wss://{}{}?{query}", harness.address, PODS.path_of("default", "p", "exec"));
    let mut request = uri.into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "v5.channel.k8s.io".parse().unwrap());
    let (socket, response) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "v5.channel.k8s.io");
    socket
}

/// Reads a session to its end: standard output, standard error and the verdict.
async fn rest_of(
    mut socket: WebSocketStream<tokio_rustls::client::TlsStream<TcpStream>>,
) -> (Vec<u8>, Vec<u8>, Value) {
    let (mut stdout, mut stderr, mut verdict) = (vec![], vec![], Value::Null);
    while let Some(Ok(message)) = socket.next().await {
        let Message::Binary(data) = message else { continue };
        match data[0] {
            1 => stdout.extend_from_slice(&data[1..]),
            2 => stderr.extend_from_slice(&data[1..]),
            3 => verdict = serde_json::from_slice(&data[1..]).unwrap(),
            other => panic!("channel {other}"),
        }
    }
    (stdout, stderr, verdict)
}

const SESSION: &str = "container=a&command=echo&command=-n&stdin=true&stdout=true&stderr=true";

#[tokio::test]
async fn a_session_carries_input_output_and_the_exit_code() {
    let harness = Harness::start().await;
    bound_pod(&harness.client()).await;
    let mut socket = open(&harness, SESSION).await;
    socket.send(Message::Binary(Bytes::from_static(b"\0hello"))).await.unwrap();
    socket.send(Message::Binary(Bytes::from_static(&[255, 0]))).await.unwrap();
    let (stdout, stderr, verdict) = rest_of(socket).await;
    assert_eq!(stdout, b"echo -nhello");
    assert_eq!(stderr, b"done");
    assert_eq!(verdict["details"]["causes"][0], json!({ "reason": "ExitCode", "message": "3" }));
}

/// As the official Python client sends a `str`.
#[tokio::test]
async fn input_may_come_as_text() {
    let harness = Harness::start().await;
    bound_pod(&harness.client()).await;
    let mut socket = open(&harness, SESSION).await;
    socket.send(Message::text("\0héllo")).await.unwrap();
    socket.send(Message::Binary(Bytes::from_static(&[255, 0]))).await.unwrap();
    assert_eq!(rest_of(socket).await.0, "echo -nhéllo".as_bytes());
}
