//! `GET …/pods/<name>/log`.

use berth_api::status::Details;
use berth_api::{Problems, Reason, Status, Timestamp};
use berth_client::{LogRequest, LogSince};
use berth_pipeline::Verb;
use futures_util::TryStreamExt;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use crate::pods;
use crate::query::Query;
use crate::respond;
use crate::rest::{Target, authorize};
use crate::server::{Call, Handled, Inner};
use crate::websocket::{self, Encoding};

/// Streams a container's log.
pub(crate) async fn serve(server: &Inner, target: &Target, mut call: Call) -> Handled {
    authorize(server, target, &call, Verb::Get)?;
    let options = read(&call.query, &target.path.name)?;
    let place = pods::find(server, target, call.query.text("container"))?;
    let request = LogRequest {
        namespace: target.path.namespace.clone(),
        pod: target.path.name.clone(),
        uid: place.uid,
        container: place.container,
        ..options
    };
    let socket = match websocket::is_asked_for(&call.parts.headers) {
        true => Some(websocket::choose(&call.parts.headers, &Encoding::PROTOCOLS)?),
        false => None,
    };
    let lines = place.node.logs(request).await.map_err(pods::status_of)?;
    if let Some((name, encoding)) = socket {
        return websocket::accept(&mut call, name, move |socket| websocket::log(socket, encoding, lines));
    }
    let frames = lines.map_ok(Frame::data).map_err(berth_client::BoxError::from);
    Ok(respond::streamed(200, "text/plain; charset=utf-8", StreamBody::new(frames).boxed_unsync()))
}

/// `PodLogOptions`, without what names the container.
fn read(query: &Query, pod: &str) -> Result<LogRequest, Status> {
    let mut problems = Problems::default();
    let mut at_least = |key: &str, least: i64| -> Result<Option<u64>, Status> {
        let Some(number) = query.integer(key)? else { return Ok(None) };
        if number < least {
            problems.invalid(key, &number.into(), &format!("must be greater than or equal to {least}"));
        }
        Ok(u64::try_from(number).ok())
    };
    let tail_lines = at_least("tailLines", 0)?;
    let limit_bytes = at_least("limitBytes", 1)?;
    let since_seconds = at_least("sinceSeconds", 1)?;
    let since = match (since_seconds, query.text("sinceTime")) {
        (None, "") => None,
        (Some(seconds), "") => Some(LogSince::Seconds(seconds)),
        (None, time) if Timestamp::parse(time).is_some() => Some(LogSince::Time(time.to_owned())),
        (None, time) => {
            problems.invalid("sinceTime", &time.into(), "must be an RFC 3339 time");
            None
        }
        (Some(_), _) => {
            problems
                .forbidden("sinceSeconds", "at most one of `sinceTime` or `sinceSeconds` may be specified");
            None
        }
    };
    let stream = query.text("stream");
    if !matches!(stream, "" | "All") {
        problems.not_supported("stream", &stream.into(), &["All"]);
    }
    if !problems.is_empty() {
        return Err(invalid(pod, problems));
    }
    Ok(LogRequest {
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        tail_lines,
        since,
        limit_bytes,
        ..LogRequest::default()
    })
}

fn invalid(pod: &str, problems: Problems) -> Status {
    let message = format!("PodLogOptions \"{pod}\" is invalid: {}", problems.text());
    let details = Details {
        name: pod.to_owned(),
        kind: "PodLogOptions".to_owned(),
        causes: problems.causes,
        ..Details::default()
    };
    Status { details: Some(Box::new(details)), ..Status::new(Reason::Invalid, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let read = |query| read(&Query::parse(Some(query)), "p");
        let options = read("follow=true&tailLines=5&sinceSeconds=9&timestamps=1&limitBytes=7").unwrap();
        let expected = LogRequest {
            follow: true,
            timestamps: true,
            tail_lines: Some(5),
            since: Some(LogSince::Seconds(9)),
            limit_bytes: Some(7),
            ..LogRequest::default()
        };
        assert_eq!(options, expected);
        let message = read("tailLines=-1").unwrap_err().message;
        assert_eq!(
            message,
            "PodLogOptions \"p\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0"
        );
        assert!(read("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z").is_err());
        assert!(read("sinceTime=yesterday").is_err());
    }
}
