//! WebSocket connections (RFC 6455): asking for one, choosing its protocol, and what may wait on it.

mod one_way;
mod outbox;

use std::future::Future;

use berth_api::{Reason, Status};
use berth_client::{Body, BoxError};
use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::BodyExt;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::server::{Call, Handled};

pub(crate) use one_way::{Encoding, events, log};
pub(crate) use outbox::{Outbox, Source};

/// How large one message of a client may be. They send at most 32 KiB at a time, except for libraries that send what they
/// are given as one message. A connection keeps room for a message as soon as its length is known.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// What is read at a time: a TLS record.
const READ_BYTES: usize = 16 << 10;
/// How a browser, which cannot set a header, shows its token: as a protocol that is not meant to be chosen.
const BEARER_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// A client's connection.
pub(crate) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Whether a request asks for a WebSocket.
pub(crate) fn is_asked_for(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    upgrade.eq_ignore_ascii_case("websocket") && list(headers, CONNECTION.as_str()).any(is_upgrade)
}

/// The bearer token among the protocols that a WebSocket's client offers, still encoded (base64url).
pub(crate) fn encoded_token(headers: &HeaderMap) -> Option<&str> {
    let mut offers = list(headers, SEC_WEBSOCKET_PROTOCOL.as_str());
    let token = offers.find_map(|offer| offer.strip_prefix(BEARER_PREFIX));
    token.filter(|_| is_asked_for(headers))
}

/// The first protocol that the client offers and the server knows; none offered counts as the empty name.
///
/// # Errors
/// 403, as the API server answers, when none is known.
pub(crate) fn choose<P: Copy>(
    headers: &HeaderMap,
    known: &[(&'static str, P)],
) -> Result<(&'static str, P), Status> {
    let mut offers: Vec<&str> = offers(headers).collect();
    if offers.is_empty() {
        offers.push("");
    }
    let found = offers.iter().find_map(|offer| known.iter().find(|(name, _)| name == offer));
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
        let message = format!(
            "requested WebSocket protocol(s) are not supported: {}; supports {}",
            offers.join(", "),
            names.join(", ")
        );
        Status::new(Reason::Forbidden, message)
    })
}

/// The first protocol that the client offers, whatever it is.
pub(crate) fn first_offer(headers: &HeaderMap) -> &str {
    offers(headers).next().unwrap_or_default()
}

/// Answers a request with the change to a WebSocket of `protocol`, which `serve` then has in a task of its own.
pub(crate) fn accept<F: Future<Output = ()> + Send + 'static>(
    call: &mut Call,
    protocol: &str,
    serve: impl FnOnce(Socket) -> F + Send + 'static,
) -> Handled {
    let refused =
        |why: &dyn std::fmt::Display| Status::bad_request(format!("Upgrade request required: {why}"));
    let mut request = Request::new(());
    request.method_mut().clone_from(&call.parts.method);
    *request.version_mut() = call.parts.version;
    request.headers_mut().clone_from(&call.parts.headers);
    let mut response = create_response(&request).map_err(|error| refused(&error))?;
    let upgrade = call.parts.extensions.remove::<OnUpgrade>();
    let upgrade = upgrade.ok_or_else(|| refused(&"this connection cannot become another"))?;
    if !protocol.is_empty() {
        let name = HeaderValue::from_str(protocol).map_err(|error| refused(&error))?;
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
    }
    tokio::spawn(async move {
        // A client that has gone before it got the answer has no connection.
        let Ok(connection) = upgrade.await else { return };
        let io = TokioIo::new(connection);
        serve(WebSocketStream::from_raw_socket(io, Role::Server, Some(limits())).await).await;
    });
    Ok(response.map(|()| empty()))
}

/// What one connection may hold.
fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(outbox::WAITING_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

fn empty() -> Body {
    http_body_util::Empty::<Bytes>::new().map_err(BoxError::from).boxed_unsync()
}

fn offers(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    list(headers, SEC_WEBSOCKET_PROTOCOL.as_str()).filter(|offer| !offer.starts_with(BEARER_PREFIX))
}

/// The members of a header that is a list.
fn list<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|member| !member.is_empty())
}

fn is_upgrade(member: &str) -> bool {
    member.eq_ignore_ascii_case("upgrade")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offering(protocols: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, HeaderValue::from_static("WebSocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        for protocol in protocols {
            headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(protocol).unwrap());
        }
        headers
    }

    #[test]
    fn the_clients_first_known_protocol_is_chosen() {
        let known = [("", 0), ("v4.channel.k8s.io", 4), ("channel.k8s.io", 1)];
        let chosen = |protocols: &[&str]| choose(&offering(protocols), &known).map(|(_, number)| number);
        assert_eq!(chosen(&["x, channel.k8s.io", "v4.channel.k8s.io"]), Ok(1));
        assert_eq!(chosen(&[]), Ok(0));
        let refused = chosen(&["v9.channel.k8s.io"]).unwrap_err();
        assert_eq!(refused.code, 403);
        assert_eq!(
            refused.message,
            "requested WebSocket protocol(s) are not supported: v9.channel.k8s.io; supports v4.channel.k8s.io, channel.k8s.io"
        );
    }

    #[test]
    fn a_token_among_the_protocols_is_no_protocol() {
        let headers = offering(&["base64url.bearer.authorization.k8s.io.dG9rZW4, base64.binary.k8s.io"]);
        assert_eq!(encoded_token(&headers), Some("dG9rZW4"));
        assert_eq!(first_offer(&headers), "base64.binary.k8s.io");
        let mut plain = headers.clone();
        plain.remove(UPGRADE);
        assert_eq!(encoded_token(&plain), None, "only a WebSocket's client has no other way");
    }

    #[test]
    fn what_asks_for_a_websocket() {
        assert!(is_asked_for(&offering(&[])));
        let mut spdy = offering(&[]);
        spdy.insert(UPGRADE, HeaderValue::from_static("SPDY/3.1"));
        assert!(!is_asked_for(&spdy) && !is_asked_for(&HeaderMap::new()));
    }
}
