//! A running cluster, and requests to it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // each test file uses a part of it; a test may unwrap

use std::sync::Arc;

use berth_api::{Timestamp, kinds};
use berth_cluster::{Cluster, Config};
use berth_json::Value;
use berth_pipeline::{Body, Identity, Options, Request, ServiceCidr, Verb};
use berth_state::MemoryStore;
use berth_tasks::{Clock, Executor, Tokio};

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000)
    }
}

pub fn config() -> Config {
    Config {
        executor: Executor::new(Arc::new(Tokio), Arc::new(Noon)),
        services: ServiceCidr::parse("10.96.0.0/24").unwrap(),
        ..Config::new(Arc::new(kinds::catalogue()))
    }
}

pub async fn start(disk: &MemoryStore) -> Arc<Cluster> {
    Cluster::start(disk.clone(), config()).await.unwrap()
}

pub fn request(cluster: &Cluster, verb: Verb, resource: &str, name: &str, body: Body) -> Request {
    let resource = cluster.catalogue().named(resource).unwrap().clone();
    Request {
        identity: Identity::component("test"),
        verb,
        resource,
        subresource: "",
        namespace: "default".to_owned(),
        name: name.to_owned(),
        body,
        options: Options::default(),
    }
}

pub fn create(cluster: &Cluster, resource: &str, object: Value) -> Request {
    request(cluster, Verb::Create, resource, "", Body::Object(object))
}
