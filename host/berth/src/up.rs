//! `berth up`: server, controllers, scheduler, plugins and agent in one process.

mod builtin;
mod simulated;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use berth_agent::{Agent, AgentConfig, AgentHandle};
use berth_api::kinds;
use berth_api::kinds::names;
use berth_client::{Client, NodeRegistry};
use berth_control::Config as ControlConfig;
use berth_drive::{PluginConfig, run_controllers, run_plugins, start_scheduler, take_lead};
use berth_image::RegistryConfig;
use berth_network::Ipv4Cidr;
use berth_pipeline::{Clock, Cluster, Config, Identity, NodePorts, RoleAuthorizer, ServiceCidr, SystemClock};
use berth_policy::{Cache, Engine, Limits};
use berth_server::{ComponentCheck, Hooks, Names, Pki, Server, Tls};
use berth_store::SqliteStore;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::cli::UpOptions;
use crate::{cluster_id, data_dir, logging};

/// Reports of failed policies that wait for the plugin manager; a profile's failures repeat, so that few are enough.
const POLICY_FAILURES_MAX: usize = 64;

/// Compiles an uploaded component before it is stored.
struct Compiles(Arc<Engine>);

impl ComponentCheck for Compiles {
    fn check(&self, component: &[u8]) -> Result<(), String> {
        self.0.load(component, Limits::default()).map(drop).map_err(|error| error.to_string())
    }
}

/// What must live as long as the cluster is up.
struct Running {
    cluster: Arc<Cluster>,
    server: Server,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
    agent: Option<Arc<AgentHandle>>,
    _lock: File,
}

/// Starts a cluster and serves it until SIGINT or SIGTERM; containers go on running after that.
pub(crate) fn run(options: UpOptions) -> anyhow::Result<()> {
    logging::start()?;
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the worker threads cannot be started")?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let running = start(options).await?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping; containers go on running");
        stop(running).await;
        Ok(())
    })
}

async fn start(options: UpOptions) -> anyhow::Result<Running> {
    let begun = std::time::Instant::now();
    let services = ServiceCidr::parse(&options.service_cidr).context("--service-cidr")?;
    let pods: Ipv4Cidr = options.pod_cidr.parse().context("--pod-cidr")?;
    if overlap(&options.pod_cidr, &options.service_cidr) {
        bail!(
            "--pod-cidr {} and --service-cidr {} overlap; choose others",
            options.pod_cidr,
            options.service_cidr
        );
    }
    let node_name = if options.no_agent { None } else { Some(node_name(options.node_name.as_deref())?) };
    if !options.no_agent && !nix::unistd::geteuid().is_root() {
        bail!(
            "running containers needs root: start berth with sudo, or with --no-agent where it is to run none"
        );
    }
    let data = data_dir::open(&options.data.data_dir)?;
    let lock = data_dir::lock(&data)?;
    let id = cluster_id::of(&data)?;
    let now = SystemClock.now();
    let pki = Arc::new(Pki::open(&data.join("pki"), now)?);
    let listener = listen(&options).await?;
    let address = listener.local_addr().context("--listen")?;
    let catalogue = Arc::new(kinds::catalogue());
    let location =
        options.store.clone().unwrap_or_else(|| format!("sqlite:{}", data.join("berth.db").display()));
    let store = SqliteStore::open(&location).await.context("--store")?;
    let config = Config {
        catalogue: catalogue.clone(),
        authorizer: Arc::new(RoleAuthorizer),
        admission: vec![],
        tokens: Arc::new(pki.tokens().clone()),
        clock: Arc::new(SystemClock),
        services,
        node_ports: NodePorts::default(),
        api_port: address.port(),
    };
    let cluster = Cluster::start(store, config).await?;
    let engine = Arc::new(engine(&data)?);
    let nodes = NodeRegistry::default();
    let hooks = Hooks { components: Arc::new(Compiles(engine.clone())) };
    let server = Server::new(cluster.clone(), nodes.clone(), pki.tokens().clone(), hooks);
    let tls = Tls::new(&pki, Names { listen: address, service: services.api_server().into() }, now)?;
    let kubeconfig = data.join("kubeconfig");
    pki.write_kubeconfig(&kubeconfig, &format!("https://{}", reachable(address)), now)?;
    let (stop, stopped) = watch::channel(false);
    let ca_certificate = pki.ca_pem().to_owned();
    let serving = tokio::spawn(server.clone().serve(listener, tls, pki, stopped));

    let holder = format!("berth-{id}");
    let fence = take_lead(&cluster, "berth-controllers", &holder).await?;
    tokio::spawn(run_controllers(cluster.clone(), ControlConfig { catalogue, ca_certificate }, fence));
    let fence = take_lead(&cluster, "berth-scheduler", &holder).await?;
    let (report, failures) = mpsc::channel(POLICY_FAILURES_MAX);
    let scheduler = start_scheduler(cluster.clone(), now.micros() as u64, fence, report)
        .context("the scheduler's thread cannot be started")?;
    builtin::install(&cluster).await?;
    tokio::spawn(cluster.clone().keep_system_objects());
    tokio::spawn(run_plugins(cluster.clone(), PluginConfig { engine, scheduler, failures }));
    if options.simulate_nodes > 0 {
        tokio::spawn(simulated::run(cluster.clone(), options.simulate_nodes));
    }
    let agent = match node_name {
        None => None,
        Some(name) => Some(agent(&server, &nodes, &name, &data, &id, pods).await?),
    };
    tracing::info!(
        kubeconfig = %kubeconfig.display(),
        "berth is up at https://{} after {} ms", reachable(address), begun.elapsed().as_millis()
    );
    Ok(Running { cluster, server, stop, serving, agent, _lock: lock })
}

async fn stop(running: Running) {
    running.server.set_stopping();
    if let Some(agent) = running.agent {
        agent.stop();
    }
    running.stop.send_replace(true);
    if let Err(error) = running.serving.await {
        tracing::error!("the server did not stop in order: {error}");
    }
    running.cluster.shutdown().await;
}

async fn listen(options: &UpOptions) -> anyhow::Result<TcpListener> {
    TcpListener::bind(options.listen).await.with_context(|| {
        format!("--listen {}: the address cannot be used; another program may have it", options.listen)
    })
}

/// An address that clients on this machine can connect to.
fn reachable(address: std::net::SocketAddr) -> std::net::SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn engine(data: &Path) -> anyhow::Result<Engine> {
    let directory = data.join("compiled");
    let cache = Cache::open(&directory)
        .with_context(|| format!("the cache of compiled plugins {} cannot be used", directory.display()))?;
    Engine::new(Some(cache)).context("the engine for plugins cannot be started")
}

/// The name of this machine's node: the one asked for, else the host's. Checked before anything is started, since a node
/// whose name no object may have would never appear.
fn node_name(asked: Option<&str>) -> anyhow::Result<String> {
    let name = match asked {
        Some(name) => name.to_owned(),
        None => host_name()?,
    };
    let faults = names::subdomain_1123(&name);
    match (faults.is_empty(), asked) {
        (true, _) => Ok(name),
        (false, Some(_)) => bail!("--node-name \"{name}\" cannot be used: {}", faults.join("; ")),
        (false, None) => bail!(
            "the host's name \"{name}\" cannot be a node's; give one with --node-name: {}",
            faults.join("; ")
        ),
    }
}

/// Every watcher, connection and pod holds a descriptor, and the usual 1024 are few. Containers get their own limit.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

fn host_name() -> anyhow::Result<String> {
    let name =
        nix::unistd::gethostname().context("the host's name cannot be read; give one with --node-name")?;
    Ok(name.to_string_lossy().to_lowercase())
}

/// Whether two IPv4 ranges have an address in common; both have been parsed by their owners before.
fn overlap(one: &str, other: &str) -> bool {
    let range = |text: &str| -> Option<(u32, u32)> {
        let (base, bits) = text.split_once('/')?;
        let base = u32::from(base.parse::<std::net::Ipv4Addr>().ok()?);
        let mask = u32::MAX.checked_shl(32 - bits.parse::<u32>().ok()?).unwrap_or(0);
        Some((base & mask, base | !mask))
    };
    let (Some(one), Some(other)) = (range(one), range(other)) else { return false };
    one.0 <= other.1 && other.0 <= one.1
}

/// Starts this node's agent, which talks to the server over the same interface as an agent elsewhere.
async fn agent(
    server: &Server,
    nodes: &NodeRegistry,
    name: &str,
    data: &Path,
    id: &str,
    pods: Ipv4Cidr,
) -> anyhow::Result<Arc<AgentHandle>> {
    let identity = Identity {
        user: format!("system:node:{name}"),
        uid: String::new(),
        groups: vec!["system:nodes".to_owned(), "system:authenticated".to_owned()],
    };
    let client = Client::new(Arc::new(server.in_process(Arc::new(identity))), "berth-agent");
    let registries = Arc::new(RegistryConfig::load(&data.join("registries.yaml"))?);
    data_dir::write_durably(&data.join("pod-cidr"), pods.to_string().as_bytes())?;
    let config = AgentConfig { registries, ..AgentConfig::new(name, data, id.parse()?, pods, client) };
    let agent = Arc::new(Agent::start(config).await?);
    nodes.insert(name, agent.clone());
    Ok(agent)
}

#[cfg(test)]
mod tests {
    use super::{node_name, overlap};

    #[test]
    fn ranges_overlap() {
        for (one, other, expected) in [
            ("10.42.0.0/16", "10.96.0.0/16", false),
            ("10.0.0.0/8", "10.96.0.0/16", true),
            ("10.96.5.0/24", "10.96.0.0/16", true),
            ("0.0.0.0/0", "192.168.0.0/24", true),
            ("10.96.0.0/16", "10.97.0.0/16", false),
        ] {
            assert_eq!(overlap(one, other), expected, "{one} {other}");
            assert_eq!(overlap(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn names_of_nodes() {
        assert_eq!(node_name(Some("worker-1.example")).unwrap(), "worker-1.example");
        for bad in ["", "Worker", "a_b", "-a"] {
            let text = node_name(Some(bad)).unwrap_err().to_string();
            assert!(
                text.starts_with(&format!("--node-name \"{bad}\" cannot be used: a lowercase")),
                "{text}"
            );
        }
    }
}
