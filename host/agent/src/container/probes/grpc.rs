//! The gRPC health checking protocol, as far as a probe speaks it: one `grpc.health.v1.Health/Check` over plain HTTP/2.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use berth_api::version::PROBE_USER_AGENT;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::http::dial;
use crate::manifest::GrpcAction;

/// Bytes of an answer that are read. One status takes two, and five around it.
const ANSWER_BYTES_MAX: usize = 1024;
/// The status of a service that works.
const SERVING: u64 = 1;
/// The code of a server that does not know the protocol.
const UNIMPLEMENTED: &str = "12";

/// Asks once; the error is what the event says, in the kubelet's words.
pub(super) async fn check(action: &GrpcAction, ip: IpAddr, timeout: Duration) -> Result<(), String> {
    let address = SocketAddr::new(ip, action.port);
    let stream = match tokio::time::timeout(timeout, dial(&ip.to_string(), action.port)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(format!("error: failed to connect service at \"{address}\": {error}")),
        Err(_) => return Err(format!("timeout: failed to connect service \"{address}\" within {timeout:?}")),
    };
    let asked = ask(TokioIo::new(stream), address, &action.service);
    match tokio::time::timeout(timeout, asked).await {
        Ok(Ok(SERVING)) => Ok(()),
        Ok(Ok(status)) => Err(format!("service unhealthy (responded with \"{}\")", name(status))),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(format!("timeout: health rpc did not complete within {timeout:?}")),
    }
}

fn name(status: u64) -> &'static str {
    match status {
        0 => "UNKNOWN",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "a status that is not known",
    }
}

/// The status of a service.
async fn ask(
    stream: TokioIo<tokio::net::TcpStream>,
    address: SocketAddr,
    service: &str,
) -> Result<u64, String> {
    let failed = |error: hyper::Error| format!("error: health rpc failed: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.map_err(failed)?;
    // It ends when the answer, or whoever waits for it, is dropped.
    tokio::spawn(connection);
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", PROBE_USER_AGENT)
        .body(Full::new(frame(&request(service))))
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(failed)?;
    let (head, mut body) = answer.into_parts();
    let mut message = BytesMut::new();
    let mut end = head.headers;
    while let Some(part) = body.frame().await {
        match part.map_err(failed)?.into_data() {
            Ok(data) if message.len() + data.len() <= ANSWER_BYTES_MAX => message.extend_from_slice(&data),
            Ok(_) => return Err(format!("error: health rpc failed: more than {ANSWER_BYTES_MAX} bytes")),
            Err(part) => end.extend(part.into_trailers().unwrap_or_default()),
        }
    }
    outcome(&end)?;
    status(&message)
        .ok_or_else(|| "error: health rpc failed: the answer is no HealthCheckResponse".to_owned())
}

/// What the trailers say of the call.
fn outcome(end: &HeaderMap) -> Result<(), String> {
    let text = |name| end.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match text("grpc-status") {
        "0" => Ok(()),
        UNIMPLEMENTED => Err(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
            text("grpc-message")
        )),
        code => Err(format!("error: health rpc failed: code {code:?}: {}", text("grpc-message"))),
    }
}

/// `HealthCheckRequest { string service = 1; }`
fn request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(1 << 3 | 2);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    message.freeze()
}

/// A message on the wire: not compressed, its length, itself.
fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

/// `HealthCheckResponse { ServingStatus status = 1; }`, in its frame. A status of 0 may be left out.
fn status(framed: &[u8]) -> Option<u64> {
    let (0, [a, b, c, d, message @ ..]) = framed.split_first()? else { return None };
    let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).ok()?;
    match message {
        _ if message.len() != length => None,
        [] => Some(0),
        [8, status] if *status < 0x80 => Some((*status).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, Response};
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use std::convert::Infallible;
    use tokio::net::TcpListener;

    const SOON: Duration = Duration::from_secs(5);

    /// Answers one call; what it was asked for.
    async fn server(message: &'static [u8], code: &'static str) -> (u16, tokio::task::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (told, asked) = tokio::sync::oneshot::channel();
            let told = std::sync::Mutex::new(Some(told));
            let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| {
                let told = told.lock().unwrap().take().unwrap();
                async move {
                    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                    told.send(request.collect().await.unwrap().to_bytes().to_vec()).unwrap();
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", HeaderValue::from_static(code));
                    trailers.insert("grpc-message", HeaderValue::from_static("said"));
                    let parts = [Frame::data(Bytes::from_static(message)), Frame::trailers(trailers)];
                    let parts = parts.map(Ok::<_, Infallible>);
                    Ok::<_, Infallible>(Response::new(StreamBody::new(futures_util::stream::iter(parts))))
                }
            });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            // The client leaves when it has its answer.
            drop(connection.serve_connection(TokioIo::new(stream), service).await);
            asked.await.unwrap()
        });
        (port, task)
    }

    async fn answered(message: &'static [u8], code: &'static str) -> Result<(), String> {
        let (port, _asked) = server(message, code).await;
        check(&GrpcAction { port, service: String::new() }, [127, 0, 0, 1].into(), SOON).await
    }

    #[tokio::test]
    async fn serving_is_fine_and_everything_else_is_said() {
        assert_eq!(answered(&[0, 0, 0, 0, 2, 8, 1], "0").await, Ok(()));
        for (message, code, expected) in [
            (&[0, 0, 0, 0, 2, 8, 2][..], "0", "service unhealthy (responded with \"NOT_SERVING\")"),
            (&[0, 0, 0, 0, 0], "0", "service unhealthy (responded with \"UNKNOWN\")"),
            (&[], "5", "error: health rpc failed: code \"5\": said"),
            (
                &[],
                "12",
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): said",
            ),
            (&[1, 2], "0", "error: health rpc failed: the answer is no HealthCheckResponse"),
        ] {
            assert_eq!(answered(message, code).await, Err(expected.to_owned()));
        }
    }

    #[tokio::test]
    async fn the_service_is_named() {
        let (port, asked) = server(&[0, 0, 0, 0, 2, 8, 1], "0").await;
        let action = GrpcAction { port, service: "ready".to_owned() };
        check(&action, [127, 0, 0, 1].into(), SOON).await.unwrap();
        assert_eq!(asked.await.unwrap(), b"\0\0\0\0\x07\x0a\x05ready");
        assert_eq!(request(&"x".repeat(300))[..3], [10, 0xac, 2], "longer than a byte can say");
    }

    #[tokio::test]
    async fn nobody_and_somebody_silent_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let action = |port| GrpcAction { port, service: String::new() };
        let patience = Duration::from_millis(50);
        let port = listener.local_addr().unwrap().port();
        let silent = check(&action(port), [127, 0, 0, 1].into(), patience).await.unwrap_err();
        assert_eq!(silent, "timeout: health rpc did not complete within 50ms");
        let refused = check(&action(1), [127, 0, 0, 1].into(), SOON).await.unwrap_err();
        assert!(refused.ends_with("dial tcp 127.0.0.1:1: connect: connection refused"), "{refused}");
    }
}
