//! Why an agent does not start.

use std::io;
use std::path::PathBuf;

/// An agent that cannot start, or a node that cannot be cleared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The container runtime.
    #[error("container runtime: {0}")]
    Runtime(#[from] berth_runtime::Error),
    /// The pod network.
    #[error("pod network: {0}")]
    Network(#[from] berth_network::NetworkError),
    /// The image store.
    #[error("{0}")]
    Image(#[from] berth_image::ImageError),
    /// A file-system operation.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A part of the agent ended abnormally: a bug.
    #[error("the agent's {0} ended abnormally")]
    Task(&'static str),
}

impl AgentError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> AgentError {
        move |source| AgentError::Io { action, path: path.into(), source }
    }
}
