//! Berth's nftables rules: masquerade, host ports, and a way through another firewall's forward chain.
//!
//! ```text
//! table ip berth-<id> {
//!   map hostports    { inet_proto . inet_service : ipv4_addr . inet_service }               on any address
//!   map hostports-at { ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service }   on one address
//!   guard        raw:      from the bridge to 127.0.0.0/8: drop (route_localnet opens that door, see below)
//!   prerouting   dstnat:   to the API server: as it is, whatever the maps hold
//!                          to a local address: dnat by hostports-at, else by hostports
//!   output       dstnat:   the same for the node's own connections
//!   postrouting  srcnat:   from a pod to elsewhere: masquerade
//!                          from a pod by a host port to a pod, and from 127.0.0.1: masquerade, or answers go astray
//! }
//! ```

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;

use crate::netlink::{Message, Socket};
use crate::nft::{self, Expression as E, Hook, Is, Reg, Table};
use crate::{HostPort, NetworkConfig, Protocol};

/// Ports of all addresses.
const MAP: &str = "hostports";
/// Ports of one address each.
const MAP_AT: &str = "hostports-at";
/// `IPS_DST_NAT`: conntrack rewrote the destination.
const STATUS_DST_NAT: u32 = 1 << 5;
/// nft's type numbers, which only make its listings readable: inet_proto . inet_service, the same behind an ipv4_addr,
/// ipv4_addr . inet_service.
const KEY_TYPE: u32 = 12 << 6 | 13;
const KEY_AT_TYPE: u32 = 7 << 12 | KEY_TYPE;
const VALUE_TYPE: u32 = 7 << 6 | 13;
/// `NFT_SET_MAP`.
const SET_IS_MAP: u32 = 8;
const PRIORITY_RAW: i32 = -300;
const PRIORITY_DSTNAT: i32 = -100;
const PRIORITY_SRCNAT: i32 = 100;
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
/// An attribute's length is 16 bits and an element takes about 40 bytes.
const MESSAGE_ELEMENTS_MAX: usize = 1000;
/// The chain that iptables (and so Docker, which makes it drop) uses.
const FOREIGN_TABLE: &str = "filter";
const FOREIGN_CHAIN: &str = "FORWARD";

/// Where a host port is reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct At {
    /// On this address of the node; `None`: on all.
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
}

/// Host ports: the pod's address and port.
pub(crate) type HostPorts = BTreeMap<At, (Ipv4Addr, u16)>;

/// Replaces the table in one transaction; no packet sees half of it.
pub(crate) fn install(socket: &Socket, config: &NetworkConfig, ports: &HostPorts) -> io::Result<()> {
    let name = config.table();
    let table = Table::ip(&name);
    let mut batch = nft::new_table(table);
    batch.extend([
        map(table, MAP, 1, KEY_TYPE),
        map(table, MAP_AT, 2, KEY_AT_TYPE),
        nft::chain(table, "guard", "filter", Hook::Prerouting, PRIORITY_RAW),
        nft::chain(table, "prerouting", "nat", Hook::Prerouting, PRIORITY_DSTNAT),
        nft::chain(table, "output", "nat", Hook::Output, PRIORITY_DSTNAT),
        nft::chain(table, "postrouting", "nat", Hook::Postrouting, PRIORITY_SRCNAT),
    ]);
    batch.extend(rules(config, table));
    batch.extend(add(table, ports));
    nft::commit(socket, batch)
}

/// A map. `id` tells the sets of one transaction apart.
fn map(table: Table<'_>, name: &str, id: u32, key_type: u32) -> Message {
    let key_bytes = if key_type == KEY_TYPE { 8 } else { 12 };
    nft::message(table, nft::NEWSET, libc::NLM_F_CREATE, |attrs| {
        attrs.str(2, name).be32(3, SET_IS_MAP).be32(4, key_type).be32(5, key_bytes);
        attrs.be32(6, VALUE_TYPE).be32(7, 8).be32(10, id);
    })
}

fn rules(config: &NetworkConfig, table: Table<'_>) -> Vec<Message> {
    let bridge = nft::link_name(&config.bridge());
    let mask = config.pod_cidr.netmask().octets();
    let pods = config.pod_cidr.base().octets().to_vec();
    let loopback = |at| [E::And(at, [255, 0, 0, 0]), E::Compare(at, Is::Equal, vec![127, 0, 0, 0])];
    let multicast = |at| [E::And(at, [240, 0, 0, 0]), E::Compare(at, Is::NotEqual, vec![224, 0, 0, 0])];
    let in_pods = |at, is| [E::And(at, mask), E::Compare(at, is, pods.clone())];
    let chain = |name, parts: &[&[E]]| nft::rule(table, name, &parts.concat());
    let r = Reg;

    let local: &[E] = &[
        E::DestinationType(r(0)),
        E::Compare(r(0), Is::Equal, u32::from(libc::RTN_LOCAL).to_ne_bytes().to_vec()),
    ];
    let publish_at: &[E] = &[
        E::DestinationAddress(r(0)),
        E::TransportProtocol(r(1)),
        E::DestinationPort(r(2)),
        E::Lookup(MAP_AT, r(0), r(3)),
        E::DestinationNat(r(3), r(4)),
    ];
    let publish: &[E] = &[
        E::TransportProtocol(r(0)),
        E::DestinationPort(r(1)),
        E::Lookup(MAP, r(0), r(2)),
        E::DestinationNat(r(2), r(3)),
    ];
    let api = config.api.map(|api| api_traffic(*api.ip(), api.port())).unwrap_or_default();
    let from_bridge: &[E] = &[E::IncomingLink(r(0)), E::Compare(r(0), Is::Equal, bridge.clone())];
    let to_bridge: &[E] = &[E::OutgoingLink(r(0)), E::Compare(r(0), Is::Equal, bridge)];
    let by_host_port: &[E] = &[
        E::ConntrackStatus(r(0)),
        E::And(r(0), STATUS_DST_NAT.to_ne_bytes()),
        E::Compare(r(0), Is::NotEqual, vec![0; 4]),
    ];
    let source: &[E] = &[E::SourceAddress(r(0))];
    let destination: &[E] = &[E::DestinationAddress(r(0))];
    let before_host_ports = |name| (!api.is_empty()).then(|| chain(name, &[&api, &[E::Verdict(NF_ACCEPT)]]));
    let own = ["prerouting", "output"].into_iter().filter_map(before_host_ports);
    let rules = [
        chain("guard", &[from_bridge, destination, &loopback(r(0)), &[E::Verdict(NF_DROP)]]),
        chain("prerouting", &[local, publish_at]),
        chain("prerouting", &[local, publish]),
        chain("output", &[local, publish_at]),
        chain("output", &[local, publish]),
        chain(
            "postrouting",
            &[
                source,
                &in_pods(r(0), Is::Equal),
                destination,
                &in_pods(r(0), Is::NotEqual),
                destination,
                &multicast(r(0)),
                &[E::Masquerade],
            ],
        ),
        chain("postrouting", &[source, &in_pods(r(0), Is::Equal), to_bridge, by_host_port, &[E::Masquerade]]),
        chain("postrouting", &[source, &loopback(r(0)), to_bridge, &[E::Masquerade]]),
    ];
    own.chain(rules).collect()
}

/// What is for the API server.
fn api_traffic(address: Ipv4Addr, port: u16) -> Vec<E> {
    let r = Reg;
    let mut steps = vec![
        E::TransportProtocol(r(0)),
        E::Compare(r(0), Is::Equal, vec![protocol_number(Protocol::Tcp)]),
        E::DestinationPort(r(0)),
        E::Compare(r(0), Is::Equal, port.to_be_bytes().to_vec()),
    ];
    if !address.is_unspecified() {
        let octets = address.octets().to_vec();
        steps.extend([E::DestinationAddress(r(0)), E::Compare(r(0), Is::Equal, octets)]);
    }
    steps
}

/// Deletes the table; none is fine.
pub(crate) fn remove(socket: &Socket, config: &NetworkConfig) -> io::Result<()> {
    nft::delete_table(socket, Table::ip(&config.table()))
}

/// Replaces elements of the host port map in one transaction.
pub(crate) fn change_host_ports(
    socket: &Socket,
    config: &NetworkConfig,
    gone: &HostPorts,
    new: &HostPorts,
) -> io::Result<()> {
    let name = config.table();
    let table = Table::ip(&name);
    let mut batch = Vec::new();
    for name in [MAP, MAP_AT] {
        let keys: Vec<_> = gone.keys().filter(|at| at.map() == name).map(|at| (at.key(), None)).collect();
        let message = |part| nft::elements(nft::DELSETELEM, table, name, part);
        batch.extend(keys.chunks(MESSAGE_ELEMENTS_MAX).map(message));
    }
    batch.extend(add(table, new));
    if batch.is_empty() { Ok(()) } else { nft::commit(socket, batch) }
}

fn add(table: Table<'_>, ports: &HostPorts) -> Vec<Message> {
    let of_map = |name| {
        let ports = ports.iter().filter(move |(at, _)| at.map() == name);
        let elements: Vec<_> = ports.map(|(at, pod)| (at.key(), Some(value_bytes(*pod)))).collect();
        let message = |part| nft::elements(nft::NEWSETELEM, table, name, part);
        elements.chunks(MESSAGE_ELEMENTS_MAX).map(message).collect::<Vec<_>>()
    };
    [MAP, MAP_AT].into_iter().flat_map(of_map).collect()
}

/// What the kernel's maps hold; empty when there is no table.
pub(crate) fn host_ports(socket: &Socket, config: &NetworkConfig) -> io::Result<HostPorts> {
    let table = config.table();
    let mut found = HostPorts::new();
    for name in [MAP, MAP_AT] {
        let table = Table::ip(&table);
        let replies = match nft::dump(socket, table, nft::GETSETELEM, |attrs| _ = attrs.str(2, name)) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => continue,
            result => result?,
        };
        found.extend(nft::read_elements(&replies).iter().filter_map(|(key, value)| parse(key, value)));
    }
    Ok(found)
}

impl At {
    /// Whether the two cannot both lead somewhere: some packet is for either.
    pub(crate) fn clashes(&self, other: &At) -> bool {
        let addresses = self.address.zip(other.address);
        (self.protocol, self.port) == (other.protocol, other.port)
            && addresses.is_none_or(|(one, other)| one == other)
    }

    fn map(&self) -> &'static str {
        if self.address.is_some() { MAP_AT } else { MAP }
    }

    fn key(&self) -> Vec<u8> {
        let [high, low] = self.port.to_be_bytes();
        let mut key = self.address.map_or_else(Vec::new, |address| address.octets().to_vec());
        key.extend([protocol_number(self.protocol), 0, 0, 0, high, low, 0, 0]);
        key
    }

    fn parse(key: &[u8]) -> Option<At> {
        let (address, rest) = match *key {
            [a, b, c, d, ref rest @ ..] if key.len() == 12 => (Some(Ipv4Addr::new(a, b, c, d)), rest),
            _ => (None, key),
        };
        let &[number, _, _, _, high, low, _, _] = rest else { return None };
        let all = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
        let protocol = all.into_iter().find(|protocol| protocol_number(*protocol) == number)?;
        Some(At { address, protocol, port: u16::from_be_bytes([high, low]) })
    }
}

fn value_bytes((address, port): (Ipv4Addr, u16)) -> Vec<u8> {
    let ([a, b, c, d], [high, low]) = (address.octets(), port.to_be_bytes());
    vec![a, b, c, d, high, low, 0, 0]
}

fn parse(key: &[u8], value: &[u8]) -> Option<(At, (Ipv4Addr, u16))> {
    let &[a, b, c, d, high, low, _, _] = value else { return None };
    Some((At::parse(key)?, (Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low]))))
}

fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => libc::IPPROTO_TCP as u8,
        Protocol::Udp => libc::IPPROTO_UDP as u8,
        Protocol::Sctp => libc::IPPROTO_SCTP as u8,
    }
}

/// One pod's ports as map entries.
pub(crate) fn entries(ip: Ipv4Addr, ports: &[HostPort]) -> HostPorts {
    let at = |port: &HostPort| At { address: port.address, protocol: port.protocol, port: port.host_port };
    ports.iter().map(|port| (at(port), (ip, port.pod_port))).collect()
}

/// Lets pods through `ip filter FORWARD` where that chain drops by default, as Docker makes it: no other table can
/// overrule a drop. Returns whether rules were added.
pub(crate) fn pass_foreign_firewall(socket: &Socket, config: &NetworkConfig) -> io::Result<bool> {
    withdraw_from_foreign_firewall(socket, config)?;
    let chains = nft::all_chains(socket)?;
    let drops = |(table, name, drops): (String, String, bool)| {
        table == FOREIGN_TABLE && name == FOREIGN_CHAIN && drops
    };
    if !chains.iter().any(|chain| drops(nft::read_chain(chain))) {
        return Ok(false);
    }
    let bridge = nft::link_name(&config.bridge());
    let pass = |load| {
        let steps = [load, E::Compare(Reg(0), Is::Equal, bridge.clone()), E::Verdict(NF_ACCEPT)];
        nft::first_rule(Table::ip(FOREIGN_TABLE), FOREIGN_CHAIN, &comment(config), &steps)
    };
    nft::commit(socket, vec![pass(E::IncomingLink(Reg(0))), pass(E::OutgoingLink(Reg(0)))])?;
    Ok(true)
}

/// Takes those rules away again.
pub(crate) fn withdraw_from_foreign_firewall(socket: &Socket, config: &NetworkConfig) -> io::Result<()> {
    let foreign = Table::ip(FOREIGN_TABLE);
    let dump = nft::dump(socket, foreign, nft::GETRULE, |attrs| _ = attrs.str(2, FOREIGN_CHAIN));
    let rules = match dump {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
        result => result?,
    };
    let ours = comment(config);
    let mut batch = Vec::new();
    for rule in &rules {
        let part = |wanted| nft::body(rule).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
        if let (Some(handle), true) = (part(3), part(7) == Some(&ours)) {
            batch.push(nft::message(foreign, nft::DELRULE, 0, |attrs| {
                attrs.str(2, FOREIGN_CHAIN).bytes(3, handle);
            }));
        }
    }
    if batch.is_empty() { Ok(()) } else { nft::commit(socket, batch) }
}

/// The rule's comment as nft stores it: type 0, length, text with its terminator.
fn comment(config: &NetworkConfig) -> Vec<u8> {
    let text = config.table();
    let length = u8::try_from(text.len() + 1).expect("a table's name is short");
    [&[0, length], text.as_bytes(), &[0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_ports_survive_the_kernels_form() {
        let pod: Ipv4Addr = "10.42.0.9".parse().unwrap();
        let all = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
        for (protocol, address) in all.into_iter().flat_map(|one| [(one, None), (one, Some(pod))]) {
            let at = At { address, protocol, port: 8080 };
            assert_eq!(parse(&at.key(), &value_bytes((pod, 80))), Some((at, (pod, 80))));
        }
        assert_eq!(parse(&[1, 2], &[]), None);
    }
}
