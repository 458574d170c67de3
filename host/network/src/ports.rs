//! Ports of the node that lead to pods, each held by a socket that nobody listens on: a rule would take the port from a
//! program of the machine without a word, and so would a program that starts later lose its port to a rule.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
};

use crate::rules::{At, HostPorts};
use crate::worker::Pod;
use crate::{NetworkConfig, NetworkError, Protocol};

/// States of sockets in `/proc/net`: a TCP socket that listens, a UDP socket without a peer.
const LISTENS: &str = "0A";
const UNCONNECTED: &str = "07";

/// A port that belongs to nobody else as long as this lives. Without a socket: the machine does not speak the protocol, or
/// a connection has the port, so that nobody else can have it.
#[derive(Debug)]
pub(crate) struct Held {
    _socket: Option<OwnedFd>,
}

/// Holds the ports that the pod does not have yet.
pub(crate) fn hold_new(
    config: &NetworkConfig,
    pod: &Pod,
    wanted: &HostPorts,
) -> Result<BTreeMap<At, Held>, NetworkError> {
    let mut new = BTreeMap::new();
    // Those of all addresses come first, and hold the port on each.
    for at in wanted.keys() {
        let everywhere = At { address: None, ..*at };
        let holds = |at: &At| pod.held.contains_key(at) || new.contains_key(at);
        if !holds(at) && !holds(&everywhere) {
            new.insert(*at, hold(config, *at)?);
        }
    }
    Ok(new)
}

/// Holds a port.
///
/// # Errors
/// [`NetworkError::HostPortTaken`] when a program of the machine has it.
fn hold(config: &NetworkConfig, at: At) -> Result<Held, NetworkError> {
    let At { address, protocol, port } = at;
    match bound(SocketAddrV4::new(address.unwrap_or(Ipv4Addr::UNSPECIFIED), port), protocol) {
        Ok(socket) => Ok(Held { _socket: socket }),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match owner(config, at) {
            Some(owner) => Err(NetworkError::HostPortTaken { port, protocol, owner }),
            // A connection to elsewhere began there, and goes on: its answers are nobody else's.
            None => Ok(Held { _socket: None }),
        },
        Err(source) => Err(NetworkError::HoldPort { port, protocol, source }),
    }
}

fn bound(address: SocketAddrV4, protocol: Protocol) -> io::Result<Option<OwnedFd>> {
    let (kind, number) = match protocol {
        Protocol::Tcp => (SockType::Stream, SockProtocol::Tcp),
        Protocol::Udp => (SockType::Datagram, SockProtocol::Udp),
        Protocol::Sctp => (SockType::Stream, SockProtocol::Sctp),
    };
    let held = match socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, number) {
        Err(nix::Error::EPROTONOSUPPORT | nix::Error::ESOCKTNOSUPPORT) if protocol == Protocol::Sctp => {
            return Ok(None);
        }
        held => held?,
    };
    // An address that the machine is about to get, as a failover does, can be meant as well.
    setsockopt(&held, sockopt::IpFreebind, &true)?;
    if protocol == Protocol::Tcp {
        // Connections that have just ended are nobody's use of the port.
        setsockopt(&held, sockopt::ReuseAddr, &true)?;
    }
    bind(held.as_raw_fd(), &SockaddrIn::from(address))?;
    setsockopt(&held, sockopt::ReuseAddr, &false)?;
    Ok(Some(held))
}

/// Who has the port, as well as it can be known; `None` when only connections have it.
fn owner(config: &NetworkConfig, at: At) -> Option<String> {
    let api = config.api.map(|api| At {
        address: Some(*api.ip()).filter(|ip| !ip.is_unspecified()),
        protocol: Protocol::Tcp,
        port: api.port(),
    });
    if api.is_some_and(|api| api.clashes(&at)) {
        return Some("this cluster's API server".to_owned());
    }
    let (files, waiting) = match at.protocol {
        Protocol::Tcp => (["tcp", "tcp6"], LISTENS),
        Protocol::Udp => (["udp", "udp6"], UNCONNECTED),
        Protocol::Sctp => (["sctp/eps"; 2], ""),
    };
    let tables = files.iter().filter_map(|file| fs::read_to_string(format!("/proc/net/{file}")).ok());
    let found: Vec<_> = tables.flat_map(|table| sockets(&table, at)).collect();
    let waits = found.iter().find(|socket| socket.state == waiting);
    if waits.is_none() && !found.is_empty() {
        return None;
    }
    let process = waits.and_then(|socket| process_with(&format!("socket:[{}]", socket.inode)));
    // One that has only bound it, as this network does, is in no table.
    process.or_else(|| Some("a program of this machine".to_owned()))
}

/// A line of the kernel's table.
#[derive(Debug, PartialEq, Eq)]
struct Socket {
    state: String,
    inode: u64,
}

/// The sockets of a table (`/proc/net/tcp` and its like) that have the port.
fn sockets(table: &str, at: At) -> Vec<Socket> {
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, _, state, _, _, _, _, _, inode, ..] = fields[..] else { return None };
        let (address, port) = local.split_once(':')?;
        let is_it = u16::from_str_radix(port, 16) == Ok(at.port)
            && at.address.is_none_or(|wanted| covers(address, wanted));
        is_it.then_some(Socket { state: state.to_owned(), inode: inode.parse().ok()? })
    };
    table.lines().filter_map(socket).collect()
}

/// Whether a socket's address, as the kernel writes it, is reached at this one.
fn covers(address: &str, wanted: Ipv4Addr) -> bool {
    // A word as it lies in memory; IPv6 has four, and an IPv4 address in the last.
    let last = address.get(address.len().saturating_sub(8)..).unwrap_or_default();
    let bound = u32::from_str_radix(last, 16).map(u32::to_ne_bytes);
    bound.is_ok_and(|bound| bound == [0; 4] || bound == wanted.octets())
}

/// The process that has `link` open.
fn process_with(link: &str) -> Option<String> {
    let processes = fs::read_dir("/proc").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    for path in processes {
        let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()) else {
            continue;
        };
        let is_open = |fds: fs::ReadDir| {
            fds.filter_map(Result::ok)
                .any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == link))
        };
        // It may have ended by now.
        if fs::read_dir(path.join("fd")).is_ok_and(is_open) {
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            return Some(format!("{} (process {pid})", name.trim_end()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_tells_whose_a_port_is() {
        // On little-endian machines, as the kernel prints words of memory.
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0 0 10 0
   1: 0100007F:0016 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 12 1 0 100 0 0 10 0
   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 13 1 0 100 0 0 10 0
";
        let of = |address: Option<&str>, port| {
            let address = address.map(|address| address.parse().unwrap());
            let found = sockets(table, At { address, protocol: Protocol::Tcp, port });
            found.into_iter().map(|socket| (socket.state, socket.inode)).collect::<Vec<_>>()
        };
        let (listens, connected) = (|inode| (LISTENS.to_owned(), inode), ("01".to_owned(), 12));
        if cfg!(target_endian = "little") {
            assert_eq!(of(Some("127.0.0.1"), 8080), [listens(11)]);
            assert_eq!(of(Some("192.0.2.1"), 8080), []);
            assert_eq!(of(Some("192.0.2.1"), 22), [listens(13)], "it listens on all addresses");
        }
        assert_eq!(of(None, 8080), [listens(11)]);
        assert_eq!(of(None, 22), [connected, listens(13)]);
        assert_eq!(of(None, 80), []);
    }

    #[test]
    fn a_listeners_process_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = At {
            address: Some(Ipv4Addr::LOCALHOST),
            protocol: Protocol::Tcp,
            port: listener.local_addr().unwrap().port(),
        };
        let config = NetworkConfig {
            cluster_id: "1".parse().unwrap(),
            pod_cidr: "10.9.0.0/29".parse().unwrap(),
            api: None,
            data_dir: "/d".into(),
            spare_count: 0,
        };
        let owner = owner(&config, at).unwrap();
        assert!(owner.ends_with(&format!("(process {})", std::process::id())), "{owner}");
    }
}
