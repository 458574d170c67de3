//! The node's part: bridge, forwarding, rules; the check that nobody else uses the range; removing it all.

use std::fs;
use std::io;
use std::path::Path;

use crate::link::{self, Link};
use crate::netlink::Socket;
use crate::rules::{self, HostPorts};
use crate::{ClusterId, Ipv4Cidr, MacAddress, NetworkConfig, NetworkError, netns, senders};

/// The MTU where the machine has no default route to take it from.
const MTU_DEFAULT: u32 = 1500;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Bridge {
    pub(crate) index: u32,
    pub(crate) mtu: u32,
}

pub(crate) fn netlink_error(action: impl Into<String>) -> impl FnOnce(io::Error) -> NetworkError {
    move |source| NetworkError::Netlink { action: action.into(), source }
}

/// A socket for links, addresses and routes.
pub(crate) fn route_socket() -> Result<Socket, NetworkError> {
    Socket::route().map_err(netlink_error("open a route netlink socket"))
}

/// A socket for rules.
pub(crate) fn netfilter_socket() -> Result<Socket, NetworkError> {
    Socket::netfilter().map_err(netlink_error("open a netfilter netlink socket"))
}

/// Refuses a range that a network of `cluster_id` (`None`: of a new cluster) could not have on this machine. Changes
/// nothing.
///
/// Fails with [`NetworkError::CidrClash`] when the range overlaps an address or route of somebody else.
pub fn check_pod_cidr(pod_cidr: Ipv4Cidr, cluster_id: Option<&ClusterId>) -> Result<(), NetworkError> {
    pod_cidr.check_size()?;
    check_clash(&route_socket()?, pod_cidr, cluster_id.map(ClusterId::bridge).as_deref())
}

/// Refuses a range that overlaps an address or route of anybody but our own bridge. The default route is nobody's.
pub(crate) fn check_clash(
    socket: &Socket,
    pod_cidr: Ipv4Cidr,
    bridge: Option<&str>,
) -> Result<(), NetworkError> {
    let links = link::list(socket).map_err(netlink_error("list links"))?;
    let ours = links.iter().find(|link| Some(link.name.as_str()) == bridge).map(|link| link.index);
    let name = |index: u32| {
        links.iter().find(|link| link.index == index).map_or("an unknown link", |link| &link.name)
    };
    let clash = |other: Ipv4Cidr, owner: String| NetworkError::CidrClash { pod_cidr, other, owner };

    for (index, address, prefix_len) in link::addresses(socket).map_err(netlink_error("list addresses"))? {
        let other = Ipv4Cidr::containing(address, prefix_len.min(32));
        if Some(index) != ours && other.overlaps(&pod_cidr) {
            return Err(clash(other, format!("link {}", name(index))));
        }
    }
    for route in link::routes(socket).map_err(netlink_error("list routes"))? {
        let foreign = route.link_index.is_none() || route.link_index != ours;
        if foreign && route.destination.prefix_len() > 0 && route.destination.overlaps(&pod_cidr) {
            let through = route.link_index.map_or("nowhere", name);
            return Err(clash(route.destination, format!("the route through {through}")));
        }
    }
    Ok(())
}

/// Makes the bridge as it should be, from nothing or from what an earlier process left.
pub(crate) fn set_up_bridge(socket: &Socket, config: &NetworkConfig) -> Result<Bridge, NetworkError> {
    let name = config.bridge();
    let mtu = uplink_mtu(socket)?;
    let found =
        |socket| link::by_name(socket, &name).map_err(netlink_error(format!("look up bridge {name}")));
    let bridge: Link = match found(socket)? {
        Some(bridge) => bridge,
        None => {
            let create = link::create_bridge(socket, &name, MacAddress::of(config.gateway()), mtu);
            create.map_err(netlink_error(format!("create bridge {name}")))?;
            found(socket)?
                .ok_or_else(|| netlink_error(format!("find bridge {name}"))(io::ErrorKind::NotFound.into()))?
        }
    };
    set_addresses(socket, config, bridge.index)?;
    link::set_up(socket, bridge.index).map_err(netlink_error(format!("bring bridge {name} up")))?;
    sysctl("net/ipv4/ip_forward", "1")?;
    // Lets 127.0.0.1:<host port> reach a pod; the rules' guard chain keeps pods from the node's 127.0.0.0/8.
    sysctl(&format!("net/ipv4/conf/{name}/route_localnet"), "1")?;
    let accept_ra = format!("net/ipv6/conf/{name}/accept_ra");
    if Path::new("/proc/sys").join(&accept_ra).exists() {
        // A pod must not become the node's IPv6 router (CVE-2020-10749).
        sysctl(&accept_ra, "0")?;
    }
    Ok(Bridge { index: bridge.index, mtu })
}

/// Gives the bridge the gateway's address, and only that.
fn set_addresses(socket: &Socket, config: &NetworkConfig, index: u32) -> Result<(), NetworkError> {
    let (gateway, prefix_len) = (config.gateway(), config.pod_cidr.prefix_len());
    let name = config.bridge();
    for (link_index, address, length) in link::addresses(socket).map_err(netlink_error("list addresses"))? {
        if link_index == index && (address, length) != (gateway, prefix_len) {
            let removed = link::remove_address(socket, index, address, length);
            removed.map_err(netlink_error(format!("remove address {address} of bridge {name}")))?;
        }
    }
    let added = link::add_address(socket, index, gateway, prefix_len);
    added.map_err(netlink_error(format!("give bridge {name} the address {gateway}/{prefix_len}")))
}

/// Pods must not send packets that the way out cannot carry.
fn uplink_mtu(socket: &Socket) -> Result<u32, NetworkError> {
    let routes = link::routes(socket).map_err(netlink_error("list routes"))?;
    let default =
        routes.iter().find(|route| route.destination.prefix_len() == 0).and_then(|route| route.link_index);
    let links = link::list(socket).map_err(netlink_error("list links"))?;
    Ok(links.iter().find(|link| Some(link.index) == default).map_or(MTU_DEFAULT, |link| link.mtu))
}

fn sysctl(name: &str, value: &str) -> Result<(), NetworkError> {
    let path = Path::new("/proc/sys").join(name);
    fs::write(&path, value).map_err(NetworkError::io("write", path))
}

/// Installs the rules, keeping the host ports in `ports`.
pub(crate) fn install_rules(config: &NetworkConfig, ports: &HostPorts) -> Result<(), NetworkError> {
    let socket = netfilter_socket()?;
    let table = config.table();
    rules::install(&socket, config, ports)
        .map_err(netlink_error(format!("install nftables table ip {table}")))?;
    let passed = rules::pass_foreign_firewall(&socket, config);
    if passed.map_err(netlink_error("let pods pass the chain ip filter FORWARD"))? {
        tracing::info!(
            table,
            "the chain ip filter FORWARD drops by default (Docker does that): added rules for pods"
        );
    }
    Ok(())
}

/// Removes everything this configuration's network made: links, namespaces, mounts, rules, the bridge and its files.
/// Works without (and after) a [`crate::Network`], and when parts are missing already. Leaves `ip_forward` on.
pub fn destroy(config: &NetworkConfig) -> Result<(), NetworkError> {
    let netfilter = netfilter_socket()?;
    let removed = rules::remove(&netfilter, config);
    removed.map_err(netlink_error(format!("delete nftables table ip {}", config.table())))?;
    let removed = senders::remove(&netfilter, config);
    removed.map_err(netlink_error(format!("delete nftables table netdev {}", config.table())))?;
    rules::withdraw_from_foreign_firewall(&netfilter, config)
        .map_err(netlink_error("delete Berth's rules in ip filter FORWARD"))?;

    let netns_dir = config.netns_dir();
    for path in files(&netns_dir)? {
        netns::unpin(&path).map_err(NetworkError::io("unmount", path))?;
    }
    let socket = route_socket()?;
    let links = link::list(&socket).map_err(netlink_error("list links"))?;
    for link in links.iter().filter(|link| config.is_link(&link.name) || link.name == config.bridge()) {
        link::delete(&socket, &link.name).map_err(netlink_error(format!("delete link {}", link.name)))?;
    }
    for dir in [netns_dir, config.data_dir.join("network")] {
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(NetworkError::io("remove", dir)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The entries of a directory; a missing one has none.
pub(crate) fn files(dir: &Path) -> Result<Vec<std::path::PathBuf>, NetworkError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.map_err(NetworkError::io("read", dir))?,
    };
    entries.map(|entry| entry.map(|e| e.path()).map_err(NetworkError::io("read", dir))).collect()
}
