//! What much of everything does to the rest: lists, watchers, objects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use berth_client::{ApiResource, Body, HttpVersions, HttpsTransport, ListOptions, Transport};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Options;
use crate::cluster::{Agent, Cluster};
use crate::idle::pss_mib;
use crate::stats::{Samples, ms};
use crate::table::{Row, Table};
use crate::writes::{config_map, create, many};

/// Pods in the lists.
const LISTED_PODS: usize = 10_000;
/// Clients that list them without pause.
const LISTERS: usize = 4;
/// Writes beside them, and how far apart: enough for a 99th percentile, in ten seconds.
const WRITES: usize = 500;
const WRITE_INTERVAL: Duration = Duration::from_millis(20);

/// Watchers that each follow the pods of a node of their own.
const WATCHERS: usize = 5_000;
/// Watches on one connection: the server takes 250 requests on one.
const WATCHES_EACH: usize = 200;
/// For all events to arrive.
const EVENTS_DEADLINE: Duration = Duration::from_secs(30);

/// Objects of a large cluster.
const OBJECTS: usize = 100_000;
/// Clients that make many objects, so that each transaction takes many of them.
const FILLERS: usize = 64;
/// Freed memory goes back in about this time.
const SETTLE: Duration = Duration::from_secs(12);

/// Writes while others list, beside writes while nobody does.
pub(crate) async fn beside_lists(options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let cluster = Cluster::start(options, Agent::None).await?;
    fill(&cluster, LISTED_PODS).await?;
    let alone = paced_writes(&cluster, 0).await?;
    let (stop, lists) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut listers = JoinSet::new();
    for _ in 0..LISTERS {
        let transport = HttpsTransport::new(&cluster.config()?)?;
        let (stop, lists) = (stop.clone(), lists.clone());
        listers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let mut body = get(&transport, ApiResource::PODS.path("default")).await?;
                while let Some(frame) = body.frame().await {
                    let Ok(_) = frame else { bail!("a list broke off") };
                }
                lists.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    let beside = paced_writes(&cluster, WRITES).await?;
    stop.store(true, Ordering::Relaxed);
    while let Some(done) = listers.join_next().await {
        done??;
    }
    let lists = lists.load(Ordering::Relaxed);
    let [p99, p99_alone] = [&beside, &alone].map(|samples| samples.percentile(99));
    let row = Row::new(
        format!("p99 of a write beside {LISTERS} clients that list {LISTED_PODS} pods"),
        format!("{} (p50 {}, {lists} lists)", ms(p99), ms(beside.p50())),
        "5 × alone",
    );
    let peer = format!("alone p99 {} (p50 {})", ms(p99_alone), ms(alone.p50()));
    table.add(row.beside(peer, p99.as_secs_f64() / p99_alone.as_secs_f64()));
    Ok(())
}

async fn paced_writes(cluster: &Cluster, first: usize) -> anyhow::Result<Samples> {
    let transport = HttpsTransport::new(&cluster.config()?)?;
    let path = ApiResource::CONFIG_MAPS.path("default");
    let mut interval = tokio::time::interval(WRITE_INTERVAL);
    let mut samples = Samples::default();
    for number in first..first + WRITES {
        interval.tick().await;
        let begun = Instant::now();
        create(&transport, &path, &config_map(number)).await?;
        samples.extend([begun.elapsed()]);
    }
    Ok(samples)
}

/// Creates of pods on as many nodes as there are watchers, beside the same with one watcher.
pub(crate) async fn beside_watchers(options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let one = creates_beside(options, 1).await?;
    let all = creates_beside(options, WATCHERS).await?;
    let row = Row::new(
        format!("pod creates/s beside {WATCHERS} watchers, each of one node's pods"),
        format!("{all:.0}/s"),
        "0.8 × one watcher",
    );
    table.add(row.beside(format!("one watcher {one:.0}/s"), all / one));
    Ok(())
}

async fn creates_beside(options: &Options, watchers: usize) -> anyhow::Result<f64> {
    let cluster = Cluster::start(options, Agent::None).await?;
    let all = ListOptions::default();
    let from = cluster.client()?.list(ApiResource::PODS, "", &all).await?.resource_version;
    let seen = Arc::new(AtomicUsize::new(0));
    let mut following = JoinSet::new();
    let mut transports = Vec::new();
    for number in 0..watchers {
        if number % WATCHES_EACH == 0 {
            transports.push(HttpsTransport::new(&cluster.config()?)?);
        }
        let Some(transport) = transports.last() else { continue };
        let selector = format!("fieldSelector=spec.nodeName%3D{}", node(number));
        let path = format!("{}?watch=true&resourceVersion={from}&{selector}", ApiResource::PODS.path(""));
        let (mut events, seen) = (get(transport, path).await?, seen.clone());
        following.spawn(async move {
            while let Some(Ok(frame)) = events.frame().await {
                let bytes = frame.data_ref().map_or(&[][..], |bytes| bytes);
                seen.fetch_add(bytes.iter().filter(|byte| **byte == b'\n').count(), Ordering::Relaxed);
            }
        });
    }
    let path = ApiResource::PODS.path("default");
    let (rate, samples) = many(&cluster, HttpVersions::Http1, &path, bound_pod).await?;
    // Each round over the nodes is an event for each watcher; the last one may not be whole.
    let expected = samples.len() / WATCHERS * watchers;
    let begun = Instant::now();
    while seen.load(Ordering::Relaxed) < expected {
        let arrived = seen.load(Ordering::Relaxed);
        ensure!(begun.elapsed() < EVENTS_DEADLINE, "{arrived} of {expected} events arrived");
        tokio::time::sleep(WRITE_INTERVAL).await;
    }
    Ok(rate)
}

/// What a large cluster takes, and how long it takes to start.
pub(crate) async fn large(options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let mut cluster = Cluster::start(options, Agent::None).await?;
    let before = pss_mib(cluster.pid())?;
    fill(&cluster, OBJECTS).await?;
    tokio::time::sleep(SETTLE).await;
    let kib = (pss_mib(cluster.pid())? - before) * 1024.0 / OBJECTS as f64;
    table.add(Row::new(format!("memory for a pod, at {OBJECTS} pods"), format!("{kib:.1} KiB"), ""));
    cluster.stop()?;
    let begun = Instant::now();
    cluster.launch_again()?;
    cluster.ready(Agent::None).await?;
    let took = begun.elapsed();
    let kib = pss_mib(cluster.pid())? * 1024.0 / OBJECTS as f64;
    let measured = format!("{} (then {kib:.1} KiB a pod)", ms(took));
    table.add(Row::new(format!("start with {OBJECTS} objects in the store"), measured, "1 s"));
    Ok(())
}

/// Makes pods that no scheduler looks at.
async fn fill(cluster: &Cluster, count: usize) -> anyhow::Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let transport = Arc::new(HttpsTransport::new(&cluster.config()?)?);
    let mut clients = JoinSet::new();
    for _ in 0..FILLERS {
        let (transport, next) = (transport.clone(), next.clone());
        clients.spawn(async move {
            let path = ApiResource::PODS.path("default");
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok(());
                }
                create(&transport, &path, &pod(number, json!({"schedulerName": "nobody"}))).await?;
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done??;
    }
    Ok(())
}

fn bound_pod(number: usize) -> Value {
    pod(number, json!({"nodeName": node(number % WATCHERS)}))
}

fn node(number: usize) -> String {
    format!("node-{number:05}")
}

fn pod(number: usize, mut spec: Value) -> Value {
    let requests = json!({"cpu": "100m", "memory": "64Mi"});
    spec["containers"] = json!([{"name": "main", "image": "busybox", "resources": {"requests": requests}}]);
    let metadata = json!({"name": format!("pod-{number:06}"), "labels": {"app": "bench"}});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

/// The bytes of an answer, which are not decoded: clients share the machine with the server that is measured.
async fn get(transport: &HttpsTransport, path: String) -> anyhow::Result<Body> {
    let request =
        Request::builder().uri(path).header(header::ACCEPT, "application/json").body(Bytes::new())?;
    let response = transport.send(request).await?;
    ensure!(response.status() == StatusCode::OK, "a list or watch was answered {}", response.status());
    Ok(response.into_body())
}
