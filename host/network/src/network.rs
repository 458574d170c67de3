//! The node's network: open, attach, detach, adopt, collect, destroy.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::{NetworkConfig, NetworkError};

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
    /// The node's port, on all of its addresses.
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

/// The node's pod network. Dropping it leaves the attached pods' networks alone.
#[derive(Debug)]
pub struct Network {
    config: NetworkConfig,
}

impl Network {
    /// Sets up bridge, forwarding and masquerade, loads what an earlier process attached, and starts making spares.
    ///
    /// Fails with [`NetworkError::CidrClash`] when the pod range overlaps an address or route of somebody else.
    /// Switches `net.ipv4.ip_forward` on (and never off: others may rely on it).
    pub fn open(config: NetworkConfig) -> Result<Network, NetworkError> {
        let _ = &config;
        unimplemented!()
    }

    /// The configuration.
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// Gives a pod its network. A pod that has one keeps it: asking twice is safe.
    pub fn attach(&self, pod_uid: &str) -> Result<PodNetwork, NetworkError> {
        let _ = pod_uid;
        unimplemented!()
    }

    /// The network of an attached pod.
    pub fn get(&self, pod_uid: &str) -> Option<PodNetwork> {
        let _ = pod_uid;
        unimplemented!()
    }

    /// Takes a pod's network away; the link is deleted in the background, and the address rests before it is given out
    /// again. A pod without one is fine.
    pub fn detach(&self, pod_uid: &str) -> Result<(), NetworkError> {
        let _ = pod_uid;
        unimplemented!()
    }

    /// After a restart: which of these pods still have their network.
    pub fn adopt(&self, pod_uids: &BTreeSet<String>) -> Result<Adoption, NetworkError> {
        let _ = pod_uids;
        unimplemented!()
    }

    /// Detaches every pod that is not in `keep`; returns their uids.
    pub fn gc(&self, keep: &BTreeSet<String>) -> Result<Vec<String>, NetworkError> {
        let _ = keep;
        unimplemented!()
    }

    /// Makes ports of the node lead to an attached pod, replacing the ones it had; `detach` removes them.
    pub fn set_host_ports(&self, pod_uid: &str, ports: &[HostPort]) -> Result<(), NetworkError> {
        let _ = (pod_uid, ports);
        unimplemented!()
    }
}

/// Removes everything this configuration's network made: links, namespaces, mounts, rules, the bridge and its files.
/// Works without (and after) a [`Network`], and when parts are missing already.
pub fn destroy(config: &NetworkConfig) -> Result<(), NetworkError> {
    let _ = config;
    unimplemented!()
}
