//! Typed views: just the fields that controllers read. They ignore unknown fields, so they are never validation.

use std::collections::BTreeMap;

use berth_api::Timestamp;
use berth_json::Value;
use berth_state::Stored;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Reads a view of a stored object; `None` when a stored object does not have the kind's form, which the pipeline's
/// validation rules out.
pub(crate) fn read<T: DeserializeOwned>(stored: &Stored) -> Option<T> {
    serde_json::from_slice(stored.bytes()).ok()
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ObjectMeta {
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Deserialize, Default, Clone, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) last_transition_time: String,
    pub(crate) last_update_time: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Pod {
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: PodSpec,
    pub(crate) status: PodStatus,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PodSpec {
    pub(crate) node_name: String,
    pub(crate) tolerations: Vec<Toleration>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PodStatus {
    pub(crate) phase: String,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) container_statuses: Vec<ContainerStatus>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ContainerStatus {
    pub(crate) restart_count: u32,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Toleration {
    pub(crate) key: String,
    pub(crate) operator: String,
    pub(crate) value: String,
    pub(crate) effect: String,
    pub(crate) toleration_seconds: Option<i64>,
}

impl Pod {
    /// Since when the pod is ready.
    pub(crate) fn ready_since(&self) -> Option<Timestamp> {
        let ready = self.status.conditions.iter().find(|c| c.kind == "Ready" && c.status == "True")?;
        Some(Timestamp::parse(&ready.last_transition_time).unwrap_or_default())
    }

    /// Whether the pod will not run again.
    pub(crate) fn finished(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    pub(crate) fn restarts(&self) -> u32 {
        self.status.container_statuses.iter().map(|c| c.restart_count).sum()
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Node {
    pub(crate) spec: NodeSpec,
    pub(crate) status: NodeStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct NodeSpec {
    pub(crate) taints: Vec<Value>,
    pub(crate) unschedulable: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct NodeStatus {
    pub(crate) conditions: Vec<Condition>,
}

/// A Deployment or a ReplicaSet: what they have in common.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Workload {
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: WorkloadSpec,
    pub(crate) status: WorkloadStatus,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct WorkloadSpec {
    pub(crate) replicas: Option<i64>,
    pub(crate) selector: Value,
    pub(crate) template: Value,
    pub(crate) min_ready_seconds: i64,
    pub(crate) paused: bool,
    pub(crate) revision_history_limit: Option<i64>,
    pub(crate) progress_deadline_seconds: Option<i64>,
    pub(crate) strategy: Strategy,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Strategy {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) rolling_update: RollingUpdate,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct RollingUpdate {
    pub(crate) max_surge: Value,
    pub(crate) max_unavailable: Value,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct WorkloadStatus {
    pub(crate) replicas: i64,
    pub(crate) ready_replicas: i64,
    pub(crate) available_replicas: i64,
    pub(crate) observed_generation: i64,
    pub(crate) collision_count: Option<i64>,
    pub(crate) conditions: Vec<Condition>,
}

impl WorkloadSpec {
    /// `spec.replicas`; defaulting has filled it in.
    pub(crate) fn replicas(&self) -> i64 {
        self.replicas.unwrap_or(1)
    }
}

impl Condition {
    /// The form in which a status holds the condition; empty times are left out.
    pub(crate) fn to_value(&self) -> Value {
        let texts = [
            ("type", &self.kind),
            ("status", &self.status),
            ("reason", &self.reason),
            ("message", &self.message),
            ("lastTransitionTime", &self.last_transition_time),
            ("lastUpdateTime", &self.last_update_time),
        ];
        let given = texts.into_iter().filter(|(_, text)| !text.is_empty());
        Value::Object(given.map(|(key, text)| (key.to_owned(), text.as_str())).collect())
    }
}
