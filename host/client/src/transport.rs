//! What carries requests to a server.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::combinators::UnsyncBoxBody;

use crate::ClientError;

/// Any error, as bodies and connections have them.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer; a watch's body goes on until the server ends it.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Carries requests to one server, as one identity.
///
/// Requests have a path and a query only; scheme, authority and credentials are the transport's.
pub trait Transport: Send + Sync + 'static {
    /// Sends a request; resolves with the head of the answer.
    ///
    /// # Errors
    /// Only for answers that never came: a code of 400 or more is a response.
    fn send(&self, request: http::Request<Bytes>)
    -> BoxFuture<'_, Result<http::Response<Body>, ClientError>>;
}
