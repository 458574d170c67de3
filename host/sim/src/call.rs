//! Calls to the server: what is asked, who asks, what is answered.

use berth_api::Status;
use berth_control::{EventNote, OnMiss};
use berth_pipeline::{Answer, Binding, Request};
use berth_state::Key;

/// Names one call; a late or doubled answer finds its call gone.
pub(crate) type Ticket = u64;

/// What is asked.
#[derive(Clone)]
pub(crate) enum Ask {
    /// One write.
    Write(Box<Request>),
    /// Bindings, each on its own or all together.
    Bind { bindings: Vec<Binding>, together: bool },
}

/// What is answered.
pub(crate) enum Reply {
    /// To [`Ask::Write`].
    Written(Result<Answer, Status>),
    /// To [`Ask::Bind`].
    Bound(Vec<Result<(), Status>>),
}

/// Who asks.
pub(crate) enum Caller {
    /// A step of a controller's work.
    Step { run: u64, component: &'static str, told: Option<EventNote>, on_miss: OnMiss },
    /// The scheduler, about these pods.
    Binder { pods: Vec<(Key, Box<str>)> },
    /// The scheduler, and nothing depends on the answer.
    SchedulerStatus,
    /// An event; nothing depends on the answer.
    Courtesy,
    /// A node, about this object.
    Node(Key),
    /// A client.
    Client(usize),
    /// A test that says itself what is written.
    Script,
}

impl Caller {
    /// Whether the caller lives in the server's process, and dies with it.
    pub(crate) fn is_inside(&self) -> bool {
        match self {
            Self::Step { .. } | Self::Binder { .. } | Self::SchedulerStatus | Self::Courtesy => true,
            Self::Node(_) | Self::Client(_) | Self::Script => false,
        }
    }

    /// Whether its calls can be lost on the way. The scheduler's bindings are calls of a function, and so are not; those
    /// of controllers are too, but what is decided from the state alone must survive the loss.
    pub(crate) fn can_lose(&self) -> bool {
        !matches!(self, Self::Binder { .. } | Self::Script)
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
        Ask::Bind { bindings, .. } => {
            let list: Vec<String> = bindings.iter().map(|b| format!("{}→{}", b.pod.name, b.node)).collect();
            format!("bind {}", list.join(" "))
        }
    }
}
