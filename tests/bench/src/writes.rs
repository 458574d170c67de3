//! Writes over HTTPS, and watchers of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use berth_client::{ApiResource, Body, Client, HttpVersions, HttpsTransport, ListOptions, Transport};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Options;
use crate::cluster::{Agent, Cluster};
use crate::stats::{Samples, ms, per_second};
use crate::table::{Row, Table};

/// Clients that create, each with a connection that it keeps.
const CLIENTS: usize = 8;
/// Creates at most, and for how long.
const CREATES_MAX: usize = 20_000;
const CREATING: Duration = Duration::from_secs(10);
/// Bytes of data in each ConfigMap.
const DATA_BYTES: usize = 1_024;
/// Watchers, each with a connection of its own.
const WATCHERS: usize = 100;
/// Writes that they watch, and how far apart.
const WATCHED_WRITES: usize = 100;
const WRITE_INTERVAL: Duration = Duration::from_millis(50);
/// For all events to arrive.
const EVENTS_DEADLINE: Duration = Duration::from_secs(30);

/// How clients speak, and what the table calls it.
const VERSIONS: [(HttpVersions, &str); 2] =
    [(HttpVersions::Http1, "HTTP/1.1 keep-alive"), (HttpVersions::Newest, "HTTP/2")];

/// ConfigMaps of 1 KiB, each acknowledged when it is on the disk.
pub(crate) async fn creates(options: &Options, table: &mut Table) -> anyhow::Result<()> {
    for (versions, name) in VERSIONS {
        table.add(creates_over(options, versions, name).await?);
    }
    Ok(())
}

async fn creates_over(options: &Options, versions: HttpVersions, name: &str) -> anyhow::Result<Row> {
    let cluster = Cluster::start(options, Agent::None).await?;
    let path = ApiResource::CONFIG_MAPS.path("default");
    let (rate, samples) = many(&cluster, versions, &path, config_map).await?;
    let times = format!("{rate:.0}/s (p50 {}, p99 {})", ms(samples.p50()), ms(samples.percentile(99)));
    Ok(Row::new(format!("ConfigMap creates/s, 1 KiB, {CLIENTS} clients, {name}"), times, "5000/s"))
}

/// Creates from all clients: how many a second, and how long each took.
pub(crate) async fn many(
    cluster: &Cluster,
    versions: HttpVersions,
    path: &str,
    object: fn(usize) -> Value,
) -> anyhow::Result<(f64, Samples)> {
    let next = Arc::new(AtomicUsize::new(0));
    let config = cluster.config()?;
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (transport, next) = (HttpsTransport::with_versions(&config, versions)?, next.clone());
        let path = path.to_owned();
        clients.spawn(async move {
            let mut samples = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= CREATES_MAX || begun.elapsed() > CREATING {
                    return anyhow::Ok(samples);
                }
                let sent = Instant::now();
                create(&transport, &path, &object(number)).await?;
                samples.push(sent.elapsed());
            }
        });
    }
    let mut samples = Samples::default();
    while let Some(done) = clients.join_next().await {
        samples.extend(done??);
    }
    Ok((per_second(samples.len(), begun.elapsed()), samples))
}

pub(crate) fn config_map(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("bench-{number:05}")},
        "data": {"value": "x".repeat(DATA_BYTES)},
    })
}

pub(crate) async fn create(transport: &HttpsTransport, path: &str, object: &Value) -> anyhow::Result<()> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, "berth-bench")
        .body(Bytes::from(object.to_string()))?;
    let response = transport.send(request).await?;
    let status = response.status();
    let Ok(body) = response.into_body().collect().await else { bail!("the answer broke off") };
    ensure!(status == StatusCode::CREATED, "{status}: {}", String::from_utf8_lossy(&body.to_bytes()));
    Ok(())
}

/// From the sending of a write to its event at each of the watchers.
pub(crate) async fn fan_out(options: &Options, table: &mut Table) -> anyhow::Result<()> {
    for (versions, name) in VERSIONS {
        table.add(fan_out_over(options, versions, name).await?);
    }
    Ok(())
}

async fn fan_out_over(options: &Options, versions: HttpVersions, name: &str) -> anyhow::Result<Row> {
    let cluster = Cluster::start(options, Agent::None).await?;
    let client = cluster.client()?;
    let sent: Arc<Vec<OnceLock<Instant>>> = Arc::new((0..WATCHED_WRITES).map(|_| OnceLock::new()).collect());
    let all = ListOptions::default();
    let from = client.list(ApiResource::CONFIG_MAPS, "default", &all).await?.resource_version;
    let mut watchers = JoinSet::new();
    for _ in 0..WATCHERS {
        let transport = HttpsTransport::with_versions(&cluster.config()?, versions)?;
        let mut events = watch(&transport, &from).await?;
        let sent = sent.clone();
        watchers.spawn(async move {
            let (mut samples, mut text) = (Vec::new(), Vec::new());
            while samples.len() < WATCHED_WRITES {
                let Some(Ok(frame)) = events.frame().await else { bail!("a watch ended early") };
                let arrived = Instant::now();
                text.extend_from_slice(frame.data_ref().map_or(&[][..], |bytes| bytes));
                while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                    samples.extend(number(&text[..end]).and_then(|n| Some(arrived - *sent.get(n)?.get()?)));
                    text.drain(..=end);
                }
            }
            // The connection lasts as long as its transport.
            drop(transport);
            Ok(samples)
        });
    }
    let writes = write(&client, &sent).await?;
    let mut samples = Samples::default();
    while let Some(done) = watchers.join_next().await {
        samples.extend(done??);
    }
    let measured = format!("p50 {}, p95 {}", ms(samples.p50()), ms(samples.percentile(95)));
    let figure = format!("write to event, 20 writes/s, {WATCHERS} watchers, {name}");
    let row = Row::new(figure, measured, "p95 2 ms");
    let ratio = samples.p50().as_secs_f64() / writes.p50().as_secs_f64();
    Ok(row.beside(format!("the write's own answer p50 {}", ms(writes.p50())), ratio))
}

async fn write(client: &Client, sent: &[OnceLock<Instant>]) -> anyhow::Result<Samples> {
    let mut interval = tokio::time::interval(WRITE_INTERVAL);
    let mut samples = Samples::default();
    for (number, sent) in sent.iter().enumerate() {
        interval.tick().await;
        let object = json!({"metadata": {"name": format!("fan-{number}")}, "data": {"value": "x"}});
        let begun = *sent.get_or_init(Instant::now);
        client.create(ApiResource::CONFIG_MAPS, "default", &object).await?;
        samples.extend([begun.elapsed()]);
    }
    Ok(samples)
}

/// The bytes of a watch. They are not decoded further than they must be: a hundred watchers share the machine with the
/// server that is measured.
async fn watch(transport: &HttpsTransport, from: &str) -> anyhow::Result<Body> {
    let path = ApiResource::CONFIG_MAPS.path("default");
    let seconds = EVENTS_DEADLINE.as_secs();
    let request = Request::builder()
        .uri(format!("{path}?watch=true&resourceVersion={from}&timeoutSeconds={seconds}"))
        .header(header::ACCEPT, "application/json")
        .body(Bytes::new())?;
    let response = transport.send(request).await?;
    ensure!(response.status() == StatusCode::OK, "a watch was answered {}", response.status());
    Ok(response.into_body())
}

/// Which of our writes an event is about.
fn number(event: &[u8]) -> Option<usize> {
    let event = std::str::from_utf8(event).ok()?;
    let (_, name) = event.split_once("\"name\":\"fan-")?;
    name.split('"').next()?.parse().ok()
}
