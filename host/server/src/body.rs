//! Reading request bodies, bounded in bytes and in time.

use std::io::Read;
use std::time::Duration;

use berth_api::{Reason, Status};
use berth_client::Body;
use bytes::{Bytes, BytesMut};
use flate2::read::GzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body_util::BodyExt;

/// How long a client may take to send a body; slower ones are not at work but holding a connection.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// How much of a body that is too large is read and thrown away.
const DISCARD_BYTES_MAX: usize = 16 << 20;

/// Reads a body of at most `limit` bytes, uncompressed.
///
/// # Errors
/// 413, 415 for an encoding other than gzip, 408-like 400 when the body breaks off or takes too long.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Status> {
    let read = tokio::time::timeout(BODY_TIMEOUT, collect(body, limit)).await;
    let bytes = read.map_err(|_| {
        let seconds = BODY_TIMEOUT.as_secs();
        Status::bad_request(format!("the request's body was not there after {seconds} s"))
    })??;
    match headers.get(CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"" | b"identity") => Ok(bytes),
        Some(b"gzip") => gunzip(&bytes, limit),
        Some(other) => {
            let other = String::from_utf8_lossy(other);
            let message = format!("bodies may be compressed with gzip, not with {other:?}");
            Err(Status::new(Reason::UnsupportedMediaType, message))
        }
    }
}

async fn collect(mut body: Body, limit: usize) -> Result<Bytes, Status> {
    if http_body::Body::size_hint(&body).lower() > limit as u64 {
        return refuse(body, limit).await;
    }
    let mut first = None;
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Status::bad_request(format!("the request's body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if all.len() + first.as_ref().map_or(0, Bytes::len) + data.len() > limit {
            return refuse(body, limit).await;
        }
        // Most bodies are one frame: they are taken as they are.
        match first.take() {
            None if all.is_empty() => first = Some(data),
            None => all.extend_from_slice(&data),
            Some(before) => {
                all.extend_from_slice(&before);
                all.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| all.freeze()))
}

/// Refuses a body that is too large, after reading some of it: a client that is still sending when the connection ends
/// would see a broken connection and not the answer.
async fn refuse(mut body: Body, limit: usize) -> Result<Bytes, Status> {
    let mut left = DISCARD_BYTES_MAX;
    while left > 0 {
        let Some(Ok(frame)) = body.frame().await else { break };
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
    }
    Err(too_large(limit))
}

fn gunzip(bytes: &[u8], limit: usize) -> Result<Bytes, Status> {
    let mut plain = Vec::new();
    let read = GzDecoder::new(bytes).take(limit as u64 + 1).read_to_end(&mut plain);
    match read {
        Err(error) => Err(Status::bad_request(format!("the request's body is no gzip: {error}"))),
        Ok(_) if plain.len() > limit => Err(too_large(limit)),
        Ok(_) => Ok(plain.into()),
    }
}

fn too_large(limit: usize) -> Status {
    Status::new(Reason::RequestEntityTooLarge, format!("Request entity too large: limit is {limit}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::respond::full;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn gzipped(bytes: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    #[tokio::test]
    async fn limits_hold_for_what_comes_out() {
        let plain = HeaderMap::new();
        assert_eq!(read(&plain, full("12345"), 5).await.unwrap(), "12345");
        assert_eq!(read(&plain, full("123456"), 5).await.unwrap_err().code, 413);
        let mut gzip = HeaderMap::new();
        gzip.insert(CONTENT_ENCODING, "gzip".parse().unwrap());
        assert_eq!(read(&gzip, full(gzipped(&[b'x'; 99])), 99).await.unwrap().len(), 99);
        assert_eq!(read(&gzip, full(gzipped(&vec![0; 100_000])), 1000).await.unwrap_err().code, 413);
        assert_eq!(read(&gzip, full("no gzip"), 99).await.unwrap_err().code, 400);
        gzip.insert(CONTENT_ENCODING, "br".parse().unwrap());
        assert_eq!(read(&gzip, full(""), 99).await.unwrap_err().code, 415);
    }
}
