//! Deployments and ReplicaSets: what they have in common.

use std::hash::{DefaultHasher, Hash, Hasher};

use berth_json::Value;
use serde::{Deserialize, Deserializer};

use super::{Condition, Pairs, View};
use crate::select::Selector;

/// The label by which a deployment tells the pods of its templates apart.
pub const TEMPLATE_HASH: &str = "pod-template-hash";

/// A Deployment or a ReplicaSet.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Workload {
    /// What of its metadata is read.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: WorkloadSpec,
    /// What there is.
    pub status: WorkloadStatus,
}

/// `metav1.ObjectMeta`, as far as it is not beside the bytes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Its annotations.
    pub annotations: Pairs,
}

/// `spec`; what only one of the two has is empty in the other.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WorkloadSpec {
    replicas: Option<i64>,
    /// Which pods (or ReplicaSets) it selects; `None` for none.
    #[serde(deserialize_with = "selector")]
    pub selector: Option<Selector>,
    /// The pods' template.
    pub template: Template,
    /// How long a pod must be ready until it is available.
    pub min_ready_seconds: i64,
    /// Whether a rollout rests.
    pub paused: bool,
    /// How many old ReplicaSets are kept.
    pub revision_history_limit: Option<i64>,
    /// How long a rollout may stand still.
    pub progress_deadline_seconds: Option<i64>,
    /// How old pods are replaced.
    pub strategy: Strategy,
}

/// What is known of a pod template without it: most of a workload's bytes are its template, which is read where pods are made.
#[derive(Debug, Default)]
pub struct Template {
    /// The labels of its pods.
    pub labels: Pairs,
    /// Equal templates have equal hashes, whatever their label [`TEMPLATE_HASH`].
    pub hash: u64,
}

/// `apps/v1.DeploymentStrategy`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Strategy {
    /// `RollingUpdate` or `Recreate`.
    #[serde(rename = "type")]
    pub kind: Box<str>,
    /// How the first goes.
    pub rolling_update: RollingUpdate,
}

/// `apps/v1.RollingUpdateDeployment`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RollingUpdate {
    /// How many pods more there may be: a number, or percent.
    pub max_surge: Value,
    /// How many pods may be missing: a number, or percent.
    pub max_unavailable: Value,
}

/// `status`; what only one of the two has is empty in the other.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// Pods that there are.
    pub replicas: i64,
    /// Pods with the present template.
    pub updated_replicas: i64,
    /// Pods that are ready.
    pub ready_replicas: i64,
    /// Pods that have been ready for long enough.
    pub available_replicas: i64,
    /// Which spec the status is about.
    pub observed_generation: i64,
    /// How often a name for a ReplicaSet was taken.
    pub collision_count: Option<i64>,
    /// How it is.
    pub conditions: Vec<Condition>,
}

impl View for Workload {
    const RESOURCES: &'static [&'static str] = &["deployments.apps", "replicasets.apps"];
}

impl WorkloadSpec {
    /// How many pods are wanted; defaulting has filled it in.
    pub fn replicas(&self) -> i64 {
        self.replicas.unwrap_or(1)
    }
}

/// One that cannot be understood selects nothing; validation rules it out.
fn selector<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Selector>, D::Error> {
    Ok(Selector::from_object(&Value::deserialize(deserializer)?).unwrap_or_default())
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut template = Value::deserialize(deserializer)?;
        let mut labels = Pairs::default();
        if let Some(given) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
            labels = given.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect();
            given.remove(TEMPLATE_HASH);
        }
        let mut hash = DefaultHasher::new();
        template.to_string().hash(&mut hash);
        Ok(Self { labels, hash: hash.finish() })
    }
}

#[cfg(test)]
mod tests {
    use berth_json::{from_value, json};

    use super::*;

    #[test]
    fn templates_are_told_apart_but_by_their_hash() {
        let template = |labels: Value, image: &str| -> Template {
            from_value(&json!({"metadata": {"labels": labels}, "spec": {"containers": [{"image": image}]}}))
                .unwrap()
        };
        let plain = template(json!({"app": "web"}), "i");
        let hashed = template(json!({"app": "web", TEMPLATE_HASH: "x"}), "i");
        assert_eq!(plain.hash, hashed.hash);
        assert_eq!(hashed.labels.iter().collect::<Vec<_>>(), [("app", "web"), (TEMPLATE_HASH, "x")]);
        assert_ne!(plain.hash, template(json!({"app": "web"}), "j").hash);
        assert_ne!(plain.hash, template(json!({"app": "other"}), "i").hash);
    }
}
