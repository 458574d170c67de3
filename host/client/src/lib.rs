//! How the agent, the command line and the tests talk to a server, and what a server asks of a node.
//!
//! A [`Client`] speaks the Kubernetes API over a [`Transport`]: HTTPS to a server elsewhere ([`HttpsTransport`]), or
//! the server's own service called directly when both are in one process. [`NodeApi`] is the other direction: logs,
//! exec and attach, which a server hands on to the node of a pod.

mod client;
mod config;
mod error;
mod follow;
mod https;
mod node;
mod resource;
mod transport;
mod watch;

pub use client::{Client, DeleteOptions, List, ListOptions, PatchKind};
pub use config::{Config, Credentials};
pub use error::{ClientError, ConfigError, StatusError};
pub use follow::{Follow, Followed};
pub use https::{HttpVersions, HttpsTransport};
pub use node::{
    AttachRequest, ByteStream, ExecRequest, ExitStatus, LogRequest, LogSince, NodeApi, NodeError,
    NodeRegistry, STREAM_CHUNKS_MAX, Streams, TerminalSize,
};
pub use resource::ApiResource;
pub use transport::{Body, BoxError, Transport};
pub use watch::{Event, Watch};
