//! `metrics.k8s.io`: the objects of what nodes measure, made of the nodes and pods that it is about.

use std::collections::HashMap;
use std::sync::Arc;

use berth_api::{ResourceName, Timestamp};
use berth_json::Value;
use berth_metrics::{Usage, node_metrics, pod_metrics};
use berth_server::Derived;
use berth_state::Stored;

struct NodeMetrics(Usage);

struct PodMetrics(Usage);

/// What is served of `usage`.
pub(super) fn resources(usage: &Usage) -> HashMap<ResourceName, Arc<dyn Derived>> {
    let nodes: Arc<dyn Derived> = Arc::new(NodeMetrics(usage.clone()));
    let pods: Arc<dyn Derived> = Arc::new(PodMetrics(usage.clone()));
    [("nodes.metrics.k8s.io".into(), nodes), ("pods.metrics.k8s.io".into(), pods)].into()
}

impl Derived for NodeMetrics {
    fn source(&self) -> &'static str {
        "nodes"
    }

    fn object(&self, node: &Stored, now: Timestamp) -> Option<Value> {
        let usage = self.0.node(&node.key.name, now)?;
        Some(node_metrics(&node.key.name, labels(node), &usage, now))
    }
}

impl Derived for PodMetrics {
    fn source(&self) -> &'static str {
        "pods"
    }

    fn object(&self, pod: &Stored, now: Timestamp) -> Option<Value> {
        let usage = self.0.pod(&pod.meta().uid, now)?;
        Some(pod_metrics(&pod.key.name, &pod.key.namespace, labels(pod), &usage, now))
    }
}

fn labels(stored: &Stored) -> Value {
    let labels = stored.meta().labels.iter();
    Value::Object(labels.map(|(key, value)| (key.to_string(), Value::from(&**value))).collect())
}
