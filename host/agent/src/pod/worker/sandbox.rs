//! Making and removing what a pod's containers share.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use berth_network::{HostPort, Protocol};
use berth_runtime::{IpcNamespace, NetworkNamespace, PidNamespace, PodHandle, PodSandboxSpec};

use crate::config::Layout;
use crate::container::etc::{self, EtcFiles, Notice};
use crate::container::resources;
use crate::container::volumes;
use crate::manifest::{Pod, Port};
use crate::node::Node;
use crate::node::events::Severity;
use crate::process::blocking;
use crate::sysctl::dotted;

/// The sandbox and the pod's own address, if it has one.
pub(super) type Made = Result<(PodHandle, Option<Ipv4Addr>), String>;

/// Attaches the network and starts the shim, both at the same time.
pub(super) async fn make(node: &Arc<Node>, pod: &Arc<Pod>) -> Made {
    let network = {
        let (node, pod) = (Arc::clone(node), Arc::clone(pod));
        blocking(move || attach(&node, &pod))
    };
    let shim = {
        let (node, pod) = (Arc::clone(node), Arc::clone(pod));
        blocking(move || node.runtime.create_pod(&spec(&node, &pod)))
    };
    let (network, shim) = tokio::join!(network, shim);
    let network = network.map_err(|error| error.to_string()).and_then(|attached| attached);
    let shim = shim.and_then(|made| made).map_err(|error| error.to_string());
    match (network, shim) {
        (Ok(ip), Ok(handle)) => Ok((handle, ip)),
        (network, shim) => {
            // Whatever there is of it goes: the next attempt starts clean.
            let message = network.err().or(shim.as_ref().err().cloned()).unwrap_or_default();
            remove(node, pod, shim.ok())
                .await
                .map_err(|error| format!("{message}; and it could not be undone: {error}"))?;
            Err(message)
        }
    }
}

/// Connects the pod, and writes the files that name its address.
fn attach(node: &Node, pod: &Pod) -> Result<Option<Ipv4Addr>, String> {
    let ip = if pod.spec.host_network {
        None
    } else {
        let network = node.network.attach(pod.uid()).map_err(|error| error.to_string())?;
        publish(node, pod)?;
        Some(network.ip)
    };
    let files = EtcFiles::of(&node.layout.pod(pod.uid()));
    let address = ip.map_or(node.machine.ip, Into::into);
    let notices = files
        .write(pod, Some(address))
        .map_err(|error| format!("write {}: {error}", files.hosts.display()))?;
    for Notice { reason, message } in notices {
        node.events.pod(pod, Severity::Warning, reason, message);
    }
    Ok(ip)
}

/// Makes the node's ports that the pod asks for lead to it.
pub(super) fn publish(node: &Node, pod: &Pod) -> Result<(), String> {
    let ports = host_ports(pod)?;
    // A pod in the node's network has them by itself.
    if ports.is_empty() || pod.spec.host_network {
        return Ok(());
    }
    node.network.set_host_ports(pod.uid(), &ports).map_err(|error| error.to_string())
}

fn host_ports(pod: &Pod) -> Result<Vec<HostPort>, String> {
    let ports = pod.containers().flat_map(|container| &container.ports).filter(|port| port.host_port != 0);
    ports.map(host_port).collect()
}

fn host_port(port: &Port) -> Result<HostPort, String> {
    let address = match port.host_ip.as_str() {
        "" => None,
        text => Some(text.parse::<Ipv4Addr>().map_err(|_| {
            format!(
                "hostPort {}: hostIP {text:?} is no IPv4 address, and this node has no others",
                port.host_port
            )
        })?),
    };
    Ok(HostPort {
        protocol: match port.protocol.as_str() {
            "UDP" => Protocol::Udp,
            "SCTP" => Protocol::Sctp,
            _ => Protocol::Tcp,
        },
        address: address.filter(|address| !address.is_unspecified()),
        host_port: port.host_port,
        pod_port: port.container_port,
    })
}

fn spec(node: &Node, pod: &Pod) -> PodSandboxSpec {
    let network = match pod.spec.host_network {
        true => NetworkNamespace::Host,
        false => NetworkNamespace::Path(node.layout.netns(pod.uid())),
    };
    let mut spec = PodSandboxSpec::new(pod.uid(), network);
    spec.hostname = etc::hostname(pod);
    spec.pid = match (pod.spec.host_pid, pod.spec.share_process_namespace) {
        (true, _) => PidNamespace::Host,
        (false, true) => PidNamespace::Pod,
        (false, false) => PidNamespace::Container,
    };
    spec.ipc = if pod.spec.host_ipc { IpcNamespace::Host } else { IpcNamespace::Pod };
    let sysctls = &pod.spec.security_context.sysctls;
    spec.sysctls = sysctls.iter().map(|sysctl| (dotted(&sysctl.name), sysctl.value.clone())).collect();
    spec.resources = resources::of_pod(pod, node.config.pod_pids_max);
    spec
}

/// Ends what is left of the pod's processes and takes its network away. Doing it twice is safe.
pub(super) async fn remove(
    node: &Arc<Node>,
    pod: &Arc<Pod>,
    handle: Option<PodHandle>,
) -> Result<(), String> {
    let (node, uid) = (Arc::clone(node), pod.uid().to_owned());
    let removed = blocking(move || {
        // A shim may be there although nobody holds its handle: after a crash between making it and noting it.
        match handle.map_or_else(|| node.runtime.pod(&uid), Ok) {
            Ok(handle) => handle.remove().map_err(|error| error.to_string())?,
            Err(berth_runtime::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.to_string()),
        }
        node.network.detach(&uid).map_err(|error| error.to_string())
    });
    removed.await.map_err(|error| error.to_string())?
}

/// Removes a pod's volumes; its logs stay.
pub(super) fn remove_volumes(layout: &Layout, uid: &str) -> Result<(), String> {
    let disk = layout.pod(uid).join("volumes");
    volumes::unmount(&disk).map_err(|error| format!("unmount below {}: {error}", disk.display()))?;
    remove_all(&[disk, layout.memory().join(uid)])
}

/// Removes a pod's volumes, directories and logs.
pub(crate) fn remove_files(layout: &Layout, uid: &str, logs: &Path) -> Result<(), String> {
    let directory = layout.pod(uid);
    volumes::unmount(&directory)
        .map_err(|error| format!("unmount below {}: {error}", directory.display()))?;
    remove_all(&[directory, layout.memory().join(uid), logs.to_owned()])
}

/// Removes directories; those that are not there are no error.
fn remove_all(directories: &[PathBuf]) -> Result<(), String> {
    for path in directories {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(format!("remove {}: {error}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_ports_are_on_the_address_that_is_named() {
        let of = |host_ip: &str| {
            let port =
                Port { host_port: 80, container_port: 8080, host_ip: host_ip.into(), ..Port::default() };
            host_port(&port).map(|port| port.address)
        };
        assert_eq!(of(""), Ok(None));
        assert_eq!(of("0.0.0.0"), Ok(None));
        assert_eq!(of("192.0.2.7"), Ok(Some([192, 0, 2, 7].into())));
        let refused = of("::1").unwrap_err();
        assert_eq!(refused, "hostPort 80: hostIP \"::1\" is no IPv4 address, and this node has no others");
    }
}
