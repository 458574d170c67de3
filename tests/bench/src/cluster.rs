//! A cluster of the bench's own: a `berth up` process that is taken down when it is dropped.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use berth_client::{ApiResource, Client, Config, HttpsTransport, ListOptions};
use serde_json::Value;
use tempfile::TempDir;

use crate::Options;

/// For a cluster to get ready; a hundred times what it should take.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks at a cluster that is starting: what the figure may be off by.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// Ranges apart from those of the tests, the demo and the defaults.
const POD_CIDR: &str = "10.243.0.0/16";
const SERVICE_CIDR: &str = "10.244.0.0/16";

/// Whether pods become containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agent {
    /// On this machine.
    Real,
    /// There is no node.
    None,
}

/// A running `berth up`.
pub(crate) struct Cluster {
    program: PathBuf,
    root: TempDir,
    command: Command,
    process: Child,
}

impl Cluster {
    /// Starts `berth up` on a fresh data directory, without waiting for anything.
    pub(crate) fn launch(options: &Options, agent: Agent) -> anyhow::Result<Self> {
        let root = tempfile::Builder::new().prefix("cluster-").tempdir_in(&options.work)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = File::create(root.path().join("berth.log"))?;
        // The kernel ends berth when the bench dies, however that happens.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]).arg(&options.berth).arg("up");
        command.arg("--data-dir").arg(root.path().join("data"));
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--node-name", "bench"]);
        command.args(["--pod-cidr", POD_CIDR, "--service-cidr", SERVICE_CIDR]);
        if agent == Agent::None {
            command.arg("--no-agent");
        }
        command.env("NO_COLOR", "1").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = command.spawn().context("setpriv (util-linux) cannot be started")?;
        Ok(Self { program: options.berth.clone(), root, command, process })
    }

    /// Ends `berth up`; its data stays.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        if self.process.try_wait()?.is_none() {
            run(Command::new("kill").args(["-TERM", &self.process.id().to_string()]))?;
            self.process.wait()?;
        }
        Ok(())
    }

    /// Starts what was stopped on the data that it left, without waiting for anything.
    pub(crate) fn launch_again(&mut self) -> anyhow::Result<()> {
        self.process = self.command.spawn()?;
        Ok(())
    }

    /// Starts `berth up` and waits until it is of use.
    pub(crate) async fn start(options: &Options, agent: Agent) -> anyhow::Result<Self> {
        let mut cluster = Self::launch(options, agent)?;
        cluster.ready(agent).await?;
        Ok(cluster)
    }

    /// Waits until the API answers, pods can be made in the namespace `default`, and the node (if there is one) is Ready.
    pub(crate) async fn ready(&mut self, agent: Agent) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_DEADLINE;
        let mut client = None;
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait()? {
                bail!("berth up ended with {status}: {}", self.log());
            }
            if client.is_none() {
                client = self.client().ok();
            }
            if let Some(client) = &client
                && is_ready(client, agent).await
            {
                return Ok(());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        bail!("berth up was not ready within {READY_DEADLINE:?}: {}", self.log())
    }

    /// The administrator's credentials.
    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        Ok(Config::from_kubeconfig(&self.data().join("kubeconfig"))?)
    }

    /// A client over HTTPS with a connection of its own.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(Arc::new(HttpsTransport::new(&self.config()?)?), "berth-bench"))
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// The process id of `berth up`.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Imports an image.
    pub(crate) fn load(&self, archive: &Path) -> anyhow::Result<()> {
        let mut command = Command::new(&self.program);
        command.arg("load").arg("--data-dir").arg(self.data()).arg("-i").arg(archive);
        run(&mut command).map(drop)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.root.path().join("berth.log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let ended = self.stop();
        let mut down = Command::new(&self.program);
        down.arg("down").arg("--data-dir").arg(self.data());
        for error in [ended, run(&mut down).map(drop)].into_iter().filter_map(Result::err) {
            eprintln!("bench: a cluster was not taken down: {error:#}");
        }
    }
}

/// Runs a command to its end and returns its standard output.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}: {}", output.status, why.trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

async fn is_ready(client: &Client, agent: Agent) -> bool {
    if agent == Agent::None {
        return client.get(ApiResource::SERVICE_ACCOUNTS, "default", "default").await.is_ok();
    }
    let nodes = client.list(ApiResource::NODES, "", &ListOptions::default()).await;
    nodes.is_ok_and(|nodes| nodes.items.iter().any(node_ready))
}

fn node_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}
