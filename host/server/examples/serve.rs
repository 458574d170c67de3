//! A server without nodes over a store in memory: `cargo run -p berth-server --example serve -- DIRECTORY [ADDRESS]`.
//!
//! Writes `DIRECTORY/kubeconfig` and serves until Ctrl-C. What kubectl and the replay of recorded answers run against.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use berth_api::{Timestamp, kinds};
use berth_client::NodeRegistry;
use berth_cluster::{Cluster, Config};
use berth_pipeline::ServiceCidr;
use berth_server::{Hooks, Names, Pki, Server, Tls};
use berth_state::MemoryStore;
use berth_tasks::Clock;
use tokio::net::TcpListener;
use tokio::sync::watch;

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("usage: serve DIRECTORY [ADDRESS:PORT]")?);
    let address: SocketAddr = arguments.next().as_deref().unwrap_or("127.0.0.1:7443").parse()?;
    let now = SystemClock.now();
    let services = ServiceCidr::parse("10.96.0.0/16")?;
    let pki = Arc::new(Pki::open(&directory.join("pki"), now)?);
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let config = Config {
        tokens: Arc::new(pki.tokens().clone()),
        services,
        api_port: address.port(),
        ..Config::new(Arc::new(kinds::catalogue()))
    };
    let cluster = Cluster::start(MemoryStore::new(), config).await?;
    let server =
        Server::new(cluster.clone(), NodeRegistry::default(), pki.tokens().clone(), Hooks::default());
    let tls = Tls::new(&pki, Names { listen: address, service: services.api_server().into() }, now)?;
    let kubeconfig = directory.join("kubeconfig");
    pki.write_kubeconfig(&kubeconfig, &format!("https://{address}"), now)?;
    println!("serving on {address}; kubeconfig: {}", kubeconfig.display());
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(server.serve(listener, tls, pki, stopped));
    tokio::signal::ctrl_c().await?;
    stop.send_replace(true);
    serving.await?;
    cluster.shutdown().await;
    Ok(())
}
