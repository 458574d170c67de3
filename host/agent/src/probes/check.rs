//! One look of a probe, or one run of a hook.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use berth_runtime::PodHandle;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::pod::{Container, Handler, HttpGet};
use crate::process;

/// Bytes of an HTTP answer that are looked at: the status line, and the beginning of the body for the event.
const ANSWER_BYTES_MAX: usize = 10 << 10;

/// Where and how to look.
pub(crate) struct HttpTarget {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl HttpTarget {
    /// # Errors
    /// When the probe names a port the container does not have, or a scheme that is not supported.
    pub(crate) fn of(get: &HttpGet, container: &Container, ip: IpAddr) -> Result<HttpTarget, String> {
        if get.scheme == "HTTPS" {
            return Err("probes by HTTPS are not supported on this node".to_owned());
        }
        let port =
            container.port(&get.port).ok_or_else(|| format!("couldn't extract port: {:?}", get.port))?;
        let ip = if get.host.is_empty() {
            ip
        } else {
            get.host.parse().map_err(|_| format!("host {:?} is no address", get.host))?
        };
        let headers =
            get.http_headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect();
        let path = if get.path.starts_with('/') { get.path.clone() } else { format!("/{}", get.path) };
        Ok(HttpTarget { address: SocketAddr::new(ip, port), path, headers })
    }
}

/// Looks once; the error is what the event says.
pub(crate) async fn check(
    handler: &Handler,
    container: &Container,
    container_id: &str,
    handle: &PodHandle,
    ip: IpAddr,
    timeout: Duration,
) -> Result<(), String> {
    if let Some(exec) = &handler.exec {
        let output = process::output(handle, container_id, &exec.command, timeout).await?;
        return if output.code == 0 { Ok(()) } else { Err(output.text) };
    }
    if let Some(get) = &handler.http_get {
        let target = HttpTarget::of(get, container, ip)?;
        return http_get(&target, timeout).await;
    }
    if let Some(socket) = &handler.tcp_socket {
        let port = container
            .port(&socket.port)
            .ok_or_else(|| format!("couldn't extract port: {:?}", socket.port))?;
        let ip = if socket.host.is_empty() {
            ip
        } else {
            socket.host.parse().map_err(|_| format!("host {:?} is no address", socket.host))?
        };
        let address = SocketAddr::new(ip, port);
        return match tokio::time::timeout(timeout, TcpStream::connect(address)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("dial tcp {address}: connect: {error}")),
            Err(_) => Err(format!("dial tcp {address}: i/o timeout")),
        };
    }
    Err("probes of this type are not supported on this node".to_owned())
}

/// Asks for a page; fine is every code from 200 to 399.
pub(crate) async fn http_get(target: &HttpTarget, timeout: Duration) -> Result<(), String> {
    let url = format!("http://{}{}", target.address, target.path);
    match tokio::time::timeout(timeout, exchange(target)).await {
        Err(_) => Err(format!(
            "Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        )),
        Ok(Err(error)) => Err(format!("Get \"{url}\": {error}")),
        Ok(Ok(answer)) => match status_code(&answer) {
            Some(200..=399) => Ok(()),
            Some(code) => Err(format!("HTTP probe failed with statuscode: {code}")),
            None => Err(format!(
                "Get \"{url}\": net/http: HTTP/1.x transport connection broken: malformed HTTP response"
            )),
        },
    }
}

async fn exchange(target: &HttpTarget) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(target.address).await?;
    let named = |name: &str| target.headers.iter().any(|(header, _)| header.eq_ignore_ascii_case(name));
    let mut request = format!("GET {} HTTP/1.1\r\nConnection: close\r\n", target.path);
    if !named("host") {
        request.push_str(&format!("Host: {}\r\n", target.address));
    }
    if !named("user-agent") {
        request.push_str("User-Agent: kube-probe/1.34\r\n");
    }
    if !named("accept") {
        request.push_str("Accept: */*\r\n");
    }
    for (name, value) in &target.headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while answer.len() < ANSWER_BYTES_MAX && status_code(&answer).is_none() {
        match stream.read(&mut buffer).await? {
            0 => break,
            count => answer.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(answer)
}

/// The code of a status line, once it is complete.
fn status_code(answer: &[u8]) -> Option<u16> {
    let end = answer.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&answer[..end]).ok()?;
    let mut words = line.split_whitespace();
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn ask(answer: &'static str) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 1024];
            let count = stream.read(&mut buffer).await.unwrap();
            assert!(buffer[..count].starts_with(b"GET /x HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        http_get(&HttpTarget { address, path: "/x".to_owned(), headers: vec![] }, Duration::from_secs(5))
            .await
    }

    #[tokio::test]
    async fn codes_from_200_to_399_are_fine() {
        assert_eq!(ask("HTTP/1.1 204 No Content\r\n\r\n").await, Ok(()));
        assert_eq!(ask("HTTP/1.0 302 Found\r\n\r\n").await, Ok(()));
        let error = ask("HTTP/1.1 503 Service Unavailable\r\n\r\n").await.unwrap_err();
        assert_eq!(error, "HTTP probe failed with statuscode: 503");
        assert!(ask("hello\r\n").await.unwrap_err().contains("malformed HTTP response"));
    }
}
