//! Scenarios: a world that is told in sentences what happens.

use std::sync::Arc;

use berth_api::{Status, Timestamp};
use berth_control::Writer;
use berth_json::{Value, json};
use berth_state::{Key, State, Stored};

use crate::faults::Fault;
pub use crate::policy::Style;
use crate::settings::Settings;
use crate::workload;
use crate::world::{World, node_name};

/// How long a fault lasts that a scenario ends itself: longer than any scenario.
const FOREVER_MS: i64 = 86_400_000;

/// One node of a world.
pub struct NodeHandle<'a> {
    world: &'a mut World,
    number: usize,
}

impl NodeHandle<'_> {
    /// The node does and says nothing more, as if it had lost its power.
    pub fn falls_silent(&mut self) {
        self.world.break_something(Fault::NodeSilent { node: self.number, for_ms: FOREVER_MS });
    }

    /// The node is back.
    pub fn returns(&mut self) {
        self.world.break_something(Fault::NodeReturns { node: self.number });
    }

    /// The pods bound to the node that are not being deleted.
    pub fn pods(&self) -> usize {
        let state = self.world.state();
        let pods = state.by_field("pods", "spec.nodeName", &node_name(self.number));
        pods.filter(|pod| pod.meta().deletion_timestamp.is_none()).count()
    }
}

impl World {
    /// A world in which only what the scenario says happens, with its nodes ready.
    ///
    /// # Panics
    /// When the nodes do not come up.
    pub fn calm(seed: u64, nodes: usize) -> Self {
        Self::calm_with(seed, Settings::calm(nodes))
    }

    /// The same with so many servers on one disk.
    ///
    /// # Panics
    /// As [`World::calm`].
    pub fn calm_servers(seed: u64, nodes: usize, servers: usize) -> Self {
        Self::calm_with(seed, Settings { servers, ..Settings::calm(nodes) })
    }

    fn calm_with(seed: u64, settings: Settings) -> Self {
        let nodes = settings.nodes;
        let mut world = Self::new(seed, settings);
        world.wait_until("all nodes are there", 10_000, |state| state.list("nodes", "").count() == nodes);
        world.run_for(2_000);
        world
    }

    /// The node of that number.
    pub fn node(&mut self, number: usize) -> NodeHandle<'_> {
        NodeHandle { world: self, number }
    }

    /// The newest state that a server shows.
    ///
    /// # Panics
    /// While all are down.
    pub fn state(&self) -> &State {
        self.seen.as_ref().expect("a server is up")
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// What a scenario writes with.
    pub fn writer(&self) -> Writer {
        Writer::new("client", self.catalogue.clone())
    }

    /// Creates a Deployment in the namespace `default`, whose pods leave a dead node after 20 s.
    ///
    /// # Errors
    /// What the server answers.
    pub fn deploy(&mut self, name: &str, replicas: i64, strategy: &Value) -> Result<Value, Status> {
        let object = workload::deployment(name, replicas, strategy, Some(20));
        let request = self.writer().create("deployments.apps", "default", object);
        self.write(request)
    }

    /// Gives a Deployment the image of another version, or takes it back to an earlier one.
    ///
    /// # Errors
    /// What the server answers.
    pub fn roll_out(&mut self, name: &str, version: i64) -> Result<Value, Status> {
        let key = Key::new("deployments.apps", "default", name);
        let request = self.writer().merge(&key, "", &workload::new_version(name, version));
        self.write(request)
    }

    /// Changes a Deployment's size.
    ///
    /// # Errors
    /// What the server answers.
    pub fn scale(&mut self, name: &str, replicas: i64) -> Result<Value, Status> {
        let key = Key::new("deployments.apps", "default", name);
        let request = self.writer().merge(&key, "scale", &json!({"spec": {"replicas": replicas}}));
        self.write(request)
    }

    /// Creates a HorizontalPodAutoscaler of a Deployment with the same name.
    ///
    /// # Errors
    /// What the server answers.
    pub fn autoscale(&mut self, name: &str, least: i64, most: i64) -> Result<Value, Status> {
        let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name});
        let spec = json!({"scaleTargetRef": target, "minReplicas": least, "maxReplicas": most});
        let object = json!({"metadata": {"name": name}, "spec": spec});
        let request = self.writer().create("horizontalpodautoscalers.autoscaling", "default", object);
        self.write(request)
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// What the server answers.
    ///
    /// # Panics
    /// When it is not there.
    pub fn delete(&mut self, key: &Key, propagation: &str) -> Result<Value, Status> {
        let stored = self.state().get(key).cloned().unwrap_or_else(|| panic!("{key} is not there"));
        let request = self.writer().delete(&stored, propagation);
        self.write(request)
    }

    /// The first server dies now, and starts again after so many milliseconds.
    pub fn server_dies(&mut self, down_ms: i64) {
        self.dies(0, down_ms);
    }

    /// A server dies now, and starts again after so many milliseconds.
    pub fn dies(&mut self, server: usize, down_ms: i64) {
        self.crash(server, down_ms);
    }

    /// A server stands still for so many milliseconds: not dead, but late.
    pub fn server_stands_still(&mut self, server: usize, for_ms: i64) {
        self.break_something(Fault::Freeze { server, for_ms });
    }

    /// Who holds a leader's lease, and how often it changed hands.
    pub fn leader(&self, lease: &str) -> Option<(String, i64)> {
        let key = Key::new("leases.coordination.k8s.io", "kube-system", lease);
        let spec = &crate::invariants::value(self.state().get(&key)?)["spec"];
        Some((spec["holderIdentity"].as_str()?.to_owned(), spec["leaseTransitions"].as_i64()?))
    }

    /// The server dies when the next batch has reached the disk, before anybody learns of it.
    pub fn server_dies_after_next_commit(&mut self, down_ms: i64) {
        self.break_something(Fault::CrashAfterCommit { down_ms });
    }

    /// No write reaches the disk any more.
    pub fn disk_fills_up(&mut self) {
        self.break_something(Fault::DiskFull { for_ms: FOREVER_MS });
    }

    /// After the next commit no write reaches the disk any more.
    pub fn disk_fills_up_after_next_commit(&mut self) {
        self.parts.disk.fills_up_after_commit();
    }

    /// Writes reach the disk again.
    pub fn disk_has_room(&mut self) {
        self.break_something(Fault::DiskWorks);
    }

    /// Another policy is bound; of a thousand of its calls so many fail.
    pub fn policy_becomes(&mut self, style: Style, failing_permille: u32) {
        self.break_something(Fault::Policy { style, failing_permille, failure_policy: "LastGood" });
    }

    /// Lets time pass until something is true.
    ///
    /// # Panics
    /// When it is not within so many milliseconds.
    pub fn wait_until(&mut self, what: &str, within_ms: i64, holds: impl Fn(&State) -> bool) {
        let deadline = self.now.plus_millis(within_ms);
        while !self.seen.as_ref().is_some_and(|state| holds(state)) {
            assert!(
                self.now < deadline && self.step(),
                "within {within_ms} ms it did not come to this: {what}"
            );
        }
    }
}

/// The pods of an app in `default` that are ready and not being deleted.
pub fn ready<'a>(state: &'a State, app: &'a str) -> impl Iterator<Item = &'a Arc<Stored>> {
    state.list("pods", "default").filter(move |pod| {
        let is_ready = |pod: &Stored| {
            let value = crate::invariants::value(pod);
            let conditions = value["status"]["conditions"].as_array().into_iter().flatten();
            conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
        };
        pod.label("app") == Some(app) && pod.meta().deletion_timestamp.is_none() && is_ready(pod)
    })
}
