//! What a caller gets and gives.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// A MAC address.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// The address of the interface that has `ip`: `0a:58` and the four bytes, as CNI's plugins do, so that a reused IP
    /// address never contradicts a neighbour's cache.
    pub fn of(ip: Ipv4Addr) -> MacAddress {
        let [a, b, c, d] = ip.octets();
        MacAddress([0x0a, 0x58, a, b, c, d])
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A transport protocol of a host port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        })
    }
}

/// A port of the node that leads to a port of a pod (`hostPort`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostPort {
    /// The protocol.
    pub protocol: Protocol,
    /// The node's address it is reached at; `None`: all of them.
    pub address: Option<Ipv4Addr>,
    /// The node's port.
    pub host_port: u16,
    /// The pod's port.
    pub pod_port: u16,
}

/// A pod's network, ready: loopback, link, address and default route are up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PodNetwork {
    /// The pod.
    pub uid: String,
    /// Where its network namespace is mounted: for `setns` or a runtime's `namespaces[].path`.
    pub netns_path: PathBuf,
    /// Its address: `status.podIP`.
    pub ip: Ipv4Addr,
    /// The network bits of its address.
    pub prefix_len: u8,
    /// Its interface's (`eth0`) hardware address.
    pub mac: MacAddress,
    /// Its default gateway, the bridge.
    pub gateway: Ipv4Addr,
}

/// What [`Network::adopt`] found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Adoption {
    /// Pods whose network is intact, by uid.
    pub adopted: BTreeMap<String, PodNetwork>,
    /// Pods whose network is gone (the machine was restarted): their containers cannot live either; attach anew.
    pub lost: Vec<String>,
}
