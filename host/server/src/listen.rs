//! The network side: accept, TLS, HTTP/1.1 and HTTP/2 with upgrades.

mod activity;
mod slots;

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use berth_client::{Body, BoxError};
use berth_pipeline::Identity;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::authentication::{Caller, of_certificate};
use crate::fairness::Level;
use crate::held::{self, Bag, HeldStream};
use crate::peer::Peer;
use crate::pki::{Names, Pki, PkiError};
use crate::server::Server;
use activity::Activity;
use slots::{Slot, Slots};

/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to send a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How large a request's head may be: the API server's limit is 1 MiB, but no client sends more than some kilobytes.
const HEADER_BYTES_MAX: u32 = 64 * 1024;
/// Requests at a time on one HTTP/2 connection, watches included. Streams that a client opens and resets at once are
/// bounded by the protocol's library (20 that nobody took yet, 1024 that were refused): beyond, the connection ends.
const STREAMS_MAX: u32 = 250;
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
        let slots = Slots::default();
        let (alive, mut all_gone) = mpsc::channel(1);
        let mut renewal = tokio::time::interval(RENEWAL_INTERVAL);
        renewal.tick().await; // the first is at once
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
                _ = renewal.tick() => {
                    if let Err(error) = tls.renew(&pki, self.inner.cluster.now()) {
                        tracing::error!(%error, "the server's certificate was not renewed");
                    }
                    continue;
                }
            };
            match accepted {
                Ok((tcp, peer)) => {
                    let Some(slot) = slots.take(peer.ip()) else {
                        tracing::debug!(%peer, "a connection too many was not taken");
                        continue;
                    };
                    let connection = Connection {
                        server: self.clone(),
                        acceptor: acceptor.clone(),
                        stop: stop.clone(),
                        _alive: alive.clone(),
                    };
                    tokio::spawn(connection.serve(tcp, slot, peer.ip()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        self.set_stopping();
        drop((listener, alive));
        // Whoever is still there after this follows a log or holds a session.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, all_gone.recv()).await;
    }
}

struct Connection {
    server: Server,
    acceptor: TlsAcceptor,
    stop: watch::Receiver<bool>,
    /// Gone when the connection is.
    _alive: mpsc::Sender<()>,
}

impl Connection {
    async fn serve(self, tcp: TcpStream, slot: Slot, address: IpAddr) {
        if let Err(error) = self.exchange(tcp, slot).await {
            tracing::debug!(error, %address, "a connection ended");
        }
    }

    async fn exchange(mut self, tcp: TcpStream, slot: Slot) -> Result<(), BoxError> {
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(Peer::new(tcp)?)).await;
        let stream = handshake.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let certificates = stream.get_ref().1.peer_certificates();
        let identity = certificates.and_then(|chain| chain.first()).and_then(of_certificate);
        if slot.is_reserved && Level::of(identity.as_deref()) != Level::System {
            return Err("the last connections are for administrators".into());
        }
        let (activity, bag) = (Activity::new(), Bag::default());
        bag.put(slot);
        let stream = TokioIo::new(HeldStream::new(stream, bag.clone()));
        let (router, requests) = (router(self.server, identity), activity.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let ongoing = requests.begin();
            request.extensions_mut().insert(bag.clone());
            let answered = router.clone().oneshot(request.map(axum::body::Body::new));
            async move {
                answered.await.map(|response| response.map(|body| held::with_body(boxed(body), ongoing)))
            }
        });
        let builder = builder();
        let mut connection = pin!(builder.serve_connection_with_upgrades(stream, service));
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = activity.idle() => {}
            _ = self.stop.wait_for(|stop| *stop) => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = activity.done() => Ok(()),
        }
    }
}

/// What a connection's requests go to. All paths lead to one machine: which kinds there are is data, not routes.
fn router(server: Server, identity: Option<Arc<Identity>>) -> Router {
    Router::new().fallback(answer).with_state((server, Caller::Network(identity)))
}

async fn answer(
    State((server, caller)): State<(Server, Caller)>,
    request: axum::extract::Request,
) -> Response<axum::body::Body> {
    server.handle(request.map(boxed), caller).await.map(axum::body::Body::new)
}

fn boxed(body: axum::body::Body) -> Body {
    body.map_err(BoxError::from).boxed_unsync()
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
