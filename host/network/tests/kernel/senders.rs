//! What a pod that is its own root may put on the bridge.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use berth_network::{MacAddress, Network, NetworkConfig, destroy};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike, bind, recv, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use crate::common::{Fixture, Outside, PATIENCE, ask, inside, serve, sh};

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
/// A type for experiments (IEEE 802), so that frames of these tests are known among others.
const EXPERIMENT: u16 = 0x88b5;

/// All frames of a namespace's `eth0`.
fn frames(netns: &Path) -> OwnedFd {
    inside(netns, || {
        let index = nix::net::if_::if_nametoindex("eth0").unwrap().cast_signed();
        let all = SockProtocol::EthAll;
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, all).unwrap();
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
            sll_ifindex: index,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let length = size_of_val(&address) as libc::socklen_t;
        // SAFETY: a whole sockaddr_ll and its length.
        let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) }.unwrap();
        bind(socket.as_raw_fd(), &address).unwrap();
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(PATIENCE.as_secs() as i64, 0)).unwrap();
        socket
    })
}

/// A frame to everybody.
fn frame(from: MacAddress, kind: u16, body: &[u8]) -> Vec<u8> {
    [&[0xff; 6][..], &from.0, &kind.to_be_bytes(), body].concat()
}

/// "`ip` is at `mac`."
fn arp(mac: MacAddress, ip: Ipv4Addr) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, 2];
    [&head[..], &mac.0, &ip.octets(), &[0xff; 6], &[255; 4]].concat()
}

/// A DHCP server's packet, without a body; nobody takes it.
fn ip(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let head = [&[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0][..], &from.octets(), &to.octets()].concat();
    let sum: u32 = head.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    // The ones' complement of the ones' complement sum (RFC 1071).
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    let mut packet = [&head[..], &[0, 67, 0, 68, 0, 8, 0, 0]].concat();
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// The test's frames that `witness` sees until `last`, in their order.
fn seen(witness: &OwnedFd, last: &[u8]) -> Vec<Vec<u8>> {
    let mut seen = Vec::new();
    let mut buffer = [0; 2048];
    loop {
        let length = recv(witness.as_raw_fd(), &mut buffer, MsgFlags::empty()).expect("the last frame came");
        seen.push(buffer[..length].to_vec());
        if buffer[..length] == *last {
            return seen;
        }
    }
}

#[test]
fn a_pod_speaks_for_itself_alone() {
    let fixture = Fixture::new("a2160", "10.213.40.0/24");
    let network = fixture.open(2);
    let [evil, good, witness] = ["evil", "good", "witness"].map(|name| network.attach(name).unwrap());
    let gateway = MacAddress::of(evil.gateway);
    let sender = frames(&evil.netns_path);
    let watching = frames(&witness.netns_path);
    let forged = [
        ("answers for the gateway", frame(evil.mac, ARP, &arp(evil.mac, evil.gateway))),
        ("answers for another pod", frame(evil.mac, ARP, &arp(evil.mac, good.ip))),
        ("lets another answer", frame(evil.mac, ARP, &arp(good.mac, good.ip))),
        ("gives its address away", frame(evil.mac, ARP, &arp(good.mac, evil.ip))),
        ("answers with another's hardware address", frame(good.mac, ARP, &arp(good.mac, good.ip))),
        ("has another's hardware address", frame(good.mac, IPV4, &ip(evil.ip, witness.ip))),
        ("has the gateway's hardware address", frame(gateway, IPV4, &ip(evil.gateway, witness.ip))),
        ("has another's address", frame(evil.mac, IPV4, &ip(good.ip, witness.ip))),
        ("has a foreign address", frame(evil.mac, IPV4, &ip([192, 0, 2, 1].into(), witness.ip))),
        ("offers addresses without having one", frame(evil.mac, IPV4, &ip([0; 4].into(), [255; 4].into()))),
        ("advertises an IPv6 router", frame(evil.mac, IPV6, &[0x60, 0, 0, 0, 0, 8, 58, 255])),
        ("hides in a VLAN", frame(evil.mac, VLAN, &[&[0, 5, 8, 6][..], &arp(evil.mac, good.ip)].concat())),
        ("speaks to the bridge", frame(evil.mac, EXPERIMENT, &[])),
    ];
    let honest = [
        frame(evil.mac, ARP, &arp(evil.mac, evil.ip)),
        frame(evil.mac, IPV4, &ip(evil.ip, [10, 213, 40, 255].into())),
    ];
    let all = forged.iter().map(|(_, frame)| frame).chain(&honest);
    for frame in all {
        assert_eq!(send(sender.as_raw_fd(), frame, MsgFlags::empty()).unwrap(), frame.len());
    }
    let seen = seen(&watching, &honest[1]);
    assert!(seen.contains(&honest[0]), "what is true is heard");
    for (what, frame) in forged {
        assert!(!seen.contains(&frame), "a pod {what}, and another hears it");
    }
}

#[test]
fn who_may_speak_is_held_again_after_a_restart_and_forgotten_with_the_pod() {
    let fixture = Fixture::new("a2161", "10.213.41.0/24");
    let network = fixture.open(0);
    let (evil, witness) = (network.attach("evil").unwrap(), network.attach("witness").unwrap());
    let chains = || sh("nft list table netdev berth-a2161").matches("chain").count();
    assert_eq!(chains(), 2);
    drop(network);
    sh("nft delete table netdev berth-a2161");
    let network = fixture.open(0);
    let (sender, watching) = (frames(&evil.netns_path), frames(&witness.netns_path));
    let forged = frame(evil.mac, ARP, &arp(evil.mac, evil.gateway));
    let honest = frame(evil.mac, ARP, &arp(evil.mac, evil.ip));
    for frame in [&forged, &honest] {
        send(sender.as_raw_fd(), frame, MsgFlags::empty()).unwrap();
    }
    assert!(!seen(&watching, &honest).contains(&forged));
    // Rules that are gone by hand keep no pod from coming or going.
    sh("nft delete table netdev berth-a2161");
    network.detach("evil").unwrap();
    let next = network.attach("next").unwrap();
    crate::common::wait_until(|| chains() == 1, "the chain of the pod that is there");
    let _server = serve(Some(&next.netns_path), (Ipv4Addr::UNSPECIFIED, 80));
    assert_eq!(ask((next.ip, 80)), next.gateway.to_string());
}

#[test]
fn a_link_of_an_address_that_was_used_before_is_held_once() {
    let node = Outside::new("a2162", "10.213.162");
    let fixture = Fixture::new("a2162", "10.213.42.0/29");
    let (config, netns): (NetworkConfig, PathBuf) = (fixture.config(0), node.netns.clone());
    inside(&netns, move || {
        let network = Network::open(config.clone()).unwrap();
        for round in 0..12 {
            // Five addresses: each comes again.
            network.attach(&format!("pod-{round}")).unwrap();
            let rules = sh("nft list table netdev berth-a2162").matches("accept").count();
            assert!(rules >= 2 && rules.is_multiple_of(2) && rules <= 10, "{rules} rules in round {round}");
            network.detach(&format!("pod-{round}")).unwrap();
        }
        let empty = || !sh("nft list table netdev berth-a2162").contains("chain");
        crate::common::wait_until(empty, "nothing is left of them");
        drop(network);
        destroy(&config).unwrap();
    });
}
