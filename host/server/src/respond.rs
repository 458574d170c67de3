//! Building answers.

use std::io::Write;

use berth_api::{Schema, Status, encode};
use berth_client::Body;
use berth_json::Value;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, VARY, WARNING,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};

use crate::negotiate::Encoding;
use crate::parts::{self, Filter};

/// From this size on an answer is compressed for who asks for it: as the API server has it, since for smaller ones
/// the time costs more than the bytes.
const COMPRESS_BYTES_MIN: usize = 128 * 1024;
/// The fastest level: lists are repetitive, and higher levels gain little.
const COMPRESSION_LEVEL: u32 = 1;
/// How many bytes all warnings of an answer may have together, so that clients' limits on headers are kept.
const WARNING_BYTES_MAX: usize = 4096;

/// A body that is there as a whole.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// An answer with a body of `content_type`.
pub(crate) fn answer(code: u16, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    streamed(code, content_type, full(body))
}

/// An answer whose body comes bit by bit.
pub(crate) fn streamed(code: u16, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// Plain text.
pub(crate) fn text(code: u16, text: impl Into<String>) -> Response<Body> {
    answer(code, "text/plain; charset=utf-8", text.into())
}

/// A value in the encoding that was asked for.
pub(crate) fn value(code: u16, encoding: Encoding, value: &Value) -> Response<Body> {
    match encoding {
        Encoding::Json => json(code, value),
        Encoding::Yaml => answer(code, "application/yaml", encode::yaml(value)),
        Encoding::Protobuf => match encode::protobuf(Schema::builtin(), value) {
            Some(bytes) => answer(code, encoding.media_type(), bytes),
            // JSON is always understood; only kinds without a protobuf form come here.
            None => json(code, value),
        },
    }
}

fn json(code: u16, value: &Value) -> Response<Body> {
    // A `Value` has string keys and finite numbers: it can always be written.
    answer(code, "application/json", serde_json::to_vec(value).unwrap_or_default())
}

/// A failure in the encoding that was asked for.
pub(crate) fn failure(status: &Status, encoding: Encoding) -> Response<Body> {
    failure_value(status, encoding, &status.to_value())
}

/// A failure whose body says more than [`Status`] can hold.
pub(crate) fn failure_value(status: &Status, encoding: Encoding, body: &Value) -> Response<Body> {
    let mut response = value(status.code, encoding, body);
    let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    if seconds > 0 {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Adds a `Warning` header for each text (RFC 7234, with code 299 and no agent).
pub(crate) fn warn(response: &mut Response<Body>, warnings: &[String]) {
    let mut bytes = 0;
    for text in warnings {
        let quoted = format!("299 - {}", quote(text));
        bytes += quoted.len();
        if bytes > WARNING_BYTES_MAX {
            break;
        }
        if let Ok(value) = HeaderValue::from_bytes(quoted.as_bytes()) {
            response.headers_mut().append(WARNING, value);
        }
    }
}

/// Adds a `Warning` header before those that are there.
pub(crate) fn warn_first(response: &mut Response<Body>, text: String) {
    let others: Vec<HeaderValue> = response.headers().get_all(WARNING).iter().cloned().collect();
    response.headers_mut().remove(WARNING);
    warn(response, &[text]);
    for other in others {
        response.headers_mut().append(WARNING, other);
    }
}

fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Compresses a large answer for a client that wants it.
pub(crate) async fn compress(response: Response<Body>, is_wanted: bool) -> Response<Body> {
    if is_wanted && parts::are_in(&response) {
        let encoder = GzEncoder::new(Vec::new(), Compression::new(COMPRESSION_LEVEL));
        return compressed(response.map(|body| parts::through(body, Gzip(encoder))));
    }
    let size = http_body::Body::size_hint(response.body()).exact().unwrap_or(0);
    if size < COMPRESS_BYTES_MIN as u64 || !is_wanted {
        return response;
    }
    let (head, body) = response.into_parts();
    let Ok(collected) = body.collect().await else {
        return failure(&Status::internal("the answer broke off while it was compressed"), Encoding::Json);
    };
    let bytes = collected.to_bytes();
    match tokio::task::spawn_blocking(move || gzip(&bytes)).await {
        Ok(Ok(bytes)) => compressed(Response::from_parts(head, full(bytes))),
        _ => failure(&Status::internal("the answer could not be compressed"), Encoding::Json),
    }
}

/// Says that the body is compressed.
fn compressed(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

/// Compresses part by part.
struct Gzip(GzEncoder<Vec<u8>>);

impl Filter for Gzip {
    // Writing to memory does not fail.
    fn part(&mut self, bytes: &[u8]) -> Vec<u8> {
        let _ = self.0.write_all(bytes);
        std::mem::take(self.0.get_mut())
    }

    fn end(&mut self) -> Vec<u8> {
        let _ = self.0.try_finish();
        std::mem::take(self.0.get_mut())
    }
}

/// Whether the client that sent these headers takes compressed answers.
pub(crate) fn accepts_gzip(request: &HeaderMap) -> bool {
    let values = request.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| coding.trim().split(';').next() == Some("gzip"))
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder =
        GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::new(COMPRESSION_LEVEL));
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_quoted_and_bounded() {
        let mut response = text(200, "");
        warn(&mut response, &["unknown field \"a\"".to_owned(), "x".repeat(WARNING_BYTES_MAX)]);
        let warnings: Vec<_> = response.headers().get_all(WARNING).iter().collect();
        assert_eq!(warnings, [r#"299 - "unknown field \"a\"""#]);
    }

    #[tokio::test]
    async fn only_large_answers_are_compressed() {
        let mut request = HeaderMap::new();
        request.insert(ACCEPT_ENCODING, HeaderValue::from_static("br, gzip;q=0.5"));
        let small = compress(text(200, "small"), accepts_gzip(&request)).await;
        assert_eq!(small.headers().get(CONTENT_ENCODING), None);
        let large = compress(text(200, "x".repeat(COMPRESS_BYTES_MIN)), accepts_gzip(&request)).await;
        assert_eq!(large.headers()[CONTENT_ENCODING], "gzip");
        let large =
            compress(text(200, "x".repeat(COMPRESS_BYTES_MIN)), accepts_gzip(&HeaderMap::new())).await;
        assert_eq!(large.headers().get(CONTENT_ENCODING), None);
    }
}
