//! Asking for a page, as a probe or a hook does: whatever the certificate says, and no further than the same host.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use berth_api::version::PROBE_USER_AGENT;
use bytes::Bytes;
use http::header::{ACCEPT, HOST, LOCATION, USER_AGENT};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::unverified::UNVERIFIED;
use crate::manifest::{Container, HttpGet};

/// Bytes of an answer's body that are read: the kubelet's limit.
const BODY_BYTES_MAX: usize = 10 << 10;
/// Redirections that are followed: the kubelet's limit.
const REDIRECTIONS_MAX: usize = 10;

/// Where and how to look.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HttpTarget {
    tls: Tls,
    /// An address or a name; of IPv6 addresses without brackets.
    host: String,
    port: u16,
    path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tls {
    None,
    Unverified,
}

/// Where a redirection leads.
#[derive(Debug, PartialEq)]
enum Redirection {
    To(Box<HttpTarget>),
    /// To another host: the kubelet does not go there.
    Elsewhere,
}

impl HttpTarget {
    /// # Errors
    /// When the probe names a port the container does not have, or a header that cannot be sent.
    pub(crate) fn of(get: &HttpGet, container: &Container, ip: IpAddr) -> Result<HttpTarget, String> {
        let port =
            container.port(&get.port).ok_or_else(|| format!("couldn't extract port: {:?}", get.port))?;
        let mut headers = Vec::new();
        for header in &get.http_headers {
            let name = header.name.parse().map_err(|_| format!("header {:?} cannot be sent", header.name))?;
            let value = HeaderValue::from_str(&header.value)
                .map_err(|_| format!("the value of header {:?} cannot be sent", header.name))?;
            headers.push((name, value));
        }
        Ok(HttpTarget {
            tls: if get.scheme == "HTTPS" { Tls::Unverified } else { Tls::None },
            host: if get.host.is_empty() { ip.to_string() } else { get.host.clone() },
            port,
            path: if get.path.starts_with('/') { get.path.clone() } else { format!("/{}", get.path) },
            headers,
        })
    }

    /// A page of a pod, without TLS.
    pub(crate) fn plain(
        ip: IpAddr,
        port: u16,
        path: &str,
        headers: Vec<(HeaderName, HeaderValue)>,
    ) -> HttpTarget {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        HttpTarget { tls: Tls::None, host: ip.to_string(), port, path, headers }
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    fn scheme(&self) -> &'static str {
        match self.tls {
            Tls::None => "http",
            Tls::Unverified => "https",
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}{}", self.scheme(), self.authority(), self.path)
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, String> {
        let mut request =
            Request::get(&self.path).body(Empty::new()).map_err(|error| format!("invalid path: {error}"))?;
        let headers = request.headers_mut();
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        let authority = HeaderValue::from_str(&self.authority()).map_err(|error| error.to_string())?;
        headers.entry(HOST).or_insert(authority);
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(PROBE_USER_AGENT));
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        Ok(request)
    }

    /// A `Location` with at least a path from the root: RFC 3986 lets it be relative to the page.
    fn absolute(&self, location: &str) -> String {
        let path = self.path.split(['?', '#']).next().unwrap_or_default();
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        match location {
            _ if location.starts_with("//") => format!("{}:{location}", self.scheme()),
            _ if location.starts_with('/') || location.contains("://") => location.to_owned(),
            _ => format!("{directory}/{location}"),
        }
    }

    /// What a `Location` means from here.
    fn follow(&self, location: &str) -> Result<Redirection, String> {
        let location = self.absolute(location);
        let uri: Uri = location
            .parse()
            .map_err(|error| format!("failed to parse Location header {location:?}: {error}"))?;
        let tls = match uri.scheme_str() {
            None => self.tls,
            Some("http") => Tls::None,
            Some("https") => Tls::Unverified,
            Some(other) => return Err(format!("unsupported protocol scheme {other:?}")),
        };
        let host = uri.host().map(|host| host.trim_matches(['[', ']']));
        if host.is_some_and(|host| host != self.host) {
            return Ok(Redirection::Elsewhere);
        }
        let port_of_scheme = if tls == Tls::None { 80 } else { 443 };
        let port = if host.is_some() { uri.port_u16().unwrap_or(port_of_scheme) } else { self.port };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Redirection::To(Box::new(HttpTarget { tls, port, path, ..self.clone() })))
    }
}

/// It went well, but not quite as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning(pub(crate) String);

/// Asks for a page; fine is every code from 200 to 399.
pub(crate) async fn http_get(target: &HttpTarget, timeout: Duration) -> Result<Option<Warning>, String> {
    let url = target.url();
    match tokio::time::timeout(timeout, ask(target)).await {
        Err(_) => Err(format!(
            "Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        )),
        Ok(Err(error)) => Err(format!("Get \"{url}\": {error}")),
        Ok(Ok((status, body))) => match status.as_u16() {
            200..=299 => Ok(None),
            300..=399 => Ok(Some(Warning(format!("Probe terminated redirects, Response body: {body}")))),
            code => Err(format!("HTTP probe failed with statuscode: {code}")),
        },
    }
}

async fn ask(target: &HttpTarget) -> Result<(StatusCode, String), String> {
    let mut target = target.clone();
    for _ in 0..REDIRECTIONS_MAX {
        let response = exchange(&target).await?;
        let status = response.status();
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok((status, body(response).await?));
        }
        let Some(location) = response.headers().get(LOCATION) else {
            return Err(format!("{} response missing Location header", status.as_u16()));
        };
        let location = location.to_str().map_err(|error| error.to_string())?.to_owned();
        match target.follow(&location)? {
            Redirection::To(next) => target = *next,
            Redirection::Elsewhere => return Ok((status, body(response).await?)),
        }
    }
    Err(format!("stopped after {REDIRECTIONS_MAX} redirects"))
}

/// Asks for a page; redirections are the caller's.
pub(crate) async fn exchange(target: &HttpTarget) -> Result<Response<Incoming>, String> {
    let request = target.request()?;
    let stream = dial(&target.host, target.port).await?;
    match target.tls {
        Tls::None => send(stream, request).await,
        Tls::Unverified => {
            let name = ServerName::try_from(target.host.clone()).map_err(|error| error.to_string())?;
            let stream = TlsConnector::from(Arc::clone(&UNVERIFIED)).connect(name, stream).await;
            send(stream.map_err(|error| format!("tls: {error}"))?, request).await
        }
    }
}

/// Connects; the error is in the words of Go's network package, which users of probes know.
pub(super) async fn dial(host: &str, port: u16) -> Result<TcpStream, String> {
    TcpStream::connect((host, port)).await.map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
            io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
            io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
            _ => error.to_string(),
        };
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        format!("dial tcp {host}:{port}: {why}")
    })
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, String> {
    let handshake = hyper::client::conn::http1::Builder::new()
        .title_case_headers(true)
        .handshake(TokioIo::new(stream))
        .await;
    let (mut sender, connection) = handshake.map_err(|error| error_text(&error))?;
    // It ends when the answer, or whoever waits for it, is dropped.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(|error| error_text(&error))
}

fn error_text(error: &hyper::Error) -> String {
    if error.is_parse() {
        return "net/http: HTTP/1.x transport connection broken: malformed HTTP response".to_owned();
    }
    if error.is_incomplete_message() { "EOF".to_owned() } else { error.to_string() }
}

/// The beginning of the body.
async fn body(response: Response<Incoming>) -> Result<String, String> {
    let mut body = response.into_body();
    let mut kept = Vec::new();
    while kept.len() < BODY_BYTES_MAX
        && let Some(frame) = body.frame().await
    {
        if let Ok(data) = frame.map_err(|error| error_text(&error))?.into_data() {
            kept.extend_from_slice(&data[..data.len().min(BODY_BYTES_MAX - kept.len())]);
        }
    }
    Ok(String::from_utf8_lossy(&kept).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::IntOrString;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const SOON: Duration = Duration::from_secs(5);

    /// Answers one connection after the other; what was asked.
    async fn server(answers: Vec<String>) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                asked.push(request(&mut stream).await);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        });
        (port, task)
    }

    async fn request(stream: &mut (impl AsyncRead + Unpin)) -> String {
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\n") {
            text.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(text).unwrap()
    }

    fn target(port: u16, more: serde_json::Value) -> HttpTarget {
        let mut get: HttpGet = serde_json::from_value(more).unwrap();
        get.port = IntOrString::Int(port.into());
        HttpTarget::of(&get, &Container::default(), [127, 0, 0, 1].into()).unwrap()
    }

    async fn answered(answer: &str) -> Result<Option<Warning>, String> {
        let (port, _asked) = server(vec![answer.to_owned()]).await;
        http_get(&target(port, json!({ "path": "x" })), SOON).await
    }

    #[tokio::test]
    async fn codes_from_200_to_399_are_fine() {
        assert_eq!(answered("HTTP/1.1 204 No Content\r\n\r\n").await, Ok(None));
        let warned = answered("HTTP/1.0 304 Not Modified\r\n\r\n").await.unwrap().unwrap();
        assert_eq!(warned.0, "Probe terminated redirects, Response body: ");
        let error = answered("HTTP/1.1 503 Service Unavailable\r\n\r\n").await.unwrap_err();
        assert_eq!(error, "HTTP probe failed with statuscode: 503");
        assert!(answered("hello\r\n").await.unwrap_err().contains("malformed HTTP response"));
        assert!(answered("").await.unwrap_err().ends_with("/x\": EOF"));
        // Port 1 is nobody's.
        let refused = http_get(&target(1, json!({})), SOON).await.unwrap_err();
        let expected = "Get \"http://127.0.0.1:1/\": dial tcp 127.0.0.1:1: connect: connection refused";
        assert_eq!(refused, expected);
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_is_waited_for_no_longer_than_the_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = target(listener.local_addr().unwrap().port(), json!({}));
        let error = http_get(&target, Duration::from_millis(50)).await.unwrap_err();
        assert!(error.contains("context deadline exceeded"), "{error}");
    }

    #[tokio::test]
    async fn headers_are_sent_as_they_are_given() {
        let (port, asked) = server(vec!["HTTP/1.1 200 OK\r\n\r\n".to_owned()]).await;
        let headers = json!([
            { "name": "Host", "value": "web.example" },
            { "name": "X-Word", "value": "one" }, { "name": "X-Word", "value": "two" },
        ]);
        http_get(&target(port, json!({ "path": "/a?b=c", "httpHeaders": headers })), SOON).await.unwrap();
        let asked = asked.await.unwrap().remove(0);
        assert!(asked.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{asked}");
        for line in ["Host: web.example", "X-Word: one", "X-Word: two", "User-Agent: kube-probe/1.37"] {
            assert!(asked.contains(&format!("\r\n{line}\r\n")), "{line} in {asked}");
        }
        assert_eq!(asked.matches("Host:").count(), 1, "{asked}");
    }

    #[tokio::test]
    async fn redirections_are_followed_on_the_same_host_only() {
        let to = |location: &str| {
            format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 4\r\n\r\nbody")
        };
        let (port, asked) = server(vec![to("/next"), "HTTP/1.1 500 No\r\n\r\n".to_owned()]).await;
        let error = http_get(&target(port, json!({})), SOON).await.unwrap_err();
        assert_eq!(error, "HTTP probe failed with statuscode: 500");
        assert!(asked.await.unwrap()[1].starts_with("GET /next "));

        let (port, _asked) = server(vec![to("http://192.0.2.1/")]).await;
        let warned = http_get(&target(port, json!({})), SOON).await.unwrap().unwrap();
        assert_eq!(warned.0, "Probe terminated redirects, Response body: body");

        let (port, _asked) = server(vec![to("/"); REDIRECTIONS_MAX]).await;
        let error = http_get(&target(port, json!({})), SOON).await.unwrap_err();
        assert!(error.ends_with("stopped after 10 redirects"), "{error}");
    }

    #[test]
    fn a_location_is_read_from_where_it_was_given() {
        let from = target(8080, json!({ "path": "/d/a?x=/y" }));
        let url = |location: &str| match from.follow(location).unwrap() {
            Redirection::To(target) => target.url(),
            Redirection::Elsewhere => "elsewhere".to_owned(),
        };
        assert_eq!(url("/b?c"), "http://127.0.0.1:8080/b?c");
        assert_eq!(url("https://127.0.0.1/b"), "https://127.0.0.1:443/b");
        assert_eq!(url("http://127.0.0.1:81"), "http://127.0.0.1:81/");
        assert_eq!(url("c"), "http://127.0.0.1:8080/d/c");
        assert_eq!(url("//127.0.0.1:82/c"), "http://127.0.0.1:82/c");
        assert_eq!(url("http://other:8080/"), "elsewhere");
        assert!(from.follow("ftp://127.0.0.1/").unwrap_err().contains("unsupported protocol scheme"));
    }

    #[tokio::test]
    async fn a_certificate_of_nobodys_is_as_good_as_any() {
        let made = rcgen::generate_simple_self_signed(["somebody.else".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
            let mut stream = acceptor.accept(stream).await.unwrap();
            assert!(request(&mut stream).await.starts_with("GET /healthz HTTP/1.1\r\n"));
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            stream.shutdown().await.unwrap();
        });
        let target = target(port, json!({ "path": "healthz", "scheme": "HTTPS" }));
        assert_eq!(http_get(&target, SOON).await, Ok(None));
        server.await.unwrap();
    }
}
