//! A cluster in memory with one real node: the server's own in-process transport on one side, containers on the other.

use std::any::Any;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use berth_agent::{Agent, AgentConfig, AgentHandle, Pauses};
use berth_api::kinds;
use berth_client::{ApiResource, Client, ExecRequest, LogRequest, NodeApi, NodeRegistry, Streams};
use berth_cluster::{Cluster, Config};
use berth_image::ImageStore;
use berth_pipeline::Identity;
use berth_server::{Hooks, Pki, Server};
use berth_state::MemoryStore;
use berth_tasks::{Clock, SystemClock};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The node's name.
pub(crate) const NODE: &str = "node-1";

static WORLDS: AtomicU8 = AtomicU8::new(0);

/// Everything of one test; dropping it removes it from the machine.
pub(crate) struct World {
    pub(crate) admin: Client,
    pub(crate) config: AgentConfig,
    agent: Option<Arc<AgentHandle>>,
    /// What must go after the agent and before the directory.
    _held: Box<dyn Any>,
    directory: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> World {
        World::with(|_| {}).await
    }

    /// A world whose agent is configured differently, and something that must go after it.
    pub(crate) async fn with<T: 'static>(change: impl FnOnce(&mut AgentConfig) -> T) -> World {
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let directory = tempfile::Builder::new().prefix("berth-agent-test-").tempdir().unwrap();
        let pki = Pki::open(&directory.path().join("pki"), SystemClock.now()).unwrap();
        let cluster = Cluster::start(MemoryStore::new(), cluster_config(&pki)).await.unwrap();
        let server = Server::new(cluster, NodeRegistry::default(), pki.tokens().clone(), Hooks::default());
        let admin = Client::new(Arc::new(server.in_process(Identity::component("test"))), "test/1");
        let node = Identity {
            user: format!("system:node:{NODE}"),
            groups: vec!["system:nodes".to_owned(), "system:authenticated".to_owned()],
            ..Identity::default()
        };
        let client = Client::new(Arc::new(server.in_process(Arc::new(node))), "berth-agent/1");
        let cluster_id = format!("{:x}", 0xa0_0000 + (std::process::id() & 0xfff) * 16 + u32::from(number))
            .parse()
            .unwrap();
        let cidr = format!("10.213.{number}.0/24").parse().unwrap();
        let data = directory.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let mut config = AgentConfig::new(NODE, data, cluster_id, cidr, client);
        config.crash_pauses = Pauses { first_ms: 300, max_ms: 1_000 };
        config.image_pauses = Pauses { first_ms: 300, max_ms: 1_000 };
        let held = Box::new(change(&mut config));
        let mut world = World { admin, config, agent: None, _held: held, directory };
        world.import();
        world.create_account().await;
        world.start().await;
        world
    }

    fn import(&self) {
        let store = ImageStore::open(self.config.data_dir.join("images")).unwrap();
        for name in ["my-app-v1.tar", "busybox.tar"] {
            store.import_archive(&image(name)).unwrap();
        }
    }

    /// Brings in an image that is busybox with this configuration, and with this layer on top.
    pub(crate) fn import_on_busybox(&self, name: &str, config: &Value, layer: &[u8]) {
        let archive = self.directory.path().join("image.tar");
        std::fs::write(&archive, crate::archive::on_busybox(&image("busybox.tar"), name, config, layer))
            .unwrap();
        ImageStore::open(self.config.data_dir.join("images")).unwrap().import_archive(&archive).unwrap();
    }

    /// What the namespace controller makes in a real cluster.
    async fn create_account(&self) {
        let named = |name: &str| json!({ "metadata": { "name": name } });
        self.admin.create(ApiResource::SERVICE_ACCOUNTS, "default", &named("default")).await.unwrap();
        let mut authority = named("kube-root-ca.crt");
        authority["data"] = json!({ "ca.crt": "certificate" });
        self.admin.create(ApiResource::CONFIG_MAPS, "default", &authority).await.unwrap();
    }

    /// Starts the agent, anew if it was stopped.
    pub(crate) async fn start(&mut self) {
        self.agent = Some(Arc::new(Agent::start(self.config.clone()).await.unwrap()));
    }

    /// Stops the agent; containers go on.
    pub(crate) fn stop(&mut self) {
        self.agent = None;
    }

    pub(crate) fn node(&self) -> &AgentHandle {
        self.agent.as_ref().unwrap()
    }

    /// Creates a pod that is bound to the node.
    pub(crate) async fn run(&self, name: &str, mut spec: Value) -> Pod<'_> {
        spec["nodeName"] = json!(NODE);
        if spec.get("terminationGracePeriodSeconds").is_none() {
            spec["terminationGracePeriodSeconds"] = json!(1);
        }
        let pod = json!({ "metadata": { "name": name, "labels": { "app": name } }, "spec": spec });
        let made = self.admin.create(ApiResource::PODS, "default", &pod).await.unwrap();
        Pod { world: self, name: name.to_owned(), uid: made["metadata"]["uid"].as_str().unwrap().to_owned() }
    }

    /// A pod that is there already.
    pub(crate) async fn pod(&self, name: &str) -> Pod<'_> {
        let object = self.admin.get(ApiResource::PODS, "default", name).await.unwrap();
        Pod {
            world: self,
            name: name.to_owned(),
            uid: object["metadata"]["uid"].as_str().unwrap().to_owned(),
        }
    }

    pub(crate) async fn create(&self, resource: ApiResource, name: &str, mut object: Value) {
        object["metadata"] = json!({ "name": name });
        self.admin.create(resource, "default", &object).await.unwrap();
    }

    /// The events about an object, as `type part-of-the-object reason: message`.
    pub(crate) async fn events(&self, name: &str) -> Vec<String> {
        let events = self.admin.list(ApiResource::EVENTS, "default", &Default::default()).await.unwrap();
        let of = |event: &&Value| event["involvedObject"]["name"] == name;
        let line = |event: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            let path = text(&event["involvedObject"]["fieldPath"]);
            format!("{} {path} {}: {}", text(&event["type"]), text(&event["reason"]), text(&event["message"]))
        };
        events.items.iter().filter(of).map(line).collect()
    }

    /// The id of the process that holds a pod's containers.
    pub(crate) fn shim_pid(&self, pod: &Pod<'_>) -> i32 {
        let record = self.data().join("run/pods").join(&pod.uid).join("shim.json");
        let record: Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
        record["process"]["pid"].as_i64().unwrap().try_into().unwrap()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
        let destroyed = Agent::destroy_all(&self.config);
        if !std::thread::panicking() {
            destroyed.unwrap();
        }
    }
}

/// An archive that the set-up makes.
fn image(name: &str) -> PathBuf {
    let archive = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/images").join(name);
    assert!(archive.exists(), "{} is missing: make it with `make setup`", archive.display());
    archive
}

fn cluster_config(pki: &Pki) -> Config {
    Config { tokens: Arc::new(pki.tokens().clone()), ..Config::new(Arc::new(kinds::catalogue())) }
}

/// Asks until a condition holds.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(why) => assert!(begun.elapsed() < PATIENCE, "{what}: {why}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) struct Pod<'a> {
    world: &'a World,
    pub(crate) name: String,
    pub(crate) uid: String,
}

impl Pod<'_> {
    pub(crate) async fn status(&self) -> Value {
        let object = self.world.admin.get(ApiResource::PODS, "default", &self.name).await;
        object.unwrap_or_else(|error| panic!("{}: {error}", self.name))["status"].take()
    }

    /// Waits until the status is as wanted.
    pub(crate) async fn wait(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        until(&format!("{} {what}", self.name), async || {
            let status = self.status().await;
            if holds(&status) {
                return Ok(status);
            }
            Err(format!("{status:#}\n{:#?}", self.world.events(&self.name).await))
        })
        .await
    }

    pub(crate) async fn wait_ready(&self) -> Value {
        self.wait("is ready", |status| {
            let conditions = status["conditions"].as_array().map_or(&[][..], Vec::as_slice);
            conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        })
        .await
    }

    pub(crate) async fn wait_phase(&self, phase: &str) -> Value {
        self.wait(phase, |status| status["phase"] == phase).await
    }

    pub(crate) async fn wait_event(&self, part: &str) {
        until(&format!("{} has the event {part:?}", self.name), async || {
            let events = self.world.events(&self.name).await;
            if events.iter().any(|event| event.contains(part)) { Ok(()) } else { Err(format!("{events:#?}")) }
        })
        .await;
    }

    pub(crate) async fn delete(&self) {
        self.begin_deletion().await;
        self.wait_gone().await;
    }

    pub(crate) async fn begin_deletion(&self) {
        self.world.admin.delete(ApiResource::PODS, "default", &self.name, &Default::default()).await.unwrap();
    }

    pub(crate) async fn wait_gone(&self) {
        until(&format!("{} is gone", self.name), async || {
            match self.world.admin.get(ApiResource::PODS, "default", &self.name).await {
                Err(error) if error.is_not_found() => Ok(()),
                Err(error) => Err(error.to_string()),
                Ok(object) => Err(object["status"].to_string()),
            }
        })
        .await;
    }

    pub(crate) fn log_request(&self, container: &str) -> LogRequest {
        let (namespace, pod) = ("default".to_owned(), self.name.clone());
        LogRequest {
            namespace,
            pod,
            uid: self.uid.clone(),
            container: container.to_owned(),
            ..Default::default()
        }
    }

    /// The log of a container, or the error.
    pub(crate) async fn log(&self, request: LogRequest) -> String {
        match self.world.node().logs(request).await {
            Ok(stream) => {
                let chunks: Vec<_> = stream.map(|chunk| chunk.unwrap()).collect().await;
                String::from_utf8(chunks.concat()).unwrap()
            }
            Err(error) => error.to_string(),
        }
    }

    /// Waits until a container's log contains something.
    pub(crate) async fn wait_log(&self, container: &str, part: &str) {
        until(&format!("{} has logged {part:?}", self.name), async || {
            let log = self.log(self.log_request(container)).await;
            if log.contains(part) { Ok(()) } else { Err(log) }
        })
        .await;
    }

    /// Runs a command: its exit code and output.
    pub(crate) async fn exec(&self, container: &str, command: &[&str]) -> (i32, String) {
        let (stdout, mut out) = mpsc::channel(16);
        let streams = Streams { stdout: Some(stdout.clone()), stderr: Some(stdout), ..Streams::default() };
        let request = ExecRequest {
            namespace: "default".to_owned(),
            pod: self.name.clone(),
            uid: self.uid.clone(),
            container: container.to_owned(),
            command: command.iter().map(ToString::to_string).collect(),
            tty: false,
        };
        let (exit, output) = tokio::join!(self.world.node().exec(request, streams), async {
            let mut all = Vec::new();
            while let Some(chunk) = out.recv().await {
                all.extend_from_slice(&chunk);
            }
            String::from_utf8(all).unwrap()
        });
        (exit.unwrap().code(), output)
    }

    pub(crate) fn ip(status: &Value) -> Ipv4Addr {
        status["podIP"].as_str().unwrap().parse().unwrap()
    }
}
