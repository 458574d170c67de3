//! A whole server on a port of its own, over a store in memory, with a node that only pretends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use berth_api::{Timestamp, kinds};
use berth_client::{
    AttachRequest, ByteStream, Client, Config as ClientConfig, Credentials, ExecRequest, ExitStatus,
    HttpsTransport, LogRequest, NodeApi, NodeError, NodeRegistry, Streams, Transport,
};
use berth_cluster::{Cluster, Config};
use berth_metrics::NodeSample;
use berth_pipeline::{Identity, ServiceCidr};
use berth_server::{ComponentCheck, Derived, Hooks, Names, Pki, Server, Tls};
use berth_state::{MemoryStore, Stored};
use berth_tasks::{Clock, SystemClock};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Request;
use http::response::Parts;
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A server that stops when it is dropped.
pub(crate) struct Harness {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    pub(crate) config: ClientConfig,
    /// Processes that run on the node.
    pub(crate) running: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
    _stop: watch::Sender<bool>,
    _directory: tempfile::TempDir,
}

/// Refuses what does not begin as Wasm does.
struct MagicCheck;

impl ComponentCheck for MagicCheck {
    fn check(&self, component: Bytes) -> BoxFuture<'_, Result<(), String>> {
        let is_wasm = component.starts_with(b"\0asm");
        Box::pin(async move { if is_wasm { Ok(()) } else { Err("it is no Wasm".to_owned()) } })
    }
}

impl Harness {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let now = SystemClock.now();
        let pki = Arc::new(Pki::open(&directory.path().join("pki"), now).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let services = ServiceCidr::parse("10.96.0.0/16").unwrap();
        let config = Config {
            tokens: Arc::new(pki.tokens().clone()),
            services,
            api_port: address.port(),
            ..Config::new(Arc::new(kinds::catalogue()))
        };
        let cluster = Cluster::start(MemoryStore::new(), config).await.unwrap();
        let nodes = NodeRegistry::default();
        let running = Arc::<AtomicUsize>::default();
        nodes.insert("n1", Arc::new(Pretender(running.clone())));
        let derived = [("nodes.metrics.k8s.io".into(), Arc::new(Measured) as Arc<dyn Derived>)].into();
        let hooks = Hooks { components: Arc::new(MagicCheck), derived, ..Hooks::default() };
        let server = Server::new(cluster, nodes, pki.tokens().clone(), hooks);
        let tls =
            Tls::new(&pki, Names { listen: address, service: services.api_server().into() }, now).unwrap();
        let kubeconfig = directory.path().join("kubeconfig");
        pki.write_kubeconfig(&kubeconfig, &format!("https://{address}"), now).unwrap();
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(server.clone().serve(listener, tls, pki, stopped));
        let config = ClientConfig::from_kubeconfig(&kubeconfig).unwrap();
        Self { server, address, config, running, serving, _stop: stop, _directory: directory }
    }

    /// A client over HTTPS as the administrator.
    pub(crate) fn client(&self) -> Client {
        Client::new(Arc::new(HttpsTransport::new(&self.config).unwrap()), "test/1")
    }

    /// The administrator's credentials.
    pub(crate) fn admin(&self) -> Credentials {
        self.config.credentials.clone()
    }

    /// A client over HTTPS with other credentials.
    pub(crate) fn client_as(&self, credentials: Credentials) -> Client {
        let config = ClientConfig { credentials, ..self.config.clone() };
        Client::new(Arc::new(HttpsTransport::new(&config).unwrap()), "test/1")
    }

    /// Sends any request over HTTPS; the head of the answer and its body.
    pub(crate) async fn send(&self, credentials: &Credentials, request: Request<Bytes>) -> (Parts, Bytes) {
        let config = ClientConfig { credentials: credentials.clone(), ..self.config.clone() };
        let response = HttpsTransport::new(&config).unwrap().send(request).await.unwrap();
        let (head, body) = response.into_parts();
        (head, body.collect().await.unwrap().to_bytes())
    }

    /// A client that calls the server directly, as a component.
    pub(crate) fn in_process(&self) -> Client {
        Client::new(Arc::new(self.server.in_process(Identity::component("test"))), "test/1")
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Gives every node that has a label metrics of its own.
struct Measured;

impl Derived for Measured {
    fn source(&self) -> &'static str {
        "nodes"
    }

    fn object(&self, node: &Stored, now: Timestamp) -> Option<berth_json::Value> {
        let name = &*node.key.name;
        (!node.meta().labels.is_empty()).then(|| {
            berth_json::json!({
                "kind": "NodeMetrics", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {"name": name},
                "timestamp": now.rfc3339(), "window": "15s", "usage": {"cpu": "250m", "memory": "1Mi"},
            })
        })
    }
}

/// A node whose processes say what they were asked to do, and that counts those that run.
struct Pretender(Arc<AtomicUsize>);

/// One that runs.
struct Process(Arc<AtomicUsize>);

impl Process {
    fn start(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl NodeApi for Pretender {
    fn logs(&self, request: LogRequest) -> BoxFuture<'_, Result<ByteStream, NodeError>> {
        Box::pin(async move {
            if request.previous {
                let why = format!("container {} has not been restarted yet", request.container);
                return Err(NodeError::NotReady(why));
            }
            let lines = [format!("{}\n", request.container), format!("{:?}\n", request.tail_lines)];
            let stream = futures_util::stream::iter(lines.map(|line| Ok(Bytes::from(line))));
            Ok(Box::pin(stream) as ByteStream)
        })
    }

    /// `echo`: writes its input back, says its last words on stderr, and exits with 3. `sleep` does nothing for ever, and
    /// `yes` writes for ever.
    fn exec(
        &self,
        request: ExecRequest,
        mut streams: Streams,
    ) -> BoxFuture<'_, Result<ExitStatus, NodeError>> {
        Box::pin(async move {
            let _process = Process::start(&self.0);
            if request.command == ["sleep"] {
                std::future::pending::<()>().await;
            }
            if request.command == ["yes"] {
                let stdout = streams.stdout.take().unwrap();
                while stdout.send(Bytes::from_static(&[b'y'; 16 << 10])).await.is_ok() {}
                std::future::pending::<()>().await;
            }
            let stdout = streams.stdout.take().unwrap();
            stdout.send(Bytes::from(request.command.join(" "))).await.unwrap();
            if let Some(mut stdin) = streams.stdin.take() {
                while let Some(chunk) = stdin.recv().await {
                    stdout.send(chunk).await.unwrap();
                }
            }
            if let Some(stderr) = streams.stderr.take() {
                stderr.send(Bytes::from_static(b"done")).await.unwrap();
            }
            Ok(ExitStatus::Code(3))
        })
    }

    fn attach(&self, _: AttachRequest, _: Streams) -> BoxFuture<'_, Result<ExitStatus, NodeError>> {
        Box::pin(async { Err(NodeError::NotReady("the container is not running".to_owned())) })
    }

    fn usage(&self) -> BoxFuture<'_, Result<NodeSample, NodeError>> {
        Box::pin(async { Err(NodeError::Internal("it does not measure".to_owned())) })
    }
}
