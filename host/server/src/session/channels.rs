//! The channels of a session in WebSocket messages: `v5.channel.k8s.io` and `v4.channel.k8s.io`.
//!
//! A message's first byte is the channel; version 5 adds `[255, n]`: the sender closes channel n. The server sends binary
//! messages. From clients text counts as much, as in Kubernetes: the Python client sends what is typed as text.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use berth_client::{
    AttachRequest, ExecRequest, ExitStatus, NodeApi, NodeError, STREAM_CHUNKS_MAX, Streams, TerminalSize,
};
use berth_json::{Value, json};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;

/// How large one message may be; clients send at most 32 KiB at a time.
pub(super) const MESSAGE_BYTES_MAX: usize = 1 << 20;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;
/// RFC 6455 §7.4.1: normal closure.
const CLOSED_NORMALLY: u16 = 1000;

/// How long a client may take to answer the closing of a session.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// With half-close.
    V5,
    /// Without.
    V4,
}

/// The streams a client asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) resize: bool,
}

/// What the session is for.
pub(super) enum Work {
    Exec(Arc<dyn NodeApi>, ExecRequest),
    Attach(Arc<dyn NodeApi>, AttachRequest),
}

/// The client's side of the streams.
struct Inputs {
    stdin: Option<mpsc::Sender<Bytes>>,
    resize: Option<mpsc::Sender<TerminalSize>>,
}

struct Outputs {
    stdout: mpsc::Receiver<Bytes>,
    stderr: mpsc::Receiver<Bytes>,
}

impl Protocol {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::V5 => "v5.channel.k8s.io",
            Self::V4 => "v4.channel.k8s.io",
        }
    }
}

/// Carries a session until the process ends or the client goes.
pub(super) async fn run(socket: WebSocket, protocol: Protocol, wanted: Wanted, work: Work) {
    let (mut sink, mut source) = socket.split();
    let (streams, inputs, outputs) = open(wanted);
    let ended = {
        // The process and its output end together: all of it is sent before the verdict.
        let session = async { tokio::join!(work.run(streams), send_output(&mut sink, outputs)).0 };
        tokio::select! {
            ended = session => Some(ended),
            () = receive_input(&mut source, protocol, inputs) => None,
        }
    };
    let Some(ended) = ended else { return };
    let verdict = verdict(ended).to_string();
    let close = CloseFrame { code: CLOSED_NORMALLY, reason: "".into() };
    // Whoever does not listen any more does not miss it.
    if sink.send(message(ERROR, verdict.as_bytes())).await.is_ok() {
        let _ = sink.send(Message::Close(Some(close))).await;
    }
    // A connection that is dropped with input unread is reset, and the verdict may be lost on its way.
    let answered = async { while let Some(Ok(_)) = source.next().await {} };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, answered).await;
}

impl Work {
    async fn run(self, streams: Streams) -> Result<ExitStatus, NodeError> {
        match self {
            Self::Exec(node, request) => node.exec(request, streams).await,
            // How the container's process ended stands in the pod's status.
            Self::Attach(node, request) => node.attach(request, streams).await.map(|_| ExitStatus::Code(0)),
        }
    }
}

fn open(wanted: Wanted) -> (Streams, Inputs, Outputs) {
    let (stdin, stdin_receiver) = mpsc::channel(STREAM_CHUNKS_MAX);
    let (resize, resize_receiver) = mpsc::channel(STREAM_CHUNKS_MAX);
    let (stdout_sender, stdout) = mpsc::channel(STREAM_CHUNKS_MAX);
    let (stderr_sender, stderr) = mpsc::channel(STREAM_CHUNKS_MAX);
    let streams = Streams {
        stdin: wanted.stdin.then_some(stdin_receiver),
        stdout: wanted.stdout.then_some(stdout_sender),
        stderr: wanted.stderr.then_some(stderr_sender),
        resize: wanted.resize.then_some(resize_receiver),
    };
    let inputs = Inputs { stdin: wanted.stdin.then_some(stdin), resize: wanted.resize.then_some(resize) };
    (streams, inputs, Outputs { stdout, stderr })
}

/// Sends output until the node has closed both streams.
async fn send_output(sink: &mut SplitSink<WebSocket, Message>, mut outputs: Outputs) {
    loop {
        let (channel, chunk) = tokio::select! {
            Some(chunk) = outputs.stdout.recv() => (STDOUT, chunk),
            Some(chunk) = outputs.stderr.recv() => (STDERR, chunk),
            else => return,
        };
        if sink.send(message(channel, &chunk)).await.is_err() {
            return;
        }
    }
}

/// Hands on input until the client closes the connection.
async fn receive_input(source: &mut SplitStream<WebSocket>, protocol: Protocol, mut inputs: Inputs) {
    while let Some(Ok(received)) = source.next().await {
        let data = match received {
            Message::Binary(data) => data,
            Message::Text(text) => text.into(),
            Message::Close(_) => return,
            // Pings are answered below.
            Message::Ping(_) | Message::Pong(_) => continue,
        };
        match (data.first(), data.len()) {
            (Some(&STDIN), 2..) => {
                if let Some(stdin) = &inputs.stdin
                    && stdin.send(data.slice(1..)).await.is_err()
                {
                    inputs.stdin = None;
                }
            }
            (Some(&RESIZE), 2..) => {
                if let (Some(resize), Some(size)) = (&inputs.resize, terminal_size(&data[1..])) {
                    // A process that looks at none of its sizes misses some of them.
                    let _ = resize.try_send(size);
                }
            }
            (Some(&CLOSE), 2) if protocol == Protocol::V5 && data[1] == STDIN => inputs.stdin = None,
            _ => {}
        }
    }
}

fn message(channel: u8, data: &[u8]) -> Message {
    let mut framed = BytesMut::with_capacity(data.len() + 1);
    framed.put_u8(channel);
    framed.put_slice(data);
    Message::Binary(framed.freeze())
}

fn terminal_size(data: &[u8]) -> Option<TerminalSize> {
    let size: Value = serde_json::from_slice(data).ok()?;
    let number = |key: &str| size[key].as_u64().and_then(|number| u16::try_from(number).ok());
    Some(TerminalSize { width: number("Width")?, height: number("Height")? })
}

/// The `Status` that ends a session on the error channel.
fn verdict(ended: Result<ExitStatus, NodeError>) -> Value {
    match ended.map(ExitStatus::code) {
        Ok(0) => json!({ "metadata": {}, "status": "Success" }),
        Ok(code) => json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with exit code {code}"),
            "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
        }),
        Err(error) => crate::pods::status_of(error).to_value(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        assert_eq!(verdict(Ok(ExitStatus::Code(0)))["status"], "Success");
        let failed = verdict(Ok(ExitStatus::Signal(9)));
        assert_eq!(failed["reason"], "NonZeroExitCode");
        assert_eq!(failed["details"]["causes"][0]["message"], "137");
        let broken = verdict(Err(NodeError::Internal("no such file".to_owned())));
        assert_eq!((&broken["code"], &broken["message"]), (&json!(500), &json!("no such file")));
    }

    #[test]
    fn sizes_of_terminals() {
        let size = terminal_size(br#"{"Width":80,"Height":24}"#);
        assert_eq!(size, Some(TerminalSize { width: 80, height: 24 }));
        assert_eq!(terminal_size(br#"{"Width":-1,"Height":24}"#), None);
        assert_eq!(terminal_size(b"x"), None);
    }
}
