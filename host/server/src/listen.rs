//! The network side: accept, TLS, HTTP/1.1 and HTTP/2 with upgrades.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use berth_client::{Body, BoxError};
use berth_pipeline::Identity;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::authentication::{Caller, of_certificate};
use crate::peer::Peer;
use crate::pki::{Names, Pki, PkiError};
use crate::server::Server;

/// Connections at a time: each costs some 50 KiB, and every node and every watching client needs one.
const CONNECTIONS_MAX: usize = 10_000;
/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to send a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How large a request's head may be: the API server's limit is 1 MiB, but no client sends more than some kilobytes.
const HEADER_BYTES_MAX: u32 = 64 * 1024;
/// Requests at a time on one HTTP/2 connection, watches included.
const STREAMS_MAX: u32 = 1000;
/// How often an idle HTTP/2 client is asked whether it is still there, and how long it may take to answer.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));
/// How long requests in flight get to finish at the end. Watches end at once, sessions and followed logs are cut.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to wait when the system has no file descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often the server looks whether its certificate is about to expire.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(12 * 3600);

/// What a listener needs for TLS.
pub struct Tls {
    config: Arc<ServerConfig>,
    certificate: Arc<Certificate>,
    names: Names,
}

/// The server's certificate of the moment.
#[derive(Debug)]
struct Certificate(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Tls {
    /// TLS for a server that goes by `names`: clients may show a certificate of this authority, or none.
    ///
    /// # Errors
    /// When the server's certificate cannot be made.
    pub fn new(pki: &Pki, names: Names, now: berth_api::Timestamp) -> Result<Self, PkiError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(pki.ca_der()?)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let certificate = Arc::new(Certificate(RwLock::new(pki.server_certificate(&names, now)?)));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(certificate.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), certificate, names })
    }

    fn renew(&self, pki: &Pki, now: berth_api::Timestamp) -> Result<(), PkiError> {
        let fresh = pki.server_certificate(&self.names, now)?;
        *self.certificate.0.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }
}

impl Server {
    /// Serves connections until `stop` says true or its sender is gone; then lets requests finish for a moment.
    pub async fn serve(
        self,
        listener: TcpListener,
        tls: Tls,
        pki: Arc<Pki>,
        mut stop: watch::Receiver<bool>,
    ) {
        let acceptor = TlsAcceptor::from(tls.config.clone());
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let graceful = GracefulShutdown::new();
        let mut renewal = tokio::time::interval(RENEWAL_INTERVAL);
        renewal.tick().await; // the first is at once
        loop {
            let free = async {
                let permit = connections.clone().acquire_owned().await;
                (permit, listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                accepted = free => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
                _ = renewal.tick() => {
                    if let Err(error) = tls.renew(&pki, self.inner.cluster.now()) {
                        tracing::error!(%error, "the server's certificate was not renewed");
                    }
                    continue;
                }
            };
            match accepted {
                Ok((tcp, _)) => {
                    let connection = Connection {
                        server: self.clone(),
                        acceptor: acceptor.clone(),
                        watcher: graceful.watcher(),
                    };
                    tokio::spawn(async move {
                        connection.serve(tcp).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        self.set_stopping();
        drop(listener);
        // Whoever is still there after this follows a log or holds a session.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await;
    }
}

struct Connection {
    server: Server,
    acceptor: TlsAcceptor,
    watcher: hyper_util::server::graceful::Watcher,
}

impl Connection {
    async fn serve(self, tcp: TcpStream) {
        if let Err(error) = self.exchange(tcp).await {
            tracing::debug!(error, "a connection ended");
        }
    }

    async fn exchange(self, tcp: TcpStream) -> Result<(), BoxError> {
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(Peer::new(tcp)?)).await;
        let stream = handshake.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let certificates = stream.get_ref().1.peer_certificates();
        let identity = certificates.and_then(|chain| chain.first()).and_then(of_certificate);
        let server = self.server;
        let service = service_fn(move |request| answer(server.clone(), request, identity.clone()));
        let builder = builder();
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        self.watcher.watch(connection.into_owned()).await
    }
}

async fn answer(
    server: Server,
    request: Request<Incoming>,
    identity: Option<Arc<Identity>>,
) -> Result<Response<Body>, Infallible> {
    let request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
    Ok(server.handle(request, Caller::Network(identity)).await)
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    builder
}
