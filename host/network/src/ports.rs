//! Ports of the node that lead to pods, each held by a socket that nobody listens on: a rule would take the port from a
//! program of the machine without a word, and so would a program that starts later lose its port to a rule.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
};

use crate::rules::At;
use crate::{NetworkConfig, NetworkError, Protocol};

/// States of sockets in `/proc/net`: a TCP socket that listens, a UDP socket without a peer.
const LISTENS: &str = "0A";
const UNCONNECTED: &str = "07";

/// A port that belongs to nobody else as long as this lives. `None`: the machine does not speak the protocol, so that
/// nobody can have its ports.
#[derive(Debug)]
pub(crate) struct Held {
    _socket: Option<OwnedFd>,
}

/// Holds a port.
///
/// # Errors
/// [`NetworkError::HostPortTaken`] when a program of the machine has it.
pub(crate) fn hold(config: &NetworkConfig, at: At) -> Result<Held, NetworkError> {
    let At { address, protocol, port } = at;
    match bound(SocketAddrV4::new(address.unwrap_or(Ipv4Addr::UNSPECIFIED), port), protocol) {
        Ok(socket) => Ok(Held { _socket: socket }),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let is_api = config.api.is_some_and(|api| {
                let address = Some(*api.ip()).filter(|ip| !ip.is_unspecified());
                at.clashes(&At { address, protocol: Protocol::Tcp, port: api.port() })
            });
            let owner = if is_api { "this cluster's API server".to_owned() } else { owner(at) };
            Err(NetworkError::HostPortTaken { port, protocol, owner })
        }
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

/// Who has the port, as well as it can be known.
fn owner(at: At) -> String {
    let (files, state) = match at.protocol {
        Protocol::Tcp => (["tcp", "tcp6"], LISTENS),
        Protocol::Udp => (["udp", "udp6"], UNCONNECTED),
        Protocol::Sctp => (["sctp/eps"; 2], ""),
    };
    let tables = files.iter().filter_map(|file| fs::read_to_string(format!("/proc/net/{file}")).ok());
    let inode = tables.into_iter().find_map(|table| inode(&table, state, at));
    let process = inode.and_then(|inode| process_with(&format!("socket:[{inode}]")));
    process.unwrap_or_else(|| "a program of this machine".to_owned())
}

/// The socket of a table (`/proc/net/tcp` and its like) that has the port.
fn inode(table: &str, state: &str, at: At) -> Option<u64> {
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, _, its_state, _, _, _, _, _, inode, ..] = fields[..] else { return None };
        let (address, port) = local.split_once(':')?;
        let is_it = its_state == state
            && u16::from_str_radix(port, 16) == Ok(at.port)
            && at.address.is_none_or(|wanted| covers(address, wanted));
        // The kernel has sockets of its own, without one.
        inode.parse().ok().filter(|inode| is_it && *inode != 0)
    })
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
            inode(table, LISTENS, At { address, protocol: Protocol::Tcp, port })
        };
        if cfg!(target_endian = "little") {
            assert_eq!(of(Some("127.0.0.1"), 8080), Some(11));
            assert_eq!(of(Some("192.0.2.1"), 8080), None);
        }
        assert_eq!(of(None, 8080), Some(11));
        assert_eq!(of(None, 22), Some(13), "not the connection");
        assert_eq!(of(Some("192.0.2.1"), 22), Some(13), "it listens on all addresses");
        assert_eq!(of(None, 80), None);
    }

    #[test]
    fn a_listeners_process_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = At {
            address: Some(Ipv4Addr::LOCALHOST),
            protocol: Protocol::Tcp,
            port: listener.local_addr().unwrap().port(),
        };
        let owner = owner(at);
        assert!(owner.ends_with(&format!("(process {})", std::process::id())), "{owner}");
    }
}
