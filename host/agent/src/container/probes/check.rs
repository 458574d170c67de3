//! One look of a probe, or one run of a hook.

use std::net::IpAddr;
use std::time::Duration;

use berth_runtime::PodHandle;

use super::grpc;
use super::http::{HttpTarget, Warning, dial, http_get};
use crate::manifest::{Container, Handler, TcpSocket};
use crate::process;

/// Looks once; the error is what the event says.
pub(crate) async fn check(
    handler: &Handler,
    container: &Container,
    container_id: &str,
    handle: &PodHandle,
    ip: IpAddr,
    timeout: Duration,
) -> Result<Option<Warning>, String> {
    if let Some(exec) = &handler.exec {
        let output = process::output(handle, container_id, &exec.command, timeout).await?;
        return if output.code == 0 { Ok(None) } else { Err(output.text) };
    }
    if let Some(get) = &handler.http_get {
        let target = HttpTarget::of(get, container, ip)?;
        return http_get(&target, timeout).await;
    }
    if let Some(socket) = &handler.tcp_socket {
        return tcp_connect(socket, container, ip, timeout).await.map(|()| None);
    }
    if let Some(action) = &handler.grpc {
        return grpc::check(action, ip, timeout).await.map(|()| None);
    }
    Err("probes of this type are not supported on this node".to_owned())
}

async fn tcp_connect(
    socket: &TcpSocket,
    container: &Container,
    ip: IpAddr,
    timeout: Duration,
) -> Result<(), String> {
    let port =
        container.port(&socket.port).ok_or_else(|| format!("couldn't extract port: {:?}", socket.port))?;
    let host = if socket.host.is_empty() { ip.to_string() } else { socket.host.clone() };
    match tokio::time::timeout(timeout, dial(&host, port)).await {
        Ok(connected) => connected.map(drop),
        Err(_) => Err(format!("dial tcp {host}:{port}: i/o timeout")),
    }
}
