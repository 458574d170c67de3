//! Measures durable writes: `cargo run --release -p berth-cluster --example writes [DIRECTORY]`.
//!
//! What planning a create costs alone, ConfigMap creates (1 KiB) from some clients, each acknowledged on disk, and pods
//! bound in batches.
#![allow(clippy::unwrap_used)] // a measurement that goes wrong may stop

use std::sync::Arc;
use std::time::{Duration, Instant};

use berth_api::{Schema, kinds};
use berth_cluster::{Atomicity, Cluster, Config, IdSource, SystemIds};
use berth_json::{Value, json};
use berth_pipeline::{
    Binding, Body, Env, Identity, NoTokens, NodePorts, Options, Request, RoleAuthorizer, ServiceCidr, Verb,
    plan_bindings,
};
use berth_state::Key;
use berth_store::SqliteStore;
use berth_tasks::{Clock, SystemClock};

const SECONDS: u64 = 3;
const PLANS: u32 = 20_000;
const PODS: usize = 20_000;
const BINDINGS_PER_BATCH: usize = 512;

#[tokio::main]
async fn main() {
    let base = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let directory = tempfile::tempdir_in(base).unwrap();
    let path = directory.path().join("state.db");
    let store = SqliteStore::open(path.to_str().unwrap()).await.unwrap();
    let cluster = Cluster::start(store, Config::new(Arc::new(kinds::catalogue()))).await.unwrap();
    cluster
        .apply(create(&cluster, "serviceaccounts", &json!({"metadata": {"name": "default"}})))
        .await
        .unwrap();
    measure_planning(&cluster);
    for clients in [1, 8, 64] {
        measure_creates(&cluster, clients).await;
    }
    measure_bindings(&cluster).await;
    cluster.shutdown().await;
}

fn create(cluster: &Cluster, resource: &str, object: &Value) -> Request {
    let bytes = object.to_string().into();
    Request {
        identity: Identity::component("bench"),
        verb: Verb::Create,
        resource: cluster.catalogue().named(resource).unwrap().clone(),
        subresource: "",
        namespace: "default".to_owned(),
        name: String::new(),
        body: Body::Encoded { media_type: "application/json".to_owned(), bytes },
        options: Options { field_manager: "bench".to_owned(), ..Options::default() },
    }
}

fn config_map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"k": "x".repeat(1024)}})
}

fn pod(name: &str) -> Value {
    let resources = json!({"requests": {"cpu": "100m", "memory": "128Mi"}});
    let spec = json!({"containers": [{"name": "c", "image": "app:1", "resources": resources}]});
    json!({"metadata": {"name": name, "labels": {"app": "a"}}, "spec": spec})
}

/// As the scheduler tells of a pod that it placed.
fn event(name: &str) -> Value {
    let now = SystemClock.now().rfc3339();
    let about = json!({"kind": "Pod", "apiVersion": "v1", "name": name, "namespace": "default", "uid": "u"});
    json!({
        "metadata": {"name": name, "namespace": "default"}, "involvedObject": about, "reason": "Scheduled",
        "message": "Successfully assigned default/p to node-1", "type": "Normal",
        "source": {"component": "default-scheduler"}, "reportingComponent": "default-scheduler",
        "reportingInstance": "", "firstTimestamp": now, "lastTimestamp": now, "count": 1,
    })
}

fn measure_planning(cluster: &Cluster) {
    for (resource, object) in [("configmaps", config_map("a")), ("pods", pod("a")), ("events", event("a"))] {
        let request = create(cluster, resource, &object);
        let start = Instant::now();
        for _ in 0..PLANS {
            let plan = cluster.read(|state| {
                let mut env = Env {
                    catalogue: &cluster.catalogue(),
                    schema: Schema::builtin(),
                    authorizer: &RoleAuthorizer,
                    admission: &[],
                    tokens: &NoTokens,
                    now: cluster.now(),
                    ids: &mut (&SystemIds as &dyn IdSource),
                    services: ServiceCidr::parse("10.96.0.0/16").unwrap(),
                    node_ports: &NodePorts::default(),
                };
                berth_pipeline::plan_at_once(state, &mut env, &request)
            });
            assert!(plan.is_ok());
        }
        println!(
            "{resource}: a create is planned in {:.1} µs",
            start.elapsed().as_secs_f64() * 1e6 / f64::from(PLANS)
        );
    }
}

async fn measure_creates(cluster: &Arc<Cluster>, clients: usize) {
    let start = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let cluster = cluster.clone();
            tokio::spawn(async move {
                let mut times = vec![];
                while start.elapsed() < Duration::from_secs(SECONDS) {
                    let name = format!("c{clients}-{client}-{}", times.len());
                    let begin = Instant::now();
                    cluster.apply(create(&cluster, "configmaps", &config_map(&name))).await.unwrap();
                    times.push(begin.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = vec![];
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_micros();
    println!("{clients} clients: {rate:.0} creates/s, p50 {} µs, p99 {} µs", at(0.5), at(0.99));
}

async fn measure_bindings(cluster: &Arc<Cluster>) {
    let start = Instant::now();
    let makers: Vec<_> = (0..64)
        .map(|maker| {
            let cluster = cluster.clone();
            tokio::spawn(async move {
                for n in (maker..PODS).step_by(64) {
                    cluster.apply(create(&cluster, "pods", &pod(&format!("p{n}")))).await.unwrap();
                }
            })
        })
        .collect();
    for maker in makers {
        maker.await.unwrap();
    }
    println!("{PODS} pods made: {:.0}/s", PODS as f64 / start.elapsed().as_secs_f64());

    let bindings: Vec<Binding> = cluster.read(|state| {
        let pods = state.list("pods", "").enumerate();
        pods.map(|(n, pod)| Binding {
            pod: Key::clone(&pod.key),
            uid: pod.meta().uid.clone(),
            node: format!("node-{}", n % 5000).into(),
        })
        .collect()
    });
    let start = Instant::now();
    let planned = cluster.read(|state| plan_bindings(state, cluster.now(), &bindings));
    assert!(planned.iter().all(Result::is_ok));
    println!("bindings planned: {:.0}/s on one core", PODS as f64 / start.elapsed().as_secs_f64());
    drop(planned);

    let start = Instant::now();
    for batch in bindings.chunks(BINDINGS_PER_BATCH) {
        let results = cluster.commit_bindings(batch.to_vec(), Atomicity::Each).await;
        assert!(results.iter().all(Result::is_ok));
    }
    println!(
        "bindings persisted: {:.0}/s in batches of {BINDINGS_PER_BATCH}",
        PODS as f64 / start.elapsed().as_secs_f64()
    );
}
