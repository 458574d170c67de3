//! What a server asks of a node: logs, exec, attach, and what it uses.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use berth_metrics::NodeSample;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

/// Chunks in flight on each of a session's channels: enough to keep a pipe busy, little enough that a client that
/// does not read stops the process instead of filling the server's memory.
pub const STREAM_CHUNKS_MAX: usize = 16;

/// The bytes of a log, in the order in which they are to be sent.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, NodeError>> + Send>>;

/// `PodLogOptions` of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid.
    pub uid: String,
    /// The container; never empty, the server has chosen.
    pub container: String,
    /// Go on when the end is reached, until the container has ended.
    pub follow: bool,
    /// The log of the instance before the last restart.
    pub previous: bool,
    /// Put the RFC 3339 time with nanoseconds and a space before each line.
    pub timestamps: bool,
    /// Begin that many lines before the end; `None`: from the beginning.
    pub tail_lines: Option<u64>,
    /// Leave out older lines.
    pub since: Option<LogSince>,
    /// Stop after that many bytes.
    pub limit_bytes: Option<u64>,
}

/// From when on lines are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogSince {
    /// The last so many seconds.
    Seconds(u64),
    /// Since this RFC 3339 time.
    Time(String),
}

/// `PodExecOptions`: a further process in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecRequest {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid.
    pub uid: String,
    /// The container; never empty.
    pub container: String,
    /// Program and arguments, at least one.
    pub command: Vec<String>,
    /// Give the process a terminal.
    pub tty: bool,
}

/// `PodAttachOptions`: the container's own process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachRequest {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid.
    pub uid: String,
    /// The container; never empty.
    pub container: String,
    /// Whether the client treats the stream as a terminal (the container must have one).
    pub tty: bool,
}

/// A session's channels. Those that the client did not ask for are `None`.
#[derive(Debug, Default)]
pub struct Streams {
    /// To the process; a closed channel is the end of its input.
    pub stdin: Option<mpsc::Receiver<Bytes>>,
    /// From the process; a closed receiver means that the client is gone. With a terminal, all output comes here.
    pub stdout: Option<mpsc::Sender<Bytes>>,
    /// From the process; never with a terminal.
    pub stderr: Option<mpsc::Sender<Bytes>>,
    /// The terminal's size, whenever it changes; only with a terminal.
    pub resize: Option<mpsc::Receiver<TerminalSize>>,
}

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Lines.
    pub height: u16,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this code (0: success).
    Code(i32),
    /// A signal ended it; clients see 128 plus its number.
    Signal(i32),
}

impl ExitStatus {
    /// The exit code as a shell shows it.
    pub const fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// Why a node did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The pod, the container or its log is not there. One sentence.
    #[error("{0}")]
    NotFound(String),
    /// It is there, but not in a state in which this can be done (waiting, ended). One sentence.
    #[error("{0}")]
    NotReady(String),
    /// The request cannot be carried out as it is. One sentence.
    #[error("{0}")]
    BadRequest(String),
    /// The node failed. One sentence.
    #[error("{0}")]
    Internal(String),
}

/// One node, as a server sees it.
pub trait NodeApi: Send + Sync + 'static {
    /// The log of a container.
    ///
    /// # Errors
    /// When there is none; what fails later stands in the stream.
    fn logs(&self, request: LogRequest) -> BoxFuture<'_, Result<ByteStream, NodeError>>;

    /// Runs a process in a container; resolves when it has ended and all its output is sent. Dropping the future
    /// means that the client is gone: the process gets a hang-up.
    ///
    /// # Errors
    /// When the process cannot be started.
    fn exec(&self, request: ExecRequest, streams: Streams) -> BoxFuture<'_, Result<ExitStatus, NodeError>>;

    /// Connects to a container's own process; resolves when it has ended. Dropping the future only disconnects.
    ///
    /// # Errors
    /// When the container is not running.
    fn attach(
        &self,
        request: AttachRequest,
        streams: Streams,
    ) -> BoxFuture<'_, Result<ExitStatus, NodeError>>;

    /// What the node and its running containers have used so far. A container that ends meanwhile is not in the answer.
    ///
    /// # Errors
    /// When the node cannot read its own figures.
    fn usage(&self) -> BoxFuture<'_, Result<NodeSample, NodeError>>;
}

/// The nodes that a server can ask now, by name.
#[derive(Clone, Default)]
pub struct NodeRegistry {
    nodes: Arc<RwLock<HashMap<String, Arc<dyn NodeApi>>>>,
}

impl NodeRegistry {
    /// Makes a node known, in place of an earlier one of that name.
    pub fn insert(&self, name: impl Into<String>, node: Arc<dyn NodeApi>) {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner).insert(name.into(), node);
    }

    /// Forgets a node.
    pub fn remove(&self, name: &str) {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// All nodes that are connected, by name.
    pub fn all(&self) -> Vec<(String, Arc<dyn NodeApi>)> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = nodes.iter().map(|(name, node)| (name.clone(), node.clone())).collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    /// The node of that name, when it is connected.
    pub fn get(&self, name: &str) -> Option<Arc<dyn NodeApi>> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

impl std::fmt::Debug for NodeRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(nodes.keys()).finish()
    }
}
