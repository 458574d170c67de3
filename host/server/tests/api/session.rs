//! Logs, watches and sessions over WebSocket, through a pretended node, with the frames that clients send.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::harness::Harness;
use crate::sockets::{PATIENCE, Socket, connect, open, refusal, stream, wait_until};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use berth_client::{ApiResource, Client};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

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

fn log(query: &str) -> String {
    format!("{}?{query}", PODS.path_of("default", "p", "log"))
}

fn exec(command: &str) -> String {
    let streams = "stdin=true&stdout=true&stderr=true";
    format!("{}?container=a&command={command}&{streams}", PODS.path_of("default", "p", "exec"))
}

#[tokio::test]
async fn a_log_is_streamed_from_the_node() {
    let harness = Harness::start().await;
    let client = harness.client();
    bound_pod(&client).await;
    assert_eq!(client.get_raw(&log("container=a&tailLines=7")).await.unwrap(), "a\nSome(7)\n");
    let message = async |query: &str| client.get_raw(&log(query)).await.unwrap_err().to_string();
    assert!(message("").await.contains("choose one of: [a b]"));
    assert_eq!(message("container=b&previous=1").await, "container b has not been restarted yet");
}

#[tokio::test]
async fn an_upload_that_is_cut_off_leaves_nothing() {
    let harness = Harness::start().await;
    let client = harness.client();
    let path = ApiResource::PLUGINS.path_of("", "cut", "component");
    for head in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        let mut stream = stream(&harness, true).await;
        let request =
            format!("PUT {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/wasm\r\n{head}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        // What there is of it would do for a component.
        let part = if head.starts_with("Transfer") { "8\r\n\0asmhalf\r\n" } else { "\0asmhalf" };
        stream.write_all(part.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        // The server has dealt with it when it has closed the connection, with or without an answer.
        let mut answer = Vec::new();
        let _cut = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.contains(" 200 ") && !answer.contains(" 201 "), "{answer}");
        let error = client.get(ApiResource::PLUGINS, "", "cut").await.unwrap_err();
        assert!(error.to_string().contains("not found"), "{error}");
    }
}

/// All data messages until the server closes.
async fn all(mut socket: Socket) -> Vec<Message> {
    let mut messages = vec![];
    while let Some(message) = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap() {
        match message.unwrap() {
            message @ (Message::Binary(_) | Message::Text(_)) => messages.push(message),
            Message::Close(frame) => assert_eq!(u16::from(frame.unwrap().code), 1000),
            _ => {}
        }
    }
    messages
}

#[tokio::test]
async fn a_log_over_websocket_is_bytes_or_base64() {
    let harness = Harness::start().await;
    bound_pod(&harness.client()).await;
    let path = log("container=a&tailLines=7");
    let binary = ["", "a\n", "Some(7)\n"].map(|text| Message::binary(text.as_bytes().to_vec()));
    for protocol in ["", "binary.k8s.io"] {
        let (socket, chosen) = open(&harness, &path, protocol).await;
        assert_eq!((chosen.as_str(), all(socket).await), (protocol, binary.to_vec()));
    }
    let (socket, chosen) = open(&harness, &path, "base64.binary.k8s.io, binary.k8s.io").await;
    assert_eq!(chosen, "base64.binary.k8s.io");
    let text = ["", "a\n", "Some(7)\n"].map(|text| Message::text(STANDARD.encode(text)));
    assert_eq!(all(socket).await, text);
    assert_eq!(refusal(&harness, &path, "v4.channel.k8s.io").await, 403);
    assert_eq!(refusal(&harness, &log("container=a&previous=1"), "binary.k8s.io").await, 400);
}

/// As a browser does, which can set no header.
#[tokio::test]
async fn a_watch_over_websocket_sends_each_event_as_text_to_whom_the_protocol_names() {
    let harness = Harness::start().await;
    let client = harness.client();
    bound_pod(&client).await;
    let path = "/api/v1/namespaces/default/serviceaccounts?watch=1&timeoutSeconds=600";
    let token = "base64url.bearer.authorization.k8s.io.";
    let nobody = format!("{token}{}, base64.binary.k8s.io", URL_SAFE_NO_PAD.encode("no.such.token"));
    match connect(&harness, path, &nobody, false).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), 401),
        other => panic!("{other:?}"),
    }
    let request = json!({ "spec": { "audiences": [] } });
    let accounts = ApiResource::SERVICE_ACCOUNTS;
    let issued = client.create_sub(accounts, "default", "default", "token", &request).await.unwrap();
    let encoded = URL_SAFE_NO_PAD.encode(issued["status"]["token"].as_str().unwrap());
    let offers = format!("{token}{encoded}, base64.binary.k8s.io");
    // A service account may not watch its like; that it is asked as which shows that the token was taken.
    match connect(&harness, path, &offers, false).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), 403),
        other => panic!("{other:?}"),
    }

    let (mut socket, chosen) = open(&harness, path, "base64.binary.k8s.io").await;
    assert_eq!(chosen, "base64.binary.k8s.io");
    let mut event = async || {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
        serde_json::from_str::<Value>(message.to_text().unwrap()).unwrap()
    };
    let first = event().await;
    assert_eq!((&first["type"], &first["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("default")));
    // Longer than a frame, and still one message.
    let long = "x".repeat(200 << 10);
    let account = json!({ "metadata": { "name": "other", "annotations": { "long": long } } });
    client.create(accounts, "default", &account).await.unwrap();
    assert_eq!(event().await["object"]["metadata"]["annotations"]["long"], json!(long));
}

/// Reads a session to its end: standard output, standard error and what came on the error channel.
async fn rest_of(socket: Socket) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let mut channels = [vec![], vec![], vec![]];
    for message in all(socket).await {
        let (channel, data) = match message {
            Message::Binary(data) => (data[0], data[1..].to_vec()),
            Message::Text(text) => (text.as_bytes()[0] - b'0', STANDARD.decode(&text[1..]).unwrap()),
            other => panic!("{other:?}"),
        };
        channels[usize::from(channel) - 1].extend(data);
    }
    channels.into()
}

#[tokio::test]
async fn a_session_carries_input_output_and_the_exit_code() {
    let harness = Harness::start().await;
    bound_pod(&harness.client()).await;
    let (mut socket, chosen) = open(&harness, &exec("echo&command=-n"), "v5.channel.k8s.io").await;
    assert_eq!(chosen, "v5.channel.k8s.io");
    socket.send(Message::Binary(Bytes::from_static(b"\0hello"))).await.unwrap();
    socket.send(Message::Binary(Bytes::from_static(&[255, 0]))).await.unwrap();
    let (stdout, stderr, verdict) = rest_of(socket).await;
    assert_eq!(stdout, b"echo -nhello");
    assert_eq!(stderr, b"done");
    let verdict: Value = serde_json::from_slice(&verdict).unwrap();
    assert_eq!(verdict["details"]["causes"][0], json!({ "reason": "ExitCode", "message": "3" }));
}

/// As the official Python client sends a `str`.
#[tokio::test]
async fn input_may_come_as_text() {
    let harness = Harness::start().await;
    bound_pod(&harness.client()).await;
    let (mut socket, _) = open(&harness, &exec("echo&command=-n"), "v5.channel.k8s.io").await;
    socket.send(Message::text("\0héllo")).await.unwrap();
    socket.send(Message::Binary(Bytes::from_static(&[255, 0]))).await.unwrap();
    assert_eq!(rest_of(socket).await.0, "echo -nhéllo".as_bytes());
}

#[tokio::test]
async fn the_api_servers_older_protocols_are_spoken() {
    let harness = Harness::start().await;
    bound_pod(&harness.client()).await;
    let path = exec("echo").replace("stdin=true&", "");
    for protocol in ["", "channel.k8s.io", "base64.channel.k8s.io"] {
        let (socket, chosen) = open(&harness, &path, protocol).await;
        assert_eq!(chosen, protocol);
        let (stdout, stderr, verdict) = rest_of(socket).await;
        assert_eq!((stdout, stderr), (b"echo".to_vec(), b"done".to_vec()), "{protocol:?}");
        assert_eq!(
            verdict, b"command terminated with exit code 3",
            "{protocol:?}: a text, for a failure alone"
        );
    }
    for protocol in ["v4.channel.k8s.io", "v4.base64.channel.k8s.io"] {
        let (socket, chosen) = open(&harness, &path, protocol).await;
        assert_eq!(chosen, protocol);
        let verdict: Value = serde_json::from_slice(&rest_of(socket).await.2).unwrap();
        assert_eq!(verdict["reason"], "NonZeroExitCode");
    }
    // Those are of SPDY alone.
    for protocol in ["v2.channel.k8s.io", "v3.channel.k8s.io", "v6.channel.k8s.io", "binary.k8s.io"] {
        assert_eq!(refusal(&harness, &path, protocol).await, 403, "{protocol}");
    }
}

/// Sends input that nobody reads until nothing more is taken.
async fn fill(socket: &mut Socket) {
    let message = Message::binary(vec![0; 32 << 10]);
    let stalled = Duration::from_secs(1);
    while let Ok(sent) = tokio::time::timeout(stalled, socket.send(message.clone())).await {
        sent.unwrap();
    }
}

async fn first_message(socket: &mut Socket) {
    let first = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(first, Message::binary(vec![1]), "the session stands");
}

#[tokio::test]
async fn a_client_that_dies_with_unread_input_ends_its_session() {
    let harness = Harness::start().await;
    bound_pod(&harness.client()).await;
    let runs = || harness.running.load(Ordering::Relaxed);
    let (mut socket, _) = open(&harness, &exec("sleep"), "v5.channel.k8s.io").await;
    // Nothing is left unread at the client, so that its machine does not reset the connection when it ends.
    first_message(&mut socket).await;
    fill(&mut socket).await;
    assert_eq!(runs(), 1);
    drop(socket);
    wait_until(|| runs() == 0, "the process is hung up").await;
}

#[tokio::test]
async fn a_client_that_waits_with_its_input_hears_that_the_session_lives() {
    let harness = Harness::start().await;
    bound_pod(&harness.client()).await;
    let (mut socket, _) = open(&harness, &exec("sleep"), "v5.channel.k8s.io").await;
    first_message(&mut socket).await;
    fill(&mut socket).await;
    let heard = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(heard, Message::Pong(Bytes::new()));
}

#[tokio::test]
async fn a_client_that_dies_with_unread_output_ends_its_session() {
    let harness = Harness::start().await;
    bound_pod(&harness.client()).await;
    let runs = || harness.running.load(Ordering::Relaxed);
    let (mut socket, _) = open(&harness, &exec("yes"), "v5.channel.k8s.io").await;
    fill(&mut socket).await;
    assert_eq!(runs(), 1);
    drop(socket);
    wait_until(|| runs() == 0, "the process is hung up").await;
}

/// The memory of this process, and so of the server, in bytes.
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn pings_whose_answers_nobody_reads_take_no_memory() {
    const FLOOD_BYTES: usize = 256 << 20;
    let harness = Harness::start().await;
    bound_pod(&harness.client()).await;
    let (mut socket, _) = open(&harness, &exec("sleep"), "v5.channel.k8s.io").await;
    first_message(&mut socket).await;
    let stream = socket.get_mut();
    // A ping's head, a mask of zeroes, 125 bytes.
    let ping = [&[0x89, 0x80 | 125, 0, 0, 0, 0][..], &[b'p'; 125]].concat();
    let pings = ping.repeat(8 << 10);
    let before = resident_bytes();
    for _ in 0..FLOOD_BYTES / pings.len() {
        stream.write_all(&pings).await.unwrap();
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < FLOOD_BYTES / 4, "{grown} bytes more");
    // Whoever begins to read gets answers, and among them the latest.
    socket.send(Message::Ping(Bytes::from_static(b"last"))).await.unwrap();
    let last = async {
        while let Some(Ok(message)) = socket.next().await {
            if message == Message::Pong(Bytes::from_static(b"last")) {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(PATIENCE, last).await.unwrap());
}
