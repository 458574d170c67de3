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
use tokio::time::{Instant, timeout_at};

/// How long a client may take to send a body; slower ones are not at work but holding a connection.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a body may take to begin.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How many bytes a second a body must bring once it has begun: a modem did more, and whoever drips is not at work.
const BYTES_PER_SECOND_MIN: u64 = 16 * 1024;

/// How much of a body that is too large is read and thrown away.
const DISCARD_BYTES_MAX: usize = 16 << 20;

/// From this size on a body is received only when there is a seat for it.
const LARGE_BYTES_MIN: u64 = 64 * 1024;

/// Whether a body may become large: it says so, does not say how long it is, or is compressed.
pub(crate) fn is_large(headers: &HeaderMap, body: &Body) -> bool {
    let size = http_body::Body::size_hint(body);
    headers.contains_key(CONTENT_ENCODING) || size.upper().is_none_or(|size| size >= LARGE_BYTES_MIN)
}

/// Reads a body of at most `limit` bytes, uncompressed.
///
/// # Errors
/// 413, 415 for an encoding other than gzip, 408-like 400 when the body breaks off or comes too slowly.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Status> {
    let bytes = collect(Paced::new(body), limit).await?;
    match headers.get(CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"" | b"identity") => Ok(bytes),
        Some(b"gzip") => {
            let unpacked = tokio::task::spawn_blocking(move || gunzip(&bytes, limit)).await;
            unpacked.unwrap_or_else(|_| Err(Status::internal("the request's body could not be unpacked")))
        }
        Some(other) => {
            let other = String::from_utf8_lossy(other);
            let message = format!("bodies may be compressed with gzip, not with {other:?}");
            Err(Status::new(Reason::UnsupportedMediaType, message))
        }
    }
}

/// A body that must come with a lowest rate.
struct Paced {
    body: Body,
    started: Instant,
    received: u64,
}

impl Paced {
    fn new(body: Body) -> Self {
        Self { body, started: Instant::now(), received: 0 }
    }

    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            let earned = Duration::from_secs(self.received / BYTES_PER_SECOND_MIN);
            let allowed = (BEGIN_TIMEOUT + earned).min(BODY_TIMEOUT);
            let frame = timeout_at(self.started + allowed, self.body.frame()).await;
            let frame = frame.map_err(|_| too_slow(self.received, allowed))?;
            let broken = |error| Status::bad_request(format!("the request's body broke off: {error}"));
            let Some(frame) = frame.transpose().map_err(broken)? else { return Ok(None) };
            if let Ok(data) = frame.into_data() {
                self.received += data.len() as u64;
                return Ok(Some(data));
            }
        }
    }
}

fn too_slow(received: u64, allowed: Duration) -> Status {
    let seconds = allowed.as_secs();
    Status::bad_request(format!("the request's body came too slowly: {received} bytes in {seconds} s"))
}

async fn collect(mut body: Paced, limit: usize) -> Result<Bytes, Status> {
    if http_body::Body::size_hint(&body.body).lower() > limit as u64 {
        return refuse(body, limit).await;
    }
    let mut first = None;
    let mut all = BytesMut::new();
    while let Some(data) = body.next().await? {
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

/// Refuses a body that is too large, after throwing some of it away.
async fn refuse(body: Paced, limit: usize) -> Result<Bytes, Status> {
    throw_away(body).await;
    Err(too_large(limit))
}

/// Throws a body away that nobody wants to read, while its request is answered already.
pub(crate) fn discard(body: Body) {
    tokio::spawn(throw_away(Paced::new(body)));
}

/// A client that is still sending when the connection ends would see a broken connection and not the answer.
async fn throw_away(mut body: Paced) {
    let mut left = DISCARD_BYTES_MAX;
    while left > 0 {
        let Ok(Some(data)) = body.next().await else { break };
        left = left.saturating_sub(data.len());
    }
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
    use futures_util::StreamExt;
    use http_body_util::StreamBody;
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

    /// A body of `count` pieces, one every `pause`.
    fn dripping(piece: Bytes, count: usize, pause: Duration) -> Body {
        let pieces = futures_util::stream::unfold((piece, 0), move |(piece, at)| async move {
            tokio::time::sleep(pause).await;
            (at < count).then(|| (Ok(http_body::Frame::data(piece.clone())), (piece, at + 1)))
        });
        StreamBody::new(pieces.boxed()).boxed_unsync()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_comes_at_a_lowest_rate() {
        let headers = HeaderMap::new();
        let read = |body| read(&headers, body, 3 << 20);
        let started = Instant::now();
        let status = read(dripping("x".into(), 1_000_000, Duration::from_secs(3))).await.unwrap_err();
        assert_eq!(status.message, "the request's body came too slowly: 3 bytes in 10 s");
        assert_eq!(started.elapsed(), BEGIN_TIMEOUT);
        let piece = || Bytes::from(vec![b'x'; 64 * 1024]);
        assert!(read(dripping(piece(), 40, Duration::from_secs(1))).await.is_ok(), "slow, but at work");
        let started = Instant::now();
        assert!(read(dripping(piece(), 48, Duration::from_secs(2))).await.is_err());
        assert_eq!(started.elapsed(), BODY_TIMEOUT);
    }

    #[test]
    fn what_does_not_say_how_long_it_is_may_be_large() {
        let plain = HeaderMap::new();
        let mut gzip = HeaderMap::new();
        gzip.insert(CONTENT_ENCODING, "gzip".parse().unwrap());
        assert!(!is_large(&plain, &full("x")));
        assert!(is_large(&plain, &full(vec![0; LARGE_BYTES_MIN as usize])));
        assert!(is_large(&gzip, &full("x")));
        assert!(is_large(&plain, &dripping("x".into(), 1, Duration::ZERO)));
    }
}
