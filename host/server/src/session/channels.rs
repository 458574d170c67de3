//! Carrying a session between its WebSocket and the node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use berth_client::{
    AttachRequest, ExecRequest, ExitStatus, NodeApi, NodeError, STREAM_CHUNKS_MAX, Streams, TerminalSize,
};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::protocol::{ERROR, Input, Protocol, STDERR, STDOUT};
use crate::websocket::{Outbox, Socket, Source};

/// How many messages of input wait for the process. One may have a megabyte; a pipe takes 64 KiB at a time.
const STDIN_MESSAGES_MAX: usize = 2;
/// How often the connection is tried while its input is not read because the process has enough: the client's end stands
/// behind that input, or has not even been sent. It also tells a client that pings why it gets no answer.
const BEAT_INTERVAL: Duration = Duration::from_secs(2);

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

/// How the work has ended.
type Ended = Result<ExitStatus, NodeError>;

/// The client's side of the streams.
struct Inputs {
    stdin: Option<mpsc::Sender<Bytes>>,
    resize: Option<mpsc::Sender<TerminalSize>>,
    /// The process has enough input for now, so that the connection is not read.
    is_full: Arc<AtomicBool>,
}

struct Outputs {
    stdout: mpsc::Receiver<Bytes>,
    stderr: mpsc::Receiver<Bytes>,
    input_is_full: Arc<AtomicBool>,
}

/// Carries a session until the process ends or the client goes. Then the work is dropped, and the process hung up.
pub(super) async fn run(socket: Socket, protocol: Protocol, wanted: Wanted, work: Work) {
    let (mut outbox, mut source) = Outbox::of(socket);
    let (streams, inputs, outputs) = open(wanted);
    let (told, ended) = oneshot::channel();
    let working = async {
        // Nobody waits for it when the client has gone in this moment.
        let _ = told.send(work.run(streams).await);
        std::future::pending::<()>().await;
    };
    let first = match (wanted.stdout, wanted.stderr) {
        (true, _) => STDOUT,
        (false, true) => STDERR,
        (false, false) => ERROR,
    };
    let sent = tokio::select! {
        sent = send(&mut outbox, protocol, first, outputs, ended) => sent.is_ok(),
        () = receive(&mut source, protocol, inputs) => false,
        () = working => false,
    };
    if sent {
        outbox.close(source).await;
    }
}

impl Work {
    async fn run(self, streams: Streams) -> Ended {
        match self {
            Self::Exec(node, request) => node.exec(request, streams).await,
            // How the container's process ended stands in the pod's status.
            Self::Attach(node, request) => node.attach(request, streams).await.map(|_| ExitStatus::Code(0)),
        }
    }
}

fn open(wanted: Wanted) -> (Streams, Inputs, Outputs) {
    let (stdin, stdin_receiver) = mpsc::channel(STDIN_MESSAGES_MAX);
    let (resize, resize_receiver) = mpsc::channel(STREAM_CHUNKS_MAX);
    let (stdout_sender, stdout) = mpsc::channel(STREAM_CHUNKS_MAX);
    let (stderr_sender, stderr) = mpsc::channel(STREAM_CHUNKS_MAX);
    let streams = Streams {
        stdin: wanted.stdin.then_some(stdin_receiver),
        stdout: wanted.stdout.then_some(stdout_sender),
        stderr: wanted.stderr.then_some(stderr_sender),
        resize: wanted.resize.then_some(resize_receiver),
    };
    let is_full = Arc::<AtomicBool>::default();
    let inputs = Inputs {
        stdin: wanted.stdin.then_some(stdin),
        resize: wanted.resize.then_some(resize),
        is_full: is_full.clone(),
    };
    (streams, inputs, Outputs { stdout, stderr, input_is_full: is_full })
}

impl Outputs {
    /// The next output and its channel; nothing comes when both have ended.
    async fn next(&mut self) -> (u8, Bytes) {
        tokio::select! {
            Some(chunk) = self.stdout.recv() => (STDOUT, chunk),
            Some(chunk) = self.stderr.recv() => (STDERR, chunk),
            else => std::future::pending().await,
        }
    }
}

/// Sends all output and the verdict. It begins with an empty message: the session stands.
async fn send(
    outbox: &mut Outbox,
    protocol: Protocol,
    first: u8,
    mut outputs: Outputs,
    mut ended: oneshot::Receiver<Ended>,
) -> Result<(), Error> {
    let (kind, payload) = protocol.write(first, &[]);
    outbox.send(kind, payload).await?;
    let mut beat = tokio::time::interval(BEAT_INTERVAL);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = loop {
        tokio::select! {
            // The process and its output end together: all of it is sent before the verdict.
            biased;
            (channel, chunk) = outputs.next() => {
                let (kind, payload) = protocol.write(channel, &chunk);
                outbox.send(kind, payload).await?;
            }
            Ok(ended) = &mut ended => break ended,
            _ = beat.tick() => if outputs.input_is_full.load(Ordering::Relaxed) {
                outbox.send_pong().await?;
            }
        }
    };
    if let Some(verdict) = protocol.verdict(ended) {
        let (kind, payload) = protocol.write(ERROR, &verdict);
        outbox.send(kind, payload).await?;
    }
    Ok(())
}

/// Hands on input until the client closes the connection.
async fn receive(source: &mut Source, protocol: Protocol, mut inputs: Inputs) {
    while let Some(Ok(received)) = source.next().await {
        let data = match received {
            Message::Binary(data) => data,
            Message::Text(text) => text.into(),
            // Reading answers pings and the client's closing.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => continue,
        };
        match protocol.read(&data) {
            Input::Stdin(data) => inputs.feed(data).await,
            Input::StdinEnds => inputs.stdin = None,
            Input::Resize(size) => {
                if let Some(resize) = &inputs.resize {
                    // A process that looks at none of its sizes misses some of them.
                    let _ = resize.try_send(size);
                }
            }
            Input::Nothing => {}
        }
    }
}

impl Inputs {
    async fn feed(&mut self, data: Bytes) {
        let Some(stdin) = &self.stdin else { return };
        self.is_full.store(true, Ordering::Relaxed);
        let fed = stdin.send(data).await;
        self.is_full.store(false, Ordering::Relaxed);
        if fed.is_err() {
            self.stdin = None;
        }
    }
}
