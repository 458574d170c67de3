//! Addresses and ports of Services: each has one holder, however many are asked for at once.
#![allow(clippy::unwrap_used)] // a test may

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use berth_api::kinds::service::{address_claim, port_claim};
use berth_api::{Reason, Status, kinds};
use berth_cluster::{Cluster, Config};
use berth_json::{Value, json};
use berth_pipeline::{Answer, Body, NodePorts, PatchKind, Request, ServiceCidr, Verb};
use berth_state::{Change, Draft, Key, MemoryStore, State, Store, Stored};

/// More than there is room for.
const WRITERS: usize = 64;

/// A cluster with 14 addresses, of which the API server has one, and 16 node ports.
async fn start(disk: &MemoryStore) -> Arc<Cluster> {
    let config = Config {
        services: ServiceCidr::parse("10.96.0.0/28").unwrap(),
        node_ports: NodePorts(30000..=30015),
        ..Config::new(Arc::new(kinds::catalogue()))
    };
    Cluster::start(disk.clone(), config).await.unwrap()
}

fn request(cluster: &Cluster, verb: Verb, name: &str, body: Body) -> Request {
    common::request(cluster, verb, "services", name, body)
}

fn create(cluster: &Cluster, name: &str, spec: Value) -> Request {
    common::create(cluster, "services", json!({"metadata": {"name": name}, "spec": spec}))
}

fn merge(cluster: &Cluster, name: &str, patch: &Value) -> Request {
    let body = Body::Patch(PatchKind::Merge, patch.to_string().into());
    request(cluster, Verb::Patch, name, body)
}

/// Makes Services of that spec, all at once.
async fn at_once(cluster: &Arc<Cluster>, spec: Value) -> Vec<Result<Answer, Status>> {
    let tasks: Vec<_> = (0..WRITERS)
        .map(|n| {
            let cluster = cluster.clone();
            let request = create(&cluster, &format!("s{n}"), spec.clone());
            tokio::spawn(async move { cluster.apply(request).await })
        })
        .collect();
    let mut results = vec![];
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

/// The field of all Services that were made; every other one was told that there is no room.
fn given(results: &[Result<Answer, Status>], field: impl Fn(&Value) -> Value) -> Vec<String> {
    let mut given = vec![];
    for result in results {
        match result {
            Ok(answer) => given.push(field(&answer.object()).to_string()),
            Err(status) => assert!(status.message.contains("range is full"), "{}", status.message),
        }
    }
    given
}

fn different(given: &[String]) -> usize {
    given.iter().collect::<BTreeSet<_>>().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_made_at_once_get_different_addresses_until_the_range_is_full() {
    let disk = MemoryStore::new();
    let cluster = start(&disk).await;
    let results = at_once(&cluster, json!({"ports": [{"port": 80}]})).await;
    let addresses = given(&results, |service| service["spec"]["clusterIP"].clone());
    assert_eq!((addresses.len(), different(&addresses)), (13, 13));

    // One that goes makes room for one, before a restart and after it.
    let gone = cluster.read(|state| state.list("services", "").nth(3).unwrap().clone());
    let address = gone.field("spec.clusterIP").unwrap();
    cluster.apply(request(&cluster, Verb::Delete, &gone.key.name, Body::None)).await.unwrap();
    cluster.shutdown().await;
    let cluster = start(&disk).await;
    let results = at_once(&cluster, json!({"ports": [{"port": 80}]})).await;
    let made: Vec<&Answer> = results.iter().flatten().collect();
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].object()["spec"]["clusterIP"], *address);
    let wish = create(&cluster, "wish", json!({"clusterIP": address, "ports": [{"port": 80}]}));
    let refused = cluster.apply(wish).await.unwrap_err();
    assert!(refused.message.ends_with("provided IP is already allocated"), "{}", refused.message);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_made_at_once_get_different_node_ports_until_the_range_is_full() {
    let cluster = start(&MemoryStore::new()).await;
    // Their addresses would not be enough for all of them.
    let headed = json!({"type": "NodePort", "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]});
    let results = at_once(&cluster, headed).await;
    let ports: Vec<String> = results
        .iter()
        .flatten()
        .flat_map(|answer| {
            let ports = answer.object()["spec"]["ports"].clone();
            [0, 1].map(|at| ports[at]["nodePort"].to_string())
        })
        .collect();
    given(&results, |_| Value::Null);
    assert_eq!((ports.len(), different(&ports)), (16, 16));
    let udp = json!({"type": "NodePort", "ports": [{"port": 80, "protocol": "UDP"}]});
    cluster.apply(create(&cluster, "udp", udp)).await.expect("a UDP port of one number is another port");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_wish_is_granted_once() {
    let cluster = start(&MemoryStore::new()).await;
    let wish =
        json!({"type": "NodePort", "clusterIP": "10.96.0.9", "ports": [{"port": 80, "nodePort": 30007}]});
    let results = at_once(&cluster, wish).await;
    assert_eq!(results.iter().flatten().count(), 1);
    for status in results.iter().filter_map(|result| result.as_ref().err()) {
        assert_eq!(status.reason, Reason::Invalid, "{status}");
        assert!(status.message.contains("provided IP is already allocated"), "{}", status.message);
        assert!(
            status
                .message
                .contains("spec.ports[0].nodePort: Invalid value: 30007: provided port is already allocated"),
            "{}",
            status.message
        );
    }
}

#[tokio::test]
async fn services_that_are_written_together_share_nothing_either() {
    let cluster = start(&MemoryStore::new()).await;
    let spec = || json!({"type": "NodePort", "ports": [{"port": 80}]});
    let requests = (0..13).map(|n| create(&cluster, &format!("s{n}"), spec())).collect();
    let results = cluster.apply_each(requests).await;
    let addresses = given(&results, |service| service["spec"]["clusterIP"].clone());
    let ports = given(&results, |service| service["spec"]["ports"][0]["nodePort"].clone());
    assert_eq!((addresses.len(), different(&addresses), different(&ports)), (13, 13, 13));
}

#[tokio::test]
async fn what_a_service_no_longer_has_others_may_have() {
    let cluster = start(&MemoryStore::new()).await;
    let holder =
        |claim: &str| cluster.read(|state| state.claimed_by(claim).next().map(|k| k.name.to_string()));
    let spec =
        json!({"type": "NodePort", "clusterIP": "10.96.0.9", "ports": [{"port": 80, "nodePort": 30007}]});
    cluster.apply(create(&cluster, "a", spec.clone())).await.unwrap();
    let (address, port) = (address_claim("10.96.0.9"), port_claim("TCP", 30007));
    assert_eq!((holder(&address).as_deref(), holder(&port).as_deref()), (Some("a"), Some("a")));

    let moved = json!({"spec": {"ports": [{"port": 80, "nodePort": 30008}]}});
    cluster.apply(merge(&cluster, "a", &moved)).await.unwrap();
    assert_eq!((holder(&port), holder(&port_claim("TCP", 30008)).as_deref()), (None, Some("a")));
    let cluster_ip = json!({"spec": {"type": "ClusterIP", "ports": [{"port": 80, "nodePort": null}]}});
    cluster.apply(merge(&cluster, "a", &cluster_ip)).await.unwrap();
    assert_eq!((holder(&address).as_deref(), holder(&port_claim("TCP", 30008))), (Some("a"), None));

    // A balancer without ports of the nodes has those that it names all the same.
    let balancer = json!({
        "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{"port": 80, "nodePort": 30007}],
    });
    cluster.apply(create(&cluster, "b", balancer.clone())).await.unwrap();
    assert_eq!(holder(&port).as_deref(), Some("b"));
    let refused = cluster.apply(create(&cluster, "c", balancer)).await.unwrap_err();
    assert!(refused.message.ends_with("provided port is already allocated"), "{}", refused.message);

    let external = json!({"spec": {"type": "ExternalName", "externalName": "a.example", "clusterIP": null, "clusterIPs": null}});
    cluster.apply(merge(&cluster, "a", &external)).await.unwrap();
    assert_eq!(holder(&address), None);
    cluster
        .apply(create(&cluster, "d", json!({"clusterIP": "10.96.0.9", "ports": [{"port": 80}]})))
        .await
        .unwrap();
}

#[tokio::test]
async fn two_holders_of_an_address_in_old_data_keep_it_and_nobody_else_gets_it() {
    let disk = MemoryStore::new();
    let cluster = start(&disk).await;
    let made = cluster.apply(create(&cluster, "a", json!({"ports": [{"port": 80}]}))).await.unwrap();
    let mut object = made.object().into_owned();
    let address = object["spec"]["clusterIP"].as_str().unwrap().to_owned();
    let revision = cluster.read(State::revision).next();
    cluster.shutdown().await;
    object["metadata"]["name"] = "b".into();
    object["metadata"]["uid"] = "another".into();
    let key = Key::new("services", "default", "b");
    let draft = Draft::encode(cluster.catalogue().named("services").unwrap(), &object, None).unwrap();
    let new = Some(Arc::new(Stored::new(key.clone(), revision, draft)));
    let change = Arc::new(Change { revision, key, old: None, new });
    disk.clone().commit(cluster.read(State::revision), &[change]).await.unwrap();

    let cluster = start(&disk).await;
    assert_eq!(cluster.read(|state| state.claimed_by(&address_claim(&address)).count()), 2);
    for name in ["a", "b"] {
        let labels = json!({"metadata": {"labels": {"x": "y"}}});
        cluster.apply(merge(&cluster, name, &labels)).await.unwrap();
    }
    let wish = || create(&cluster, "c", json!({"clusterIP": address, "ports": [{"port": 80}]}));
    for name in ["a", "b"] {
        assert!(cluster.apply(wish()).await.is_err());
        cluster.apply(request(&cluster, Verb::Delete, name, Body::None)).await.unwrap();
    }
    cluster.apply(wish()).await.unwrap();
}
