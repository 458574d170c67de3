//! Watches: what is there, then every change, until the client has enough.

mod events;
mod stream;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use berth_api::select::{FieldOperator, FieldRequirement};
use berth_api::{Problems, Status};
use berth_pipeline::Verb;
use berth_state::Revision;
use futures_util::{StreamExt, stream as futures};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use crate::list::{Selection, refuse_shards};
use crate::negotiate;
use crate::query::{Query, VersionMatch, invalid_options};
use crate::read::revision;
use crate::render::Context;
use crate::respond;
use crate::rest::{Target, authorize};
use crate::server::{Call, Handled, Inner};
use crate::websocket;

use events::Encoder;
use stream::Watching;

/// How long a watch lasts when the client does not say: half an hour to an hour, as on the API server, so that watches
/// of clients that went away silently end.
const TIMEOUT_SECONDS_MIN: u64 = 1800;

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Begin {
    /// Changes after this revision; `None`: from now on.
    after: Option<Revision>,
    /// Whether what is there comes first, as of a state that is not older than `after`.
    initial: bool,
    /// Whether a bookmark ends the initial events.
    marked: bool,
    /// Whether bookmarks are wanted now and then.
    bookmarks: bool,
}

/// Serves `GET …/<plural>?watch=1` and the deprecated `/watch/` paths.
pub(crate) fn serve(server: Arc<Inner>, target: Target, mut call: Call) -> Handled {
    authorize(&server, &target, &call, Verb::Watch)?;
    let form = negotiate::watch_form(&call.parts.headers)?;
    let context = Context::read(&call.query, server.cluster.now())?;
    let mut selection = Selection::read(&call.query, &target.resource)?;
    if !target.path.name.is_empty() {
        let name = target.path.name.clone();
        let field = "metadata.name".to_owned();
        selection.fields.requirements.push(FieldRequirement {
            field,
            operator: FieldOperator::Equals,
            value: name,
        });
    }
    let begin = Begin::read(&call.query)?;
    let timeout = timeout(&call.query)?;
    let encoder = Encoder::new(target.resource.clone(), form.transform, context.include);
    let watching = Watching::new(server, target, selection, encoder, begin, timeout);
    let chunks = futures::unfold(watching, |mut watching| async move {
        let chunk = watching.next().await?;
        Some((chunk, watching))
    });
    if websocket::is_asked_for(&call.parts.headers) {
        // The protocol that a browser has to name says nothing about a watch: its events are text.
        let protocol = websocket::first_offer(&call.parts.headers).to_owned();
        return websocket::accept(&mut call, &protocol, |socket| websocket::events(socket, chunks));
    }
    let frames = chunks.map(|chunk| Ok::<_, berth_client::BoxError>(Frame::data(chunk)));
    let body = StreamBody::new(frames.boxed()).boxed_unsync();
    Ok(respond::streamed(200, "application/json", body))
}

impl Begin {
    fn read(query: &Query) -> Result<Self, Status> {
        check_options(query)?;
        let after = revision(query.text("resourceVersion"))?.filter(|revision| *revision != Revision(0));
        let bookmarks = query.flag("allowWatchBookmarks");
        let initial = match query.optional_flag("sendInitialEvents") {
            Some(wanted) => wanted,
            None => after.is_none(),
        };
        Ok(Self { after, initial, marked: initial && bookmarks, bookmarks })
    }
}

fn check_options(query: &Query) -> Result<(), Status> {
    let mut problems = Problems::default();
    let field = "resourceVersionMatch";
    let wanted = query.version_match();
    refuse_shards(query, &mut problems);
    if query.optional_flag("sendInitialEvents").is_some() {
        if wanted.as_ref().ok() != Some(&VersionMatch::NotOlderThan) {
            let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            problems.forbidden(field, detail);
        }
        if !matches!(wanted, Ok(VersionMatch::NotOlderThan | VersionMatch::Unset)) {
            problems.not_supported(field, &query.text(field).into(), &["NotOlderThan"]);
        }
    } else if !matches!(wanted, Ok(VersionMatch::Unset)) {
        let detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        problems.forbidden(field, detail);
    }
    if problems.is_empty() { Ok(()) } else { Err(invalid_options("ListOptions", problems)) }
}

fn timeout(query: &Query) -> Result<Duration, Status> {
    let given = query.integer("timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok());
    let seconds = match given {
        Some(seconds) if seconds > 0 => seconds,
        _ => {
            // Spread, so that all watches of a restarted client do not end together; the clock's digits are as good as
            // any random number for that.
            let digits = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.subsec_micros());
            TIMEOUT_SECONDS_MIN + u64::from(digits) % TIMEOUT_SECONDS_MIN
        }
    };
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(query: &str) -> Result<Begin, String> {
        Begin::read(&Query::parse(Some(query))).map_err(|status| status.message)
    }

    #[test]
    fn where_a_watch_begins() {
        let now = Begin { after: None, initial: true, marked: false, bookmarks: false };
        assert_eq!(begin(""), Ok(now));
        assert_eq!(begin("resourceVersion=0"), Ok(now));
        assert_eq!(begin("allowWatchBookmarks=1"), Ok(Begin { marked: true, bookmarks: true, ..now }));
        let later = Begin { after: Some(Revision(7)), initial: false, ..now };
        assert_eq!(begin("resourceVersion=7"), Ok(later));
        let both = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
        assert_eq!(begin(&format!("{both}&resourceVersion=7")), Ok(Begin { initial: true, ..later }));
        let none = "sendInitialEvents=false&resourceVersionMatch=NotOlderThan";
        assert_eq!(begin(none), Ok(Begin { initial: false, ..now }));
    }

    #[test]
    fn refusals() {
        for (query, complaint) in [
            ("sendInitialEvents=true", "sendInitialEvents requires setting"),
            ("sendInitialEvents=true&resourceVersionMatch=Exact", "supported values: \"NotOlderThan\""),
            ("resourceVersionMatch=NotOlderThan", "is forbidden for watch unless"),
            ("resourceVersion=x", "invalid syntax"),
        ] {
            let message = begin(query).unwrap_err();
            assert!(message.contains(complaint), "{query}: {message}");
        }
    }
}
