//! Host ports: whose they are, and what happens when somebody else changes them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};

use berth_network::{HostPort, Network, NetworkConfig, NetworkError, Protocol, destroy};

use crate::common::{Fixture, Outside, ask, inside, serve, sh};

fn port(protocol: Protocol, host_port: u16) -> HostPort {
    HostPort { protocol, address: None, host_port, pod_port: 80 }
}

#[test]
fn a_port_that_a_program_has_is_refused_with_the_programs_name() {
    let fixture = Fixture::new("a2150", "10.213.32.0/24");
    let network = fixture.open(0);
    network.attach("pod").unwrap();
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let tcp = listener.local_addr().unwrap().port();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let udp = socket.local_addr().unwrap().port();
    let both_families = TcpListener::bind("[::]:0").unwrap();
    let tcp6 = both_families.local_addr().unwrap().port();
    for (protocol, number) in [(Protocol::Tcp, tcp), (Protocol::Udp, udp), (Protocol::Tcp, tcp6)] {
        let refused = network.set_host_ports("pod", &[port(protocol, number)]).unwrap_err().to_string();
        assert!(
            refused.starts_with(&format!("host port {number}/{protocol} is already in use by ")),
            "{refused}"
        );
        assert!(refused.contains(&format!("(process {})", std::process::id())), "{refused}");
    }
    network.set_host_ports("pod", &[port(Protocol::Udp, tcp), port(Protocol::Tcp, udp)]).unwrap();
    drop(listener);
    network.set_host_ports("pod", &[port(Protocol::Tcp, tcp)]).unwrap();
}

#[test]
fn a_connection_that_began_at_a_port_does_not_keep_a_pod_from_it() {
    let fixture = Fixture::new("a2155", "10.213.37.0/24");
    let network = fixture.open(0);
    let pod = network.attach("pod").unwrap();
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    let number = client.local_addr().unwrap().port();
    network.set_host_ports("pod", &[port(Protocol::Tcp, number)]).unwrap();
    let _in_pod = serve(Some(&pod.netns_path), (Ipv4Addr::UNSPECIFIED, 80));
    assert_eq!(ask((Ipv4Addr::LOCALHOST, number)), pod.gateway.to_string());
    let mut answer = [0; 5];
    server.accept().unwrap().0.write_all(b"still").unwrap();
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"still", "it goes on");
}

#[test]
fn a_program_cannot_take_a_pods_port() {
    let fixture = Fixture::new("a2151", "10.213.33.0/24");
    let network = fixture.open(0);
    network.attach("pod").unwrap();
    // A number that was free a moment ago.
    let number = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap().local_addr().unwrap().port();
    network.set_host_ports("pod", &[port(Protocol::Tcp, number), port(Protocol::Udp, number)]).unwrap();
    let refused = TcpListener::bind((Ipv4Addr::LOCALHOST, number)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::AddrInUse);
    assert!(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, number)).is_err());
    network.detach("pod").unwrap();
    TcpListener::bind((Ipv4Addr::LOCALHOST, number)).unwrap();
}

#[test]
fn a_port_that_a_program_took_while_berth_did_not_run_stays_the_programs() {
    let fixture = Fixture::new("a2152", "10.213.34.0/24");
    let network = fixture.open(0);
    let pod = network.attach("pod").unwrap();
    let number = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap().local_addr().unwrap().port();
    network.set_host_ports("pod", &[port(Protocol::Tcp, number)]).unwrap();
    let _in_pod = serve(Some(&pod.netns_path), (Ipv4Addr::UNSPECIFIED, 80));
    assert_eq!(ask((Ipv4Addr::LOCALHOST, number)), pod.gateway.to_string());
    drop(network);
    let _program = serve(None, (Ipv4Addr::LOCALHOST, number));
    let network = fixture.open(0);
    assert_eq!(ask((Ipv4Addr::LOCALHOST, number)), "127.0.0.1", "the program answers");
    let refused = network.set_host_ports("pod", &[port(Protocol::Tcp, number)]).unwrap_err();
    assert!(matches!(refused, NetworkError::HostPortTaken { .. }), "{refused}");
    network.detach("pod").unwrap();
}

#[test]
fn rules_that_somebody_removed_do_not_keep_a_pod_from_leaving_and_come_back_for_the_others() {
    // In a namespace of its own: here the whole machine's rules are flushed.
    let node = Outside::new("a2153", "10.213.153");
    let fixture = Fixture::new("a2153", "10.213.35.0/24");
    let (config, netns) = (fixture.config(0), node.netns.clone());
    inside(&netns, move || {
        sh("ip link set lo up");
        let network = Network::open(config.clone()).unwrap();
        let removals: [&str; 3] = [
            "nft flush map ip berth-a2153 hostports",
            "nft flush ruleset",
            "nft delete element ip berth-a2153 hostports { tcp . 31855 }",
        ];
        let stays = network.attach("stays").unwrap();
        network.set_host_ports("stays", &[port(Protocol::Tcp, 31854)]).unwrap();
        let _server = serve(Some(&stays.netns_path), (Ipv4Addr::UNSPECIFIED, 80));
        for removal in removals {
            network.attach("goes").unwrap();
            network.set_host_ports("goes", &[port(Protocol::Tcp, 31855)]).unwrap();
            sh(removal);
            network.detach("goes").unwrap_or_else(|error| panic!("{removal}: {error}"));
            assert_eq!(ask((Ipv4Addr::LOCALHOST, 31854)), stays.gateway.to_string(), "{removal}");
        }
        drop(network);
        destroy(&config).unwrap();
    });
}

#[test]
fn no_rule_takes_the_api_servers_port() {
    let fixture = Fixture::new("a2154", "10.213.36.0/24");
    let outside = Outside::new("a2154", "10.213.154");
    let api = serve(None, (outside.near, 0)).port;
    let config = NetworkConfig { api: Some(SocketAddrV4::new(outside.near, api)), ..fixture.config(0) };
    let network = Network::open(config).unwrap();
    let pod = network.attach("pod").unwrap();
    let everywhere = port(Protocol::Tcp, api);
    let refused = network.set_host_ports("pod", &[everywhere]).unwrap_err().to_string();
    let expected = format!(
        "host port {api}/TCP is already in use by this cluster's API server; choose another hostPort, or free that one"
    );
    assert_eq!(refused, expected);
    // What somebody writes into the map by hand changes nothing either.
    sh(&format!("nft add element ip berth-a2154 hostports {{ tcp . {api} : {} . 80 }}", pod.ip));
    assert_eq!(ask((outside.near, api)), outside.near.to_string(), "from the node");
    let near = outside.near;
    let seen = inside(&outside.netns, move || ask((near, api)));
    assert_eq!(seen, outside.far.to_string(), "from outside");
    // On another address it is a port like any other.
    network.set_host_ports("pod", &[HostPort { address: Some(Ipv4Addr::LOCALHOST), ..everywhere }]).unwrap();
}
