//! `berth up`: server, controllers, scheduler, plugins and agent in one process.

mod builtin;
mod measured;
mod preflight;
mod simulated;

use std::fs::File;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use berth_agent::{Agent, AgentConfig, AgentHandle};
use berth_api::kinds;
use berth_client::{Client, NodeRegistry};
use berth_cluster::{Cluster, Config, IdSource, SystemIds};
use berth_control::Config as ControlConfig;
use berth_lifecycle::LoadError;
use berth_loops::{Holder, Leading, PolicyCalls, Reviews, lead_when_possible, measure};
use berth_metrics::Usage;
use berth_network::Ipv4Cidr;
use berth_pipeline::{Identity, Ids};
use berth_policy::{Cache, Engine, Limits};
use berth_server::{ComponentCheck, Hooks, Names, Pki, Server, Tls};
use berth_state::Key;
use berth_store::SqliteStore;
use berth_tasks::{Clock, Executor, SystemClock};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::bond::Bond;
use crate::cli::UpOptions;
use crate::compiler::Compiler;
use crate::{cluster_id, data_dir, logging};

/// Compiles an uploaded component before it is stored.
struct Compiles(Arc<Compiler>);

impl ComponentCheck for Compiles {
    fn check(&self, component: Bytes) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            match self.0.load(component, Limits::default()).await {
                Ok(_) => Ok(()),
                Err(LoadError::Refused(why) | LoadError::Machine(why)) => Err(why),
            }
        })
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
    let plan = preflight::check(&options)?;
    // First, since whoever has the data directory has the address as well.
    let lock = plan.existing.as_deref().map(data_dir::lock).transpose()?;
    let listener = listen(options.listen).await?;
    let address = listener.local_addr().context("--listen")?;
    let data = data_dir::open(&options.data.data_dir)?;
    let lock = lock.map_or_else(|| data_dir::lock(&data), Ok)?;
    let services = plan.services;
    let id = cluster_id::of(&data)?;
    let now = SystemClock.now();
    let pki = Arc::new(Pki::open(&data.join("pki"), now)?);
    let location =
        options.store.clone().unwrap_or_else(|| format!("sqlite:{}", data.join("berth.db").display()));
    if plan.node.is_some() && !SqliteStore::exists(&location).context("--store")? {
        plan.bond.check_objects("", &location)?;
    }
    let store = SqliteStore::open(&location).await.context("--store")?;
    let reviews = Reviews::new(Executor::default(), Arc::new(SystemIds));
    let config = Config {
        admission: vec![Arc::new(reviews.clone())],
        tokens: Arc::new(pki.tokens().clone()),
        services,
        api_port: address.port(),
        ..Config::new(Arc::new(kinds::catalogue()))
    };
    let cluster = Cluster::start(store, config).await?;
    let objects = objects_id(&cluster);
    if let Some(node) = &plan.node {
        plan.bond.check_objects(&objects, &location)?;
        check_node(&cluster, &node.name, plan.pods)?;
    }
    let compiler = Arc::new(Compiler::new(Arc::new(engine(&data)?)));
    let nodes = NodeRegistry::default();
    let usage = Usage::default();
    let calls = PolicyCalls::default();
    let counted = calls.clone();
    let hooks = Hooks {
        components: Arc::new(Compiles(compiler.clone())),
        derived: measured::resources(&usage),
        metrics: Arc::new(move || counted.to_text()),
    };
    let server = Server::new(cluster.clone(), nodes.clone(), pki.tokens().clone(), hooks);
    let tls = Tls::new(&pki, Names { listen: address, service: services.api_server().into() }, now)?;
    let kubeconfig = data.join("kubeconfig");
    pki.write_kubeconfig(&kubeconfig, &format!("https://{}", reachable(address)), now)?;
    let (stop, stopped) = watch::channel(false);
    let ca_certificate = pki.ca_pem().to_owned();
    let serving = tokio::spawn(server.clone().serve(listener, tls, pki, stopped));

    builtin::install(&cluster).await?;
    let leading = Leading {
        holder: Holder::new(&format!("berth-{id}"), &(&SystemIds as &dyn IdSource).uid()),
        control: ControlConfig { kinds: cluster.kinds().clone(), ca_certificate },
        loader: compiler,
        reviews,
        usage: usage.clone(),
        calls,
    };
    lead_when_possible(&cluster, leading);
    cluster.executor().spawn("measuring", measure(cluster.executor().clone(), nodes.clone(), usage.clone()));
    if options.simulate_nodes > 0 {
        tokio::spawn(simulated::run(cluster.clone(), options.simulate_nodes, usage));
    }
    let agent = match plan.node {
        None => None,
        Some(node) => {
            // Before anything is made: `berth down` needs the range.
            let range = data.join("pod-cidr");
            let is_first = data_dir::read(&range)?.is_none();
            data_dir::write_durably(&range, plan.pods.to_string().as_bytes())?;
            Bond::write(&data, &node.name, &objects)?;
            let client = node_client(&server, &node.name);
            let config = AgentConfig {
                registries: Arc::new(node.registries),
                api: preflight::ipv4(address),
                allowed_unsafe_sysctls: options.allowed_unsafe_sysctls.clone(),
                // Less than none is no limit.
                pod_pids_max: u64::try_from(options.pod_max_pids).ok(),
                ..AgentConfig::new(&node.name, &data, id.parse()?, plan.pods, client)
            };
            let started = Agent::start(config).await;
            if started.is_err() && plan.bond == Bond::default() {
                // Only of a first start is it certain that there are no containers of an earlier one.
                if is_first && let Err(error) = Agent::destroy(&data, &id.parse()?, plan.pods) {
                    tracing::warn!("the start failed, and not all that it made could be removed: {error}");
                }
                Bond::release(&data)?;
            }
            let agent = Arc::new(started?);
            nodes.insert(node.name, agent.clone());
            Some(agent)
        }
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

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let why = match error.kind() {
            ErrorKind::AddrInUse => "another program has that port; stop it, or choose another",
            ErrorKind::AddrNotAvailable => "this machine does not have that address; choose one of its own",
            ErrorKind::PermissionDenied => "a port below 1024 needs root; choose another",
            _ => "the address cannot be used; choose another",
        };
        anyhow!(error).context(format!("--listen {address}: {why}"))
    })
}

/// An address that clients on this machine can connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
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

/// Every watcher, connection and pod holds a descriptor, and the usual 1024 are few. Containers get their own limit.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

/// By what the objects of a cluster are known, wherever they are stored.
fn objects_id(cluster: &Cluster) -> String {
    let key = Key::new("namespaces", "", "kube-system");
    cluster.read(|state| state.get(&key).map(|stored| stored.meta().uid.to_string())).unwrap_or_default()
}

/// Refuses another range for the pods of a node than the one it has: a node's range never changes.
fn check_node(cluster: &Cluster, name: &str, pods: Ipv4Cidr) -> anyhow::Result<()> {
    let catalogue = cluster.catalogue();
    let Some(resource) = catalogue.named("nodes") else { return Ok(()) };
    let stored = cluster.read(|state| state.get(&Key::new("nodes", "", name)).cloned());
    let node = stored.map(|stored| stored.to_value(resource)).unwrap_or_default();
    match node["spec"]["podCIDR"].as_str() {
        Some(kept) if !kept.is_empty() && kept != pods.to_string() => bail!(
            "--pod-cidr {pods}: the node {name} has the range {kept}; start berth with that, or give the node up first: \
             `berth down`, then `berth up --no-agent` and `kubectl delete node {name}`"
        ),
        _ => Ok(()),
    }
}

/// How a node's agent talks to the server: over the same interface as an agent elsewhere.
fn node_client(server: &Server, name: &str) -> Client {
    let identity = Identity {
        user: format!("system:node:{name}"),
        groups: vec!["system:nodes".to_owned(), "system:authenticated".to_owned()],
        ..Identity::default()
    };
    Client::new(Arc::new(server.in_process(Arc::new(identity))), "berth-agent")
}
