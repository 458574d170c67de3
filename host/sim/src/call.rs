//! Calls to a server: what is asked, who asks, what is answered.

use berth_api::Status;
use berth_pipeline::{Answer, Request};
use berth_state::Key;
use bytes::Bytes;
use tokio::sync::oneshot;

/// Names one call; a late or doubled answer finds its call gone.
pub(crate) type Ticket = u64;

/// What is asked.
#[derive(Clone)]
pub(crate) enum Ask {
    /// One write.
    Write(Box<Request>),
    /// A component is uploaded.
    Upload(Bytes),
}

/// What is answered.
pub(crate) enum Reply {
    /// To [`Ask::Write`].
    Written(Result<Answer, Status>),
    /// To [`Ask::Upload`]: the digest.
    Uploaded(Result<String, Status>),
}

/// Who asks.
pub(crate) enum Caller {
    /// A node, about this object.
    Node(Key),
    /// A client.
    Client(usize),
    /// The administrator, who waits for it; without an answer nothing is sent.
    Admin(oneshot::Sender<Reply>),
    /// A test that says itself what is written.
    Script,
}

impl Caller {
    /// Whether its calls can be lost on the way.
    pub(crate) fn can_lose(&self) -> bool {
        !matches!(self, Self::Script)
    }
}

/// One line about what is asked.
pub(crate) fn describe(ask: &Ask) -> String {
    match ask {
        Ask::Write(request) => {
            let name = if request.name.is_empty() { "(new)" } else { &request.name };
            let sub = if request.subresource.is_empty() { "" } else { "/" };
            format!(
                "{} {} {}{sub}{} {}/{name}",
                request.identity.user.trim_start_matches("system:"),
                request.verb.as_str(),
                request.resource.plural,
                request.subresource,
                request.namespace,
            )
        }
        Ask::Upload(bytes) => format!("upload {}", String::from_utf8_lossy(bytes)),
    }
}

/// One line about what is answered.
pub(crate) fn outcome(reply: &Reply) -> String {
    match reply {
        Reply::Written(Ok(answer)) => {
            format!(
                "→ {} at {}",
                answer.code,
                answer.object()["metadata"]["resourceVersion"].as_str().unwrap_or("-")
            )
        }
        Reply::Uploaded(Ok(digest)) => format!("→ {digest}"),
        Reply::Written(Err(status)) | Reply::Uploaded(Err(status)) => {
            format!("→ {} {}", status.code, status.message)
        }
    }
}
