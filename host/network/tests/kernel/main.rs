//! The network on the real kernel. Needs root; each test has its own cluster id and range.

#![allow(clippy::unwrap_used)] // A test's helpers are tests too.

mod common;
mod ports;
mod senders;

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::Duration;

use berth_network::{HostPort, Network, NetworkConfig, NetworkError, Protocol, destroy};
use common::{Fixture, Outside, PATIENCE, ask, exists, inside, serve, sh, wait_until};

#[test]
fn pods_reach_each_other_the_node_and_themselves() {
    let fixture = Fixture::new("a2130", "10.213.0.0/24");
    let network = fixture.open(2);
    let (a, b) = (network.attach("pod-a").unwrap(), network.attach("pod-b").unwrap());
    assert_ne!(a.ip, b.ip);
    assert_eq!(network.attach("pod-a").unwrap(), a, "asking twice is safe");

    let _in_b = serve(Some(&b.netns_path), (Ipv4Addr::UNSPECIFIED, 80));
    let on_node = serve(None, (a.gateway, 0));
    let from_a = |to, port| inside(&a.netns_path, move || ask((to, port)));
    assert_eq!(from_a(b.ip, 80), a.ip.to_string(), "pod to pod, with its own address");
    assert_eq!(from_a(a.gateway, on_node.port), a.ip.to_string(), "pod to node");
    assert_eq!(ask((b.ip, 80)), b.gateway.to_string(), "node to pod");
    assert_eq!(inside(&b.netns_path, || ask((Ipv4Addr::LOCALHOST, 80))), "127.0.0.1", "loopback is up");

    let described = inside(&a.netns_path, || sh("ip -o link show eth0; ip -o addr show eth0; ip route"));
    for expected in [a.mac.to_string(), format!("{}/24", a.ip), format!("default via {}", a.gateway)] {
        assert!(described.contains(&expected), "{expected} in {described}");
    }
}

#[test]
fn pods_leave_through_the_node_and_host_ports_lead_in() {
    let fixture = Fixture::new("a2131", "10.213.1.0/24");
    let network = fixture.open(1);
    let outside = Outside::new("a2131", "10.213.101");
    let (a, b) = (network.attach("pod-a").unwrap(), network.attach("pod-b").unwrap());

    let far = serve(Some(&outside.netns), (outside.far, 0));
    let seen = inside(&a.netns_path, move || ask((outside.far, far.port)));
    assert_eq!(seen, outside.near.to_string(), "masqueraded");

    let port = |host_port| HostPort { protocol: Protocol::Tcp, address: None, host_port, pod_port: 80 };
    network.set_host_ports("pod-b", &[port(31801)]).unwrap();
    let _in_b = serve(Some(&b.netns_path), (Ipv4Addr::UNSPECIFIED, 80));
    assert_eq!(
        inside(&outside.netns, move || ask((outside.near, 31801))),
        outside.far.to_string(),
        "from outside"
    );
    assert_eq!(ask((outside.near, 31801)), outside.near.to_string(), "from the node, to its address");
    assert_eq!(ask((Ipv4Addr::LOCALHOST, 31801)), b.gateway.to_string(), "from the node, to loopback");
    let gateway = a.gateway;
    assert_eq!(inside(&a.netns_path, move || ask((gateway, 31801))), gateway.to_string(), "from another pod");
    assert_eq!(
        inside(&b.netns_path, move || ask((gateway, 31801))),
        gateway.to_string(),
        "from the pod itself"
    );

    let taken = network.set_host_ports("pod-a", &[port(31801)]).unwrap_err();
    assert_eq!(taken.to_string(), "host port 31801/TCP is already in use by pod pod-b");
    assert!(matches!(network.set_host_ports("pod-x", &[]), Err(NetworkError::NotAttached { .. })));

    drop(network);
    let network = fixture.open(1);
    assert_eq!(ask((outside.near, 31801)), outside.near.to_string(), "still there after a restart");
    assert!(matches!(
        network.set_host_ports("pod-a", &[port(31801)]),
        Err(NetworkError::HostPortInUse { .. })
    ));
    network.detach("pod-b").unwrap();
    network.set_host_ports("pod-a", &[port(31801)]).unwrap();
}

#[test]
fn a_pod_may_have_more_host_ports_than_one_message_holds() {
    let fixture = Fixture::new("a213f", "10.213.15.0/24");
    let network = fixture.open(1);
    network.attach("pod-a").unwrap();
    let port = |host_port| HostPort { protocol: Protocol::Tcp, address: None, host_port, pod_port: 80 };
    let ports: Vec<_> = (40_000..44_000).map(port).collect();
    network.set_host_ports("pod-a", &ports).unwrap();
    network.detach("pod-a").unwrap();
    network.attach("pod-b").unwrap();
    network.set_host_ports("pod-b", &ports).unwrap();
}

#[test]
fn a_host_port_of_one_address_is_no_other_addresss() {
    let fixture = Fixture::new("a213d", "10.213.13.0/24");
    let network = fixture.open(1);
    let outside = Outside::new("a213d", "10.213.113");
    let (a, b) = (network.attach("pod-a").unwrap(), network.attach("pod-b").unwrap());
    let port = |address, pod_port| HostPort { protocol: Protocol::Tcp, address, host_port: 31802, pod_port };
    network.set_host_ports("pod-a", &[port(Some(outside.near), 80)]).unwrap();
    network.set_host_ports("pod-b", &[port(Some(Ipv4Addr::LOCALHOST), 80)]).unwrap();
    let taken = network.set_host_ports("pod-b", &[port(None, 80)]).unwrap_err();
    assert!(matches!(&taken, NetworkError::HostPortInUse { uid, .. } if uid == "pod-a"), "{taken}");

    // The servers say who asks; which of them it is, the pods' own ports tell.
    let _in_a = serve(Some(&a.netns_path), (Ipv4Addr::UNSPECIFIED, 80));
    let reached = |address: Ipv4Addr| {
        let address = (address, 31802).into();
        std::net::TcpStream::connect_timeout(&address, Duration::from_millis(700)).is_ok()
    };
    assert_eq!(inside(&outside.netns, move || ask((outside.near, 31802))), outside.far.to_string());
    assert_eq!(ask((outside.near, 31802)), outside.near.to_string(), "from the node");
    assert!(!reached(Ipv4Addr::LOCALHOST), "that is pod-b's, where nobody listens");
    let _in_b = serve(Some(&b.netns_path), (Ipv4Addr::UNSPECIFIED, 80));
    assert_eq!(ask((Ipv4Addr::LOCALHOST, 31802)), b.gateway.to_string());
    assert!(!reached(b.gateway), "an address that nobody named");

    drop(network);
    let network = fixture.open(1);
    assert_eq!(ask((Ipv4Addr::LOCALHOST, 31802)), b.gateway.to_string(), "still there after a restart");
    network.detach("pod-b").unwrap();
    assert!(!reached(Ipv4Addr::LOCALHOST));
    assert!(reached(outside.near));
}

#[test]
fn the_nodes_loopback_services_stay_closed_to_pods() {
    let fixture = Fixture::new("a2132", "10.213.2.0/24");
    let network = fixture.open(0);
    let pod = network.attach("pod").unwrap();
    let secret = serve(None, (Ipv4Addr::LOCALHOST, 0));
    // A pod's root can route 127.0.0.0/8 to the bridge; the guard chain has to drop it.
    let port = secret.port;
    let reached = inside(&pod.netns_path, move || {
        sh("sysctl -qw net.ipv4.conf.eth0.route_localnet=1 net.ipv4.conf.all.route_localnet=1");
        sh(
            "ip addr del 127.0.0.1/8 dev lo; ip route flush table local 127.0.0.0/8; ip route add 127.0.0.1/32 via $(ip route | awk '/default/{print $3}') dev eth0",
        );
        let address = (Ipv4Addr::LOCALHOST, port).into();
        std::net::TcpStream::connect_timeout(&address, Duration::from_millis(700)).is_ok()
    });
    assert!(!reached, "a pod reached a service that listens on the node's loopback only");
}

#[test]
fn a_restart_adopts_what_lives_and_clears_what_does_not() {
    let fixture = Fixture::new("a2133", "10.213.3.0/24");
    let network = fixture.open(2);
    let (kept, lost) = (network.attach("kept").unwrap(), network.attach("lost").unwrap());
    let stray = network.attach("stray").unwrap();
    drop(network);

    // As after a crash: a namespace unmounted, a link nobody knows, a bridge deleted.
    nix::mount::umount(&lost.netns_path).unwrap();
    sh("ip link add va2133ffffffff type veth peer name va2133eeeeeeee; ip link del br-a2133");
    let network = fixture.open(2);
    let adoption = network.adopt(&["kept", "lost"].map(str::to_owned).into());
    assert_eq!(adoption.adopted.values().collect::<Vec<_>>(), [&kept]);
    assert_eq!(adoption.lost, ["lost"]);
    assert!(!lost.netns_path.exists());
    assert!(!exists("va2133ffffffff"), "{}", sh("ip link show va2133ffffffff"));

    assert_eq!(network.gc(&BTreeSet::from(["kept".to_owned()])).unwrap(), ["stray"]);
    assert!(!stray.netns_path.exists() && network.get("stray").is_none());
    let _server = serve(Some(&kept.netns_path), (Ipv4Addr::UNSPECIFIED, 80));
    assert_eq!(ask((kept.ip, 80)), kept.gateway.to_string(), "its link is on the new bridge");
    let next = network.attach("next").unwrap();
    assert!(![kept.ip, lost.ip, stray.ip].contains(&next.ip), "addresses rest: {}", next.ip);
}

/// Names the data directory of the process that is to be killed: this test binary, started again.
const CHILD_DIR: &str = "BERTH_NETWORK_TEST_CHILD_DIR";

#[test]
fn a_killed_process_leaves_its_pods_and_nothing_else() {
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        let (cluster_id, pod_cidr) = ("a213c".parse().unwrap(), "10.213.12.0/24".parse().unwrap());
        let config = NetworkConfig { cluster_id, pod_cidr, api: None, data_dir: dir.into(), spare_count: 3 };
        let network = Network::open(config).unwrap();
        network.attach("kept").unwrap();
        std::thread::park_timeout(PATIENCE); // Until it is killed.
        return;
    }
    let fixture = Fixture::new("a213c", "10.213.12.0/24");
    let links = || sh("ls /sys/class/net").lines().filter(|name| name.starts_with("va213c")).count();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_process_leaves_its_pods_and_nothing_else"])
        .env(CHILD_DIR, fixture.dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mounted =
        || fs::read_to_string("/proc/self/mounts").unwrap().contains(fixture.dir.path().to_str().unwrap());
    wait_until(|| mounted() && links() == 4, "a pod's link and three spares");
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until(|| links() == 1, "the kernel removes the spares, and only them");

    let network = fixture.open(0);
    let kept = network.get("kept").unwrap();
    let _server = serve(Some(&kept.netns_path), (Ipv4Addr::UNSPECIFIED, 80));
    assert_eq!(ask((kept.ip, 80)), kept.gateway.to_string());
}

#[test]
fn ranges_of_others_are_refused_with_the_flags_name() {
    let fixture = Fixture::new("a2134", "10.213.4.0/24");
    let _network = fixture.open(0);
    let other = Fixture::new("b2134", "10.213.4.128/25");
    let error = Network::open(other.config(0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "pod range 10.213.4.128/25 overlaps 10.213.4.0/24 of link br-a2134; choose a free range with --pod-cidr"
    );
    assert!(!exists("br-b2134"), "nothing was made");
    let beside = Fixture::new("c2134", "10.213.5.0/24");
    beside.open(0);
}

#[test]
fn a_changed_range_is_refused_while_pods_hold_addresses() {
    let mut fixture = Fixture::new("a2136", "10.213.6.0/24");
    let network = fixture.open(0);
    network.attach("pod").unwrap();
    drop(network);
    fixture.pod_cidr = "10.213.7.0/24".parse().unwrap();
    let error = Network::open(fixture.config(0)).unwrap_err();
    assert!(matches!(&error, NetworkError::CidrChanged { uid, .. } if uid == "pod"), "{error}");
    fixture.pod_cidr = "10.213.6.0/24".parse().unwrap();
    fixture.open(0).detach("pod").unwrap();
    fixture.pod_cidr = "10.213.7.0/24".parse().unwrap();
    let moved = fixture.open(0).attach("pod").unwrap();
    assert_eq!(moved.gateway, Ipv4Addr::new(10, 213, 7, 1));
    assert!(!sh("ip -o addr show br-a2136").contains("10.213.6.1"), "the bridge has one address");
}

#[test]
fn an_exhausted_range_says_so_and_recovers() {
    let fixture = Fixture::new("a2138", "10.213.8.0/29");
    let network = fixture.open(3);
    for n in 0..5 {
        network.attach(&format!("pod-{n}")).unwrap();
    }
    let error = network.attach("pod-5").unwrap_err();
    assert_eq!(
        error.to_string(),
        "no free address in pod range 10.213.8.0/29: 5 are in use; choose a larger range with --pod-cidr"
    );
    network.detach("pod-3").unwrap();
    network.attach("pod-5").unwrap();
}

#[test]
fn attaching_and_detaching_at_once_from_many_threads_is_safe() {
    let fixture = Fixture::new("a2139", "10.213.9.0/24");
    let network = fixture.open(3);
    let ips: BTreeSet<Ipv4Addr> = std::thread::scope(|scope| {
        let attach = |n: usize| {
            let network = &network;
            scope.spawn(move || {
                let ip = network.attach(&format!("pod-{}", n / 2)).unwrap().ip;
                if n.is_multiple_of(2) {
                    network.attach(&format!("short-{n}")).unwrap();
                    network.detach(&format!("short-{n}")).unwrap();
                }
                ip
            })
        };
        let threads: Vec<_> = (0..16).map(attach).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(ips.len(), 8, "two threads asked for each pod and got the same network");
}

#[test]
fn destroy_leaves_nothing() {
    let fixture = Fixture::new("a213a", "10.213.10.0/24");
    let network = fixture.open(3);
    for n in 0..3 {
        network.attach(&format!("pod-{n}")).unwrap();
    }
    network.detach("pod-1").unwrap();
    drop(network);
    destroy(&fixture.config(0)).unwrap();
    fixture.assert_nothing_left();
    assert_eq!(fs::read_dir(fixture.dir.path()).unwrap().count(), 0);
    destroy(&fixture.config(0)).unwrap();
}

#[test]
fn a_dropping_forward_chain_of_docker_lets_pods_through() {
    // In a namespace of its own: the machine's real firewall is nobody's playground.
    let node = Outside::new("a213b", "10.213.111");
    let fixture = Fixture::new("a213b", "10.213.11.0/24");
    let (config, netns) = (fixture.config(0), node.netns.clone());
    let (far, near) = (node.near, node.far);
    let passed = inside(&netns, move || {
        sh(
            "nft 'add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'",
        );
        sh(&format!("ip route add default via {far}"));
        let network = Network::open(config.clone()).unwrap();
        let listed = sh("nft list chain ip filter FORWARD");
        assert!(
            listed.contains("iifname \"br-a213b\"") && listed.contains("oifname \"br-a213b\""),
            "{listed}"
        );
        let pod = network.attach("pod").unwrap();
        let server = serve(None, (near, 0));
        let seen = inside(&pod.netns_path, move || ask((near, server.port)));
        drop(network);
        destroy(&config).unwrap();
        assert!(!sh("nft list chain ip filter FORWARD").contains("br-a213b"), "the rules are gone again");
        (seen, pod.ip.to_string())
    });
    assert_eq!(passed.0, passed.1);
}
