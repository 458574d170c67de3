//! HTTPS with rustls: how a client reaches a server in another process.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{AUTHORIZATION, HeaderValue};
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::unusable;
use crate::{Body, BoxError, ClientError, Config, ConfigError, Credentials, Transport};

/// How long connecting may take, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often an HTTP/2 connection is probed, so that a watch on a dead one ends.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// How long a probe may stay unanswered.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Carries requests over HTTPS; keeps connections.
pub struct HttpsTransport {
    client: hyper_util::client::legacy::Client<Connector, Full<Bytes>>,
    authority: Authority,
    bearer: Option<HeaderValue>,
}

/// Which versions of HTTP a transport offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersions {
    /// HTTP/2, and HTTP/1.1 where the server has nothing newer: all requests share a connection.
    Newest,
    /// HTTP/1.1, as most clients that are not written in Go: a connection carries one request at a time.
    Http1,
}

impl HttpsTransport {
    /// A transport to the server of `config`, over HTTP/2 where the server has it.
    ///
    /// # Errors
    /// When the address is not `https://…`, or a certificate or key cannot be used.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        Self::with_versions(config, HttpVersions::Newest)
    }

    /// [`HttpsTransport::new`] with a choice of versions.
    ///
    /// # Errors
    /// As [`HttpsTransport::new`].
    pub fn with_versions(config: &Config, versions: HttpVersions) -> Result<Self, ConfigError> {
        if config.server.scheme() != Some(&Scheme::HTTPS) {
            return Err(unusable("server", format!("{} does not begin with https://", config.server)));
        }
        let Some(authority) = config.server.authority().cloned() else {
            return Err(unusable("server", format!("{} names no host", config.server)));
        };
        let bearer = match &config.credentials {
            Credentials::Token(token) => Some(bearer(token)?),
            Credentials::Anonymous | Credentials::Certificate { .. } => None,
        };
        let connector = Connector { tls: TlsConnector::from(Arc::new(tls_config(config, versions)?)) };
        let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .build(connector);
        Ok(Self { client, authority, bearer })
    }
}

impl Transport for HttpsTransport {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Body>, ClientError>> {
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            let mut uri = head.uri.into_parts();
            uri.scheme = Some(Scheme::HTTPS);
            uri.authority = Some(self.authority.clone());
            head.uri = Uri::from_parts(uri).map_err(http::Error::from)?;
            if let Some(bearer) = &self.bearer {
                head.headers.insert(AUTHORIZATION, bearer.clone());
            }
            let request = Request::from_parts(head, Full::new(body));
            let response = self.client.request(request).await.map_err(|source| ClientError::Unreachable {
                server: self.authority.to_string(),
                source: source.into(),
            })?;
            Ok(response.map(|body| body.map_err(BoxError::from).boxed_unsync()))
        })
    }
}

fn bearer(token: &str) -> Result<HeaderValue, ConfigError> {
    let mut value =
        HeaderValue::from_str(&format!("Bearer {token}")).map_err(|e| unusable("token", e.to_string()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn tls_config(config: &Config, versions: HttpVersions) -> Result<ClientConfig, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("certificate-authority", &config.authorities_pem)? {
        roots.add(certificate).map_err(|e| unusable("certificate-authority", e.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable("server", e.to_string()))?
        .with_root_certificates(roots);
    let mut tls = match &config.credentials {
        Credentials::Anonymous | Credentials::Token(_) => builder.with_no_client_auth(),
        Credentials::Certificate { certificate_pem, key_pem } => {
            let key =
                PrivateKeyDer::from_pem_slice(key_pem).map_err(|e| unusable("client-key", e.to_string()))?;
            builder
                .with_client_auth_cert(certificates("client-certificate", certificate_pem)?, key)
                .map_err(|e| unusable("client-certificate", e.to_string()))?
        }
    };
    let offered: &[&[u8]] = match versions {
        HttpVersions::Newest => &[b"h2", b"http/1.1"],
        HttpVersions::Http1 => &[b"http/1.1"],
    };
    tls.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
    Ok(tls)
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|e: rustls::pki_types::pem::Error| unusable(what, e.to_string()))
}

/// Opens TLS connections.
#[derive(Clone)]
struct Connector {
    tls: TlsConnector,
}

impl tower::Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = self.tls.clone();
        Box::pin(async move { tokio::time::timeout(CONNECT_TIMEOUT, connect(tls, uri)).await? })
    }
}

async fn connect(tls: TlsConnector, uri: Uri) -> Result<Stream, BoxError> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let tcp = TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(443))).await?;
    tcp.set_nodelay(true)?;
    let stream = tls.connect(ServerName::try_from(host)?, tcp).await?;
    Ok(Stream(TokioIo::new(stream)))
}

/// A TLS connection that tells the pool which protocol was agreed on.
struct Stream(TokioIo<TlsStream<TcpStream>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let agreed = self.0.inner().get_ref().1.alpn_protocol();
        if agreed == Some(b"h2") { Connected::new().negotiated_h2() } else { Connected::new() }
    }
}

impl hyper::rt::Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
