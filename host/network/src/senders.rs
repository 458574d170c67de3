//! What a pod may send: IPv4 and ARP with its own addresses, and nothing else.
//!
//! A bridge believes whoever speaks: without this a pod could answer for the gateway or for another pod, and read or
//! change what is meant for them. The addresses of a link follow from its name, so its chain is the same for ever. A
//! pod has no other address than its IPv4 one: IPv6, VLANs and the bridge's own protocols could only be pretended.
//!
//! ```text
//! table netdev berth-<id> {
//!   chain <link> { type filter hook ingress device <link>; policy drop;
//!     ether saddr <mac> ip saddr <address> accept
//!     ether saddr <mac> arp saddr ether <mac> arp saddr ip <address> accept
//!   }
//! }
//! ```

use std::io;
use std::net::Ipv4Addr;

use crate::netlink::{Message, Socket};
use crate::nft::{self, Expression as E, Is, Reg, Table};
use crate::{MacAddress, NetworkConfig};

const PRIORITY: i32 = -300;
const NF_ACCEPT: u32 = 1;

/// Replaces the table in one transaction: the links of these addresses are held, which must be there.
pub(crate) fn install(
    socket: &Socket,
    config: &NetworkConfig,
    addresses: impl IntoIterator<Item = Ipv4Addr>,
) -> io::Result<()> {
    let name = config.table();
    let table = Table::netdev(&name);
    let mut batch = nft::new_table(table);
    batch.extend(addresses.into_iter().flat_map(|address| chain(config, table, address)));
    nft::commit(socket, batch)
}

/// Holds the link of this address, which has just been made.
pub(crate) fn hold(socket: &Socket, config: &NetworkConfig, address: Ipv4Addr) -> io::Result<()> {
    let (name, link) = (config.table(), config.link(address));
    let table = Table::netdev(&name);
    let mut batch = vec![
        nft::message(table, nft::NEWTABLE, libc::NLM_F_CREATE, |_| {}),
        // A chain of an earlier link of this name may have outlived it, as Linux lets it since 6.16.
        nft::link_chain(table, &link, PRIORITY),
        nft::delete_chain(table, &link),
    ];
    batch.extend(chain(config, table, address));
    nft::commit(socket, batch)
}

/// Forgets the link of this address, which is gone.
pub(crate) fn release(socket: &Socket, config: &NetworkConfig, address: Ipv4Addr) -> io::Result<()> {
    let name = config.table();
    match nft::commit(socket, vec![nft::delete_chain(Table::netdev(&name), &config.link(address))]) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Deletes the table; none is fine.
pub(crate) fn remove(socket: &Socket, config: &NetworkConfig) -> io::Result<()> {
    nft::delete_table(socket, Table::netdev(&config.table()))
}

fn chain(config: &NetworkConfig, table: Table<'_>, address: Ipv4Addr) -> [Message; 3] {
    let (link, mac) = (config.link(address), MacAddress::of(address).0);
    let frame = |kind: libc::c_int| {
        let kind = u16::try_from(kind).expect("frame types have 16 bits").to_be_bytes();
        [E::FrameSender(Reg(0)), E::Compare(Reg(0), Is::Equal, [&mac[..], &kind].concat())]
    };
    let rule = |kind, load, sender: Vec<u8>| {
        let sent_by = [load, E::Compare(Reg(0), Is::Equal, sender), E::Verdict(NF_ACCEPT)];
        nft::rule(table, &link, &[&frame(kind)[..], &sent_by].concat())
    };
    let octets = address.octets();
    [
        nft::link_chain(table, &link, PRIORITY),
        rule(libc::ETH_P_IP, E::SourceAddress(Reg(0)), octets.to_vec()),
        rule(libc::ETH_P_ARP, E::ArpSender(Reg(0)), [&mac[..], &octets].concat()),
    ]
}
