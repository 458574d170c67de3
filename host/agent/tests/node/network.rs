//! How pods are reached from their node, and the node's own network.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::json;

use crate::containers::shell;
use crate::world::{Pod, World, until};

/// A port of this machine that nobody uses at this moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn reach(address: Ipv4Addr, port: u16) -> Result<(), String> {
    let connected = TcpStream::connect_timeout(&(address, port).into(), Duration::from_secs(1));
    connected.map(drop).map_err(|error| format!("{address}:{port}: {error}"))
}

pub(crate) async fn host_ports_lead_to_the_pod_as_long_as_it_is_there() {
    let world = World::new().await;
    let (port, own) = (free_port(), free_port());
    let mut container = shell("c", "while true; do nc -l -p 80 -e true; done");
    container["ports"] = json!([{ "containerPort": 80, "hostPort": port }, { "containerPort": 80, "hostPort": own, "hostIP": "127.0.0.1" }]);
    container["readinessProbe"] = json!({ "grpc": { "port": 81 }, "periodSeconds": 1 });
    let pod = world.run("published", json!({ "containers": [container] })).await;
    pod.wait_event("Readiness probe failed: error: failed to connect service at").await;
    let status = pod.wait("runs", |status| status["phase"] == "Running").await;
    // The bridge's address is one of the node's, too.
    let [a, b, c, _] = Pod::ip(&status).octets();
    for address in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(a, b, c, 1)] {
        until("it is reached", async || reach(address, port)).await;
    }
    until("own", async || reach(Ipv4Addr::LOCALHOST, own)).await;
    reach(Ipv4Addr::new(a, b, c, 1), own).unwrap_err();
    pod.delete().await;
    reach(Ipv4Addr::LOCALHOST, port).unwrap_err();
    let mut container = shell("c", "sleep 1000");
    container["ports"] = json!([{ "containerPort": 80, "hostPort": own, "hostIP": "::1" }]);
    let pod = world.run("sixth", json!({ "containers": [container] })).await;
    pod.wait_event("FailedCreatePodSandBox: Failed to create pod sandbox: hostPort").await;
    pod.delete().await;
}

pub(crate) async fn a_pod_may_use_the_nodes_network() {
    let world = World::new().await;
    let port = free_port();
    let container = shell("c", &format!("while true; do nc -l -p {port} -e true; done"));
    let pod = world.run("hosted", json!({ "hostNetwork": true, "containers": [container] })).await;
    let status = pod.wait_ready().await;
    assert_eq!(status["podIP"], status["hostIP"]);
    until("it is reached", async || reach(Ipv4Addr::LOCALHOST, port)).await;
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(pod.exec("c", &["hostname"]).await, (0, name));
    pod.delete().await;
    assert!(!world.events("hosted").await.iter().any(|event| event.contains("MissingClusterDNS")));
}
