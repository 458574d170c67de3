//! Links, addresses and routes through rtnetlink.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::netlink::{Attrs, Message, Reply, Socket, attributes, text, u32_at};
use crate::{Ipv4Cidr, MacAddress};

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_MODE: u16 = 4;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const CREATE_NEW: i32 = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
const IFF_UP: u32 = libc::IFF_UP as u32;

/// A link as far as it matters here.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mtu: u32,
    /// The bridge it is a port of.
    pub(crate) master: Option<u32>,
}

/// An entry of the main routing table.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) destination: Ipv4Cidr,
    pub(crate) link_index: Option<u32>,
}

/// How to make a pod's link: the host's end on the bridge, the pod's end directly in its namespace; only the host's is up.
pub(crate) struct Veth<'a> {
    pub(crate) host_name: &'a str,
    pub(crate) bridge_index: u32,
    pub(crate) mtu: u32,
    pub(crate) pod_name: &'a str,
    pub(crate) pod_mac: MacAddress,
    pub(crate) pod_netns: BorrowedFd<'a>,
}

/// `struct ifinfomsg`.
fn link_header(index: u32, flags: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

pub(crate) fn create_bridge(socket: &Socket, name: &str, mac: MacAddress, mtu: u32) -> io::Result<()> {
    socket.request(Message::new(libc::RTM_NEWLINK, CREATE_NEW, &link_header(0, 0), |attrs| {
        attrs.str(IFLA_IFNAME, name).bytes(IFLA_ADDRESS, &mac.0).u32(IFLA_MTU, mtu).nest(
            IFLA_LINKINFO,
            |info| {
                info.str(IFLA_INFO_KIND, "bridge");
            },
        );
    }))
}

pub(crate) fn create_veth(socket: &Socket, veth: &Veth<'_>) -> io::Result<()> {
    let peer = |attrs: &mut Attrs| {
        attrs
            .str(IFLA_IFNAME, veth.pod_name)
            .bytes(IFLA_ADDRESS, &veth.pod_mac.0)
            .u32(IFLA_MTU, veth.mtu)
            .u32(IFLA_NET_NS_FD, veth.pod_netns.as_raw_fd().cast_unsigned());
    };
    socket.request(Message::new(libc::RTM_NEWLINK, CREATE_NEW, &link_header(0, IFF_UP), |attrs| {
        attrs
            .str(IFLA_IFNAME, veth.host_name)
            .u32(IFLA_MTU, veth.mtu)
            .u32(IFLA_MASTER, veth.bridge_index)
            .nest(IFLA_LINKINFO, |info| {
                info.str(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, |data| {
                    // Up already? The kernel refuses: at this point the peer has no peer yet.
                    data.nest_after(VETH_INFO_PEER, &link_header(0, 0), peer);
                });
            });
    }))
}

pub(crate) fn set_up(socket: &Socket, index: u32) -> io::Result<()> {
    socket.request(Message::new(libc::RTM_NEWLINK, 0, &link_header(index, IFF_UP), |_| {}))
}

pub(crate) fn set_master(socket: &Socket, index: u32, bridge_index: u32) -> io::Result<()> {
    socket.request(Message::new(libc::RTM_NEWLINK, 0, &link_header(index, 0), |attrs| {
        attrs.u32(IFLA_MASTER, bridge_index);
    }))
}

/// Lets the bridge send a packet back through the port it came from: a pod that reaches itself by a host port, where
/// br_netfilter rewrites addresses inside the bridge.
pub(crate) fn set_hairpin(socket: &Socket, name: &str) -> io::Result<()> {
    socket.request(Message::new(libc::RTM_NEWLINK, 0, &link_header(0, 0), |attrs| {
        attrs.str(IFLA_IFNAME, name).nest(IFLA_LINKINFO, |info| {
            info.str(IFLA_INFO_SLAVE_KIND, "bridge").nest(IFLA_INFO_SLAVE_DATA, |port| {
                port.bytes(IFLA_BRPORT_MODE, &[1]);
            });
        });
    }))
}

/// Deletes a link; one that is gone already is fine.
pub(crate) fn delete(socket: &Socket, name: &str) -> io::Result<()> {
    let message = Message::new(libc::RTM_DELLINK, 0, &link_header(0, 0), |attrs| {
        attrs.str(IFLA_IFNAME, name);
    });
    match socket.request(message) {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        result => result,
    }
}

pub(crate) fn by_name(socket: &Socket, name: &str) -> io::Result<Option<Link>> {
    let message = Message::new(libc::RTM_GETLINK, 0, &link_header(0, 0), |attrs| {
        attrs.str(IFLA_IFNAME, name);
    });
    Ok(socket.get(message)?.as_ref().and_then(parse_link))
}

pub(crate) fn list(socket: &Socket) -> io::Result<Vec<Link>> {
    let dump = Message::new(libc::RTM_GETLINK, libc::NLM_F_DUMP, &link_header(0, 0), |_| {});
    Ok(socket.dump(dump)?.iter().filter_map(parse_link).collect())
}

fn parse_link(reply: &Reply) -> Option<Link> {
    let mut link = Link { index: u32_at(&reply.body, 4)?, name: String::new(), mtu: 0, master: None };
    for (kind, value) in attributes(reply.body.get(16..)?) {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_MTU => link.mtu = u32_at(value, 0)?,
            IFLA_MASTER => link.master = u32_at(value, 0),
            _ => {}
        }
    }
    Some(link)
}

/// `struct ifaddrmsg`.
fn address_header(prefix_len: u8, index: u32) -> [u8; 8] {
    let mut header = [libc::AF_INET as u8, prefix_len, 0, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header
}

pub(crate) fn add_address(socket: &Socket, index: u32, address: Ipv4Addr, prefix_len: u8) -> io::Result<()> {
    let flags = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
    socket.request(Message::new(libc::RTM_NEWADDR, flags, &address_header(prefix_len, index), |attrs| {
        attrs.bytes(IFA_LOCAL, &address.octets()).bytes(IFA_ADDRESS, &address.octets());
    }))
}

pub(crate) fn remove_address(
    socket: &Socket,
    index: u32,
    address: Ipv4Addr,
    prefix_len: u8,
) -> io::Result<()> {
    socket.request(Message::new(libc::RTM_DELADDR, 0, &address_header(prefix_len, index), |attrs| {
        attrs.bytes(IFA_LOCAL, &address.octets());
    }))
}

/// All IPv4 addresses: the link's index, the address, its prefix.
pub(crate) fn addresses(socket: &Socket) -> io::Result<Vec<(u32, Ipv4Addr, u8)>> {
    let dump = Message::new(libc::RTM_GETADDR, libc::NLM_F_DUMP, &address_header(0, 0), |_| {});
    let parse = |reply: &Reply| {
        let found = attributes(reply.body.get(8..)?).find(|(kind, _)| *kind == IFA_LOCAL)?;
        Some((u32_at(&reply.body, 4)?, ipv4(found.1)?, *reply.body.get(1)?))
    };
    Ok(socket.dump(dump)?.iter().filter_map(parse).collect())
}

/// `struct rtmsg` for the main table.
fn route_header(prefix_len: u8) -> [u8; 12] {
    let mut header = [0; 12];
    header[0] = libc::AF_INET as u8;
    header[1] = prefix_len;
    header[4] = libc::RT_TABLE_MAIN;
    header[5] = libc::RTPROT_BOOT;
    header[7] = libc::RTN_UNICAST;
    header
}

pub(crate) fn add_default_route(socket: &Socket, index: u32, gateway: Ipv4Addr) -> io::Result<()> {
    let flags = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
    socket.request(Message::new(libc::RTM_NEWROUTE, flags, &route_header(0), |attrs| {
        attrs.bytes(RTA_GATEWAY, &gateway.octets()).u32(RTA_OIF, index);
    }))
}

/// The IPv4 routes of the main table, the default route (prefix 0) included.
pub(crate) fn routes(socket: &Socket) -> io::Result<Vec<Route>> {
    let dump = Message::new(libc::RTM_GETROUTE, libc::NLM_F_DUMP, &route_header(0), |_| {});
    Ok(socket.dump(dump)?.iter().filter_map(parse_route).collect())
}

fn parse_route(reply: &Reply) -> Option<Route> {
    let prefix_len = *reply.body.get(1)?;
    if *reply.body.get(4)? != libc::RT_TABLE_MAIN || prefix_len > 32 {
        return None;
    }
    let (mut address, mut link_index) = (Ipv4Addr::UNSPECIFIED, None);
    for (kind, value) in attributes(reply.body.get(12..)?) {
        match kind {
            RTA_DST => address = ipv4(value)?,
            RTA_OIF => link_index = u32_at(value, 0),
            _ => {}
        }
    }
    Some(Route { destination: Ipv4Cidr::containing(address, prefix_len), link_index })
}

fn ipv4(value: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?))
}
