//! From a pod's POST to its running container, beside a bare runtime's create and start.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use berth_client::{ApiResource, Client, DeleteOptions, Event, ListOptions, Watch};
use serde_json::json;

use crate::Options;
use crate::cluster::{Agent, Cluster, run};
use crate::stats::{Samples, ms};
use crate::table::{Row, Table};

/// Pods measured, one after the other.
const PODS: usize = 40;
/// Pods before that, for what happens once.
const WARM_UP: usize = 3;
/// For a pod to run, or to be gone.
const POD_DEADLINE: Duration = Duration::from_secs(20);
/// How long the watch is asked to last: longer than everything here.
const WATCH: Duration = Duration::from_secs(300);
/// What the peer's and our container do.
const COMMAND: [&str; 2] = ["sleep", "3600"];

/// POST → Running over HTTPS with the image present, and each runtime that is installed.
pub(crate) async fn to_running(options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let archive = options.images.join("busybox.tar");
    let cluster = Cluster::start(options, Agent::Real).await?;
    cluster.load(&archive)?;
    let client = cluster.client()?;
    wait_for_account(&client).await?;
    let from = client.list(ApiResource::PODS, "default", &ListOptions::default()).await?.resource_version;
    let mut watch = client.watch(ApiResource::PODS, "default", &ListOptions::default(), &from, WATCH).await?;
    let mut samples = Samples::default();
    for number in 0..WARM_UP + PODS {
        let taken = one(&client, &mut watch, &format!("bench-{number}")).await?;
        samples.extend((number >= WARM_UP).then_some(taken));
    }
    drop(watch);
    drop(cluster);
    let measured = format!("p50 {}, p99 {}", ms(samples.p50()), ms(samples.percentile(99)));
    let mut peers = Vec::new();
    for runtime in ["crun", "runc"] {
        match bare(options, runtime, &archive) {
            Ok(bare) => peers.push((runtime, bare)),
            Err(error) => eprintln!("bench:   no peer {runtime}: {error:#}"),
        }
    }
    if peers.is_empty() {
        table.add(Row::new("pod POST to Running", measured.clone(), "p50 1.5 × bare"));
    }
    for (runtime, bare) in peers {
        let ratio = samples.p50().as_secs_f64() / bare.p50().as_secs_f64();
        let row = Row::new("pod POST to Running", measured.clone(), "p50 1.5 × bare");
        table.add(row.beside(
            format!("{runtime} create + start p50 {}, p99 {}", ms(bare.p50()), ms(bare.percentile(99))),
            ratio,
        ));
    }
    Ok(())
}

async fn one(client: &Client, watch: &mut Watch, name: &str) -> anyhow::Result<Duration> {
    let container = json!({"name": "main", "image": "busybox:latest", "command": COMMAND});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    });
    let begun = Instant::now();
    client.create(ApiResource::PODS, "default", &pod).await?;
    seen(watch, name, "run", |event| matches!(event, Event::Added(pod) | Event::Modified(pod) if pod["status"]["phase"] == "Running"))
        .await?;
    let taken = begun.elapsed();
    let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    client.delete(ApiResource::PODS, "default", name, &now).await?;
    seen(watch, name, "go", |event| matches!(event, Event::Deleted(_))).await?;
    Ok(taken)
}

/// Reads the watch until an event about this pod is the wanted one.
async fn seen(
    watch: &mut Watch,
    name: &str,
    what: &str,
    wanted: impl Fn(&Event) -> bool,
) -> anyhow::Result<()> {
    let reading = async {
        while let Some(event) = watch.next().await? {
            if named(&event) == Some(name) && wanted(&event) {
                return Ok(());
            }
        }
        bail!("the watch ended")
    };
    let read = tokio::time::timeout(POD_DEADLINE, reading).await;
    read.with_context(|| format!("pod {name} did not {what} within {POD_DEADLINE:?}"))?
}

fn named(event: &Event) -> Option<&str> {
    match event {
        Event::Added(object) | Event::Modified(object) | Event::Deleted(object) => {
            object["metadata"]["name"].as_str()
        }
        Event::Bookmark { .. } => None,
    }
}

/// A controller makes the namespace's service account a moment after the start.
async fn wait_for_account(client: &Client) -> anyhow::Result<()> {
    let deadline = Instant::now() + POD_DEADLINE;
    loop {
        match client.get(ApiResource::SERVICE_ACCOUNTS, "default", "default").await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error).context("no service account"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// The same busybox and command under a runtime alone: no image store, no network, no API.
fn bare(options: &Options, runtime: &str, archive: &Path) -> anyhow::Result<Samples> {
    let scratch = tempfile::Builder::new().prefix("bare-").tempdir_in(&options.work)?;
    // A mount namespace of its own, for what the script must hide from crun.
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]).arg(&options.bare);
    command.arg(runtime).arg(archive).arg(scratch.path()).arg(PODS.to_string()).args(COMMAND);
    let output = run(&mut command)?;
    let samples: Samples =
        output.lines().map(|us| us.parse().map(Duration::from_micros)).collect::<Result<_, _>>()?;
    if samples.len() != PODS {
        bail!("{runtime}: {} of {PODS} containers started", samples.len());
    }
    Ok(samples)
}
