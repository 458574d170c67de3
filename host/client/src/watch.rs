//! The stream of a watch: one JSON object a line.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde_json::Value;

use crate::{Body, ClientError, StatusError};

/// How long one line may be: an object of the largest size that a server takes, once as it was sent and once more for
/// what managedFields adds.
const LINE_BYTES_MAX: usize = 8 << 20;

/// What happened to an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It is there, or it has come into the selection.
    Added(Value),
    /// It has changed.
    Modified(Value),
    /// It is gone, or it has left the selection; the object as it was last seen.
    Deleted(Value),
    /// Nothing happened up to this revision.
    Bookmark {
        /// Where to resume.
        resource_version: String,
    },
}

/// A running watch. Dropping it ends it.
pub struct Watch {
    body: Body,
    buffer: BytesMut,
    path: String,
}

impl Watch {
    pub(crate) fn new(body: Body, path: String) -> Self {
        Self { body, buffer: BytesMut::new(), path }
    }

    /// The next event; `None` when the server has ended the watch (resume from the last revision seen).
    ///
    /// May be dropped and called again without losing an event.
    ///
    /// # Errors
    /// 410 when the watch has fallen too far behind, and broken connections; the watch is over then.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(line) = self.line()? {
                return self.parse(&line).map(Some);
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(ClientError::Broken(error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    fn line(&mut self) -> Result<Option<Bytes>, ClientError> {
        let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') else {
            let fits = self.buffer.len() <= LINE_BYTES_MAX;
            return if fits { Ok(None) } else { Err(self.malformed("an event is too large")) };
        };
        let line = self.buffer.split_to(end + 1).freeze();
        Ok(Some(line.slice(..end)))
    }

    fn parse(&self, line: &[u8]) -> Result<Event, ClientError> {
        let mut event: Value = serde_json::from_slice(line).map_err(|e| self.malformed(&e.to_string()))?;
        let object = event["object"].take();
        match event["type"].as_str().unwrap_or_default() {
            "ADDED" => Ok(Event::Added(object)),
            "MODIFIED" => Ok(Event::Modified(object)),
            "DELETED" => Ok(Event::Deleted(object)),
            "BOOKMARK" => Ok(Event::Bookmark { resource_version: resource_version(&object) }),
            "ERROR" => Err(StatusError::parse(500, object.to_string().as_bytes()).into()),
            other => Err(self.malformed(&format!("an event of type {other:?}"))),
        }
    }

    fn malformed(&self, why: &str) -> ClientError {
        ClientError::Malformed { path: self.path.clone(), why: why.to_owned() }
    }
}

pub(crate) fn resource_version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full};

    async fn events(body: &'static str) -> (Vec<Event>, Option<ClientError>) {
        let body =
            Full::new(Bytes::from_static(body.as_bytes())).map_err(|never| match never {}).boxed_unsync();
        let mut watch = Watch::new(body, "/x".to_owned());
        let mut events = vec![];
        loop {
            match watch.next().await {
                Ok(Some(event)) => events.push(event),
                Ok(None) => return (events, None),
                Err(error) => return (events, Some(error)),
            }
        }
    }

    #[tokio::test]
    async fn lines_become_events_and_an_error_ends_them() {
        let (seen, error) = events(concat!(
            "{\"type\":\"ADDED\",\"object\":{\"a\":1}}\n",
            "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"7\"}}}\n",
            "{\"type\":\"ERROR\",\"object\":{\"code\":410,\"reason\":\"Expired\",\"message\":\"too old\"}}\n",
        ))
        .await;
        let bookmark = Event::Bookmark { resource_version: "7".to_owned() };
        assert_eq!(seen, [Event::Added(serde_json::json!({"a": 1})), bookmark]);
        assert!(error.unwrap().is_expired());
    }

    #[tokio::test]
    async fn nonsense_is_refused() {
        let (seen, error) = events("{\"type\":\"ODD\"}\n").await;
        assert_eq!(seen, []);
        assert!(error.unwrap().to_string().contains("an event of type \"ODD\""));
    }
}
