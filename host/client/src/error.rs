//! What can go wrong on the way to a server and back.

use std::path::PathBuf;

use serde_json::Value;

use crate::transport::BoxError;

/// A request that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered with a `Status`.
    #[error("{0}")]
    Status(#[from] StatusError),
    /// No answer: the server cannot be reached or the connection broke.
    #[error("the server at {server} cannot be reached: {source}")]
    Unreachable {
        /// Where the server should be.
        server: String,
        /// What the connection said.
        #[source]
        source: BoxError,
    },
    /// No answer within the time that a request may take.
    #[error("the server did not answer {method} {path} within {seconds} s")]
    Timeout {
        /// The request's method.
        method: String,
        /// The request's path.
        path: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The answer's body broke off.
    #[error("the server's answer broke off: {0}")]
    Broken(#[source] BoxError),
    /// The answer is not what the Kubernetes API answers.
    #[error("the server's answer to {path} cannot be understood: {why}")]
    Malformed {
        /// The request's path.
        path: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// The request itself cannot be built, e.g. a name with a character that no URI can hold.
    #[error("the request cannot be built: {0}")]
    Request(#[from] http::Error),
}

/// `meta/v1.Status` of a failed request.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct StatusError {
    /// HTTP code.
    pub code: u16,
    /// `NotFound`, `Conflict`, …; empty when the server gave none.
    pub reason: String,
    /// One sentence.
    pub message: String,
    /// `details`; null when the server gave none.
    pub details: Value,
}

impl StatusError {
    /// Reads the body of an answer with code `code`; text that is no `Status` becomes the message.
    pub fn parse(code: u16, body: &[u8]) -> Self {
        let status: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let text = |key: &str| status.get(key).and_then(Value::as_str).map(str::to_owned);
        let message = text("message").unwrap_or_else(|| String::from_utf8_lossy(body).trim().to_owned());
        let code =
            status.get("code").and_then(Value::as_u64).and_then(|c| u16::try_from(c).ok()).unwrap_or(code);
        Self {
            code,
            reason: text("reason").unwrap_or_default(),
            message,
            details: status.get("details").cloned().unwrap_or_default(),
        }
    }
}

impl ClientError {
    /// The `Status`, when the server answered with one.
    pub fn status(&self) -> Option<&StatusError> {
        match self {
            Self::Status(status) => Some(status),
            _ => None,
        }
    }

    /// Whether the object is not there (404).
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(|s| s.code == 404)
    }

    /// Whether somebody else wrote first (409 `Conflict`): read again and retry.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(|s| s.reason == "Conflict")
    }

    /// Whether an object of that name is there (409 `AlreadyExists`).
    pub fn is_already_exists(&self) -> bool {
        self.status().is_some_and(|s| s.reason == "AlreadyExists")
    }

    /// Whether the revision asked for is too old (410): list again.
    pub fn is_expired(&self) -> bool {
        self.status().is_some_and(|s| s.code == 410)
    }
}

/// A kubeconfig that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}", path = path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The kubeconfig is no YAML of its form.
    #[error("the kubeconfig {path} cannot be understood: {why}", path = path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A key, certificate or address in it is wrong.
    #[error("the kubeconfig's {what} cannot be used: {why}")]
    Unusable {
        /// `certificate-authority`, `server`, …
        what: &'static str,
        /// What is wrong.
        why: String,
    },
}
