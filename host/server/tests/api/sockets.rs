//! A WebSocket's client, as kubectl, browsers and attackers are.

use std::sync::Arc;
use std::time::Duration;

use crate::harness::Harness;
use berth_client::Credentials;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// Opens a WebSocket as kubectl does, with HTTP/1.1 and the administrator's certificate; the chosen protocol.
pub(crate) async fn open(harness: &Harness, path: &str, protocols: &str) -> (Socket, String) {
    connect(harness, path, protocols, true).await.unwrap()
}

/// A connection on which nothing was said yet, with the administrator's certificate or without any.
pub(crate) async fn stream(harness: &Harness, is_admin: bool) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&harness.config.authorities_pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let tls = match &harness.config.credentials {
        Credentials::Certificate { certificate_pem, key_pem } if is_admin => tls.with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(certificate_pem).unwrap()],
            PrivateKeyDer::from_pem_slice(key_pem).unwrap(),
        ),
        _ => Ok(tls.with_no_client_auth()),
    };
    let tcp = TcpStream::connect(harness.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(tls.unwrap()));
    connector.connect(name, tcp).await.unwrap()
}

/// Asks for a WebSocket, with the administrator's certificate or without any.
pub(crate) async fn connect(
    harness: &Harness,
    path: &str,
    protocols: &str,
    is_admin: bool,
) -> Result<(Socket, String), Error> {
    let stream = stream(harness, is_admin).await;
    let mut request = format!("wss://{}{path}", harness.address).into_client_request().unwrap();
    if !protocols.is_empty() {
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
    }
    let (socket, response) = tokio_tungstenite::client_async(request, stream).await?;
    let protocol = response.headers().get("sec-websocket-protocol");
    Ok((socket, protocol.map(|name| name.to_str().unwrap().to_owned()).unwrap_or_default()))
}

/// The code of an answer that is no WebSocket.
pub(crate) async fn refusal(harness: &Harness, path: &str, protocols: &str) -> u16 {
    match connect(harness, path, protocols, true).await {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("{other:?}"),
    }
}

/// Waits for a condition.
pub(crate) async fn wait_until(mut condition: impl FnMut() -> bool, what: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "still not so after {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
