//! What can go wrong, in the words a kubelet user knows.

use std::io;

use serde::{Deserialize, Serialize};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A container or an exec'd process could not be started; see [`StartError::kind`].
    #[error(transparent)]
    Start(#[from] StartError),
    /// The pod or container is not known.
    #[error("{what} {id:?} not found")]
    NotFound {
        /// `pod` or `container`.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The id is taken.
    #[error("{what} {id:?} already exists")]
    AlreadyExists {
        /// `pod` or `container`.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The request makes no sense in the state things are in, for example an exec in a container that has ended.
    #[error("{0}")]
    Conflict(String),
    /// A spec asks for what no kernel could give.
    #[error("{0}")]
    InvalidSpec(String),
    /// The machine lacks something that containers need.
    #[error("this machine cannot run containers: {0}")]
    Unsupported(String),
    /// The pod's shim does not answer: it died, or it never came up.
    #[error("the shim of pod {pod_id:?} is gone: {reason}")]
    ShimGone {
        /// The pod.
        pod_id: String,
        /// The last it said, or what the socket said.
        reason: String,
    },
    /// Something the pod as a whole needs could not be made.
    #[error("pod sandbox: {0}")]
    Sandbox(String),
    /// A system call failed.
    #[error("{action}: {source}")]
    Io {
        /// What was tried, and on what.
        action: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// Shorthand.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Says what was being done when the kernel refused.
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { action: action.into(), source }
    }
}

/// Why a process did not start. It says so itself, from inside, through a pipe that a successful `execve` closes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct StartError {
    /// For programs.
    pub kind: StartErrorKind,
    /// For people, for example `exec: "/nope": stat /nope: no such file or directory`.
    pub message: String,
}

/// Kinds of [`StartError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartErrorKind {
    /// The program is not in the image.
    CommandNotFound,
    /// The program may not be executed, or is a directory.
    CommandNotExecutable,
    /// The working directory cannot be entered.
    WorkingDirectory,
    /// The user or group has no entry in the image.
    UserNotFound,
    /// `runAsNonRoot` was asked for and the user is root.
    RootRefused,
    /// A mount could not be made.
    Mount,
    /// A `subPath` leads out of its volume.
    SubPath,
    /// The root file system could not be made.
    Rootfs,
    /// A cgroup or one of its limits could not be set.
    Cgroup,
    /// The network namespace could not be joined.
    Network,
    /// Capabilities, seccomp, rlimits or credentials could not be set.
    Security,
    /// Starting took longer than [`START_MS_MAX`](crate::START_MS_MAX).
    TimedOut,
    /// Anything else.
    Internal,
}

impl StartErrorKind {
    /// The exit code a shell or Docker shows for it: 127 for a missing program, 126 for one that cannot be executed
    /// and for a bad working directory, otherwise 128 (the kubelet's `StartError`).
    pub fn exit_code(self) -> i32 {
        match self {
            StartErrorKind::CommandNotFound => 127,
            StartErrorKind::CommandNotExecutable | StartErrorKind::WorkingDirectory => 126,
            StartErrorKind::UserNotFound
            | StartErrorKind::RootRefused
            | StartErrorKind::Mount
            | StartErrorKind::SubPath
            | StartErrorKind::Rootfs
            | StartErrorKind::Cgroup
            | StartErrorKind::Network
            | StartErrorKind::Security
            | StartErrorKind::TimedOut
            | StartErrorKind::Internal => 128,
        }
    }
}

impl StartError {
    pub(crate) fn new(kind: StartErrorKind, message: impl Into<String>) -> Self {
        StartError { kind, message: message.into() }
    }
}

/// What the kernel said, in the words of Go's runtimes, which users search the web for: no code, lower case.
pub(crate) fn describe(error: &io::Error) -> String {
    let Some(code) = error.raw_os_error() else { return error.to_string() };
    let text = nix::errno::Errno::from_raw(code).desc().to_owned();
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => text,
    }
}
