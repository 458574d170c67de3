//! A pod as the agent reads it: the fields it acts on, with Kubernetes' defaults where the API leaves them out.
//!
//! The API server has validated the object; what cannot be read here is a bug or another API version, and the pod is
//! refused with a clear status instead of being run half-understood.

mod container;
mod security;
mod volume;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

#[cfg(test)]
pub(crate) use container::IntOrString;
pub(crate) use container::{
    Container, EnvSource, EnvVar, FieldRef, GrpcAction, Handler, HttpGet, KeyRef, Port, Probe, Requirements,
    ResourceFieldRef, TcpSocket, VolumeMount,
};
pub(crate) use security::{AppArmorProfile, ContainerSecurity, PodSecurity};
pub(crate) use volume::{DownwardItem, EmptyDir, KeyToPath, Projection, Volume};

/// Grace period of a pod that names none, in seconds.
const GRACE_SECONDS_DEFAULT: i64 = 30;

/// A pod bound to this node.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Pod {
    pub(crate) metadata: Metadata,
    pub(crate) spec: PodSpec,
    pub(crate) status: Status,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Metadata {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) deletion_timestamp: Option<String>,
    pub(crate) deletion_grace_period_seconds: Option<i64>,
    pub(crate) generation: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodSpec {
    pub(crate) node_name: String,
    pub(crate) init_containers: Vec<Container>,
    pub(crate) containers: Vec<Container>,
    pub(crate) volumes: Vec<Volume>,
    pub(crate) restart_policy: RestartPolicy,
    pub(crate) termination_grace_period_seconds: Option<i64>,
    pub(crate) active_deadline_seconds: Option<i64>,
    pub(crate) dns_policy: String,
    pub(crate) dns_config: DnsConfig,
    pub(crate) host_network: bool,
    #[serde(rename = "hostPID")]
    pub(crate) host_pid: bool,
    #[serde(rename = "hostIPC")]
    pub(crate) host_ipc: bool,
    pub(crate) share_process_namespace: bool,
    pub(crate) security_context: PodSecurity,
    pub(crate) hostname: String,
    pub(crate) subdomain: String,
    #[serde(rename = "setHostnameAsFQDN")]
    pub(crate) set_hostname_as_fqdn: bool,
    pub(crate) host_aliases: Vec<HostAlias>,
    pub(crate) enable_service_links: Option<bool>,
    pub(crate) service_account_name: String,
    pub(crate) image_pull_secrets: Vec<LocalRef>,
    pub(crate) readiness_gates: Vec<ReadinessGate>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum RestartPolicy {
    #[default]
    Always,
    OnFailure,
    Never,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DnsConfig {
    pub(crate) nameservers: Vec<String>,
    pub(crate) searches: Vec<String>,
    pub(crate) options: Vec<DnsOption>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DnsOption {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct HostAlias {
    pub(crate) ip: String,
    pub(crate) hostnames: Vec<String>,
}

/// An object of the pod's namespace, by name.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LocalRef {
    pub(crate) name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReadinessGate {
    pub(crate) condition_type: String,
}

/// What the API says of the pod: what others wrote, and what an earlier run of this node reported.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    pub(crate) phase: String,
    pub(crate) start_time: Option<String>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) init_container_statuses: Vec<ReportedContainer>,
    pub(crate) container_statuses: Vec<ReportedContainer>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) last_transition_time: Option<String>,
}

/// A container status as it was reported: what the agent takes over when its own records are lost.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReportedContainer {
    pub(crate) name: String,
    pub(crate) restart_count: u32,
    #[serde(rename = "containerID")]
    pub(crate) container_id: String,
    pub(crate) started: bool,
    pub(crate) ready: bool,
}

impl Pod {
    /// Reads a pod from the API's JSON.
    pub(crate) fn from_value(value: Value) -> Result<Pod, serde_json::Error> {
        serde_json::from_value(without_nulls(value))
    }

    /// `name_namespace(uid)`, as the kubelet's messages name a pod.
    pub(crate) fn display(&self) -> String {
        let Metadata { name, namespace, uid, .. } = &self.metadata;
        format!("{name}_{namespace}({uid})")
    }

    pub(crate) fn uid(&self) -> &str {
        &self.metadata.uid
    }

    /// Init containers first, then the others.
    pub(crate) fn containers(&self) -> impl Iterator<Item = &Container> {
        self.spec.init_containers.iter().chain(&self.spec.containers)
    }

    pub(crate) fn container(&self, name: &str) -> Option<&Container> {
        self.containers().find(|container| container.name == name)
    }

    /// Init containers that go on running beside the others.
    pub(crate) fn sidecars(&self) -> impl DoubleEndedIterator<Item = &Container> {
        self.spec.init_containers.iter().filter(|container| container.is_sidecar())
    }

    /// How long its containers have to end when they are stopped, in seconds. Less than none means one, as in the API.
    pub(crate) fn grace_seconds(&self) -> i64 {
        match self.spec.termination_grace_period_seconds {
            Some(..0) => 1,
            other => other.unwrap_or(GRACE_SECONDS_DEFAULT),
        }
    }

    /// Whether somebody has deleted it.
    pub(crate) fn is_deleted(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// How long its containers have to end, in seconds, if somebody has deleted it.
    pub(crate) fn deletion_grace_seconds(&self) -> Option<i64> {
        let given = self.metadata.deletion_grace_period_seconds.unwrap_or(self.grace_seconds());
        self.is_deleted().then_some(given.max(0))
    }

    pub(crate) fn restart_policy_of(&self, container: &Container) -> RestartPolicy {
        match (container.is_sidecar(), self.spec.restart_policy) {
            (true, _) => RestartPolicy::Always,
            // An init container must succeed once; what succeeded is not repeated.
            (false, RestartPolicy::Always) if self.is_init(&container.name) => RestartPolicy::OnFailure,
            (false, policy) => policy,
        }
    }

    pub(crate) fn is_init(&self, name: &str) -> bool {
        self.spec.init_containers.iter().any(|container| container.name == name)
    }

    /// The host name its containers see.
    pub(crate) fn hostname(&self) -> &str {
        // Linux ends a host name after 63 characters; so does the kubelet, without a dash or dot at the end.
        const CHARS_MAX: usize = 63;
        let name = if self.spec.hostname.is_empty() { &self.metadata.name } else { &self.spec.hostname };
        name.get(..CHARS_MAX).map_or(name.as_str(), |cut| cut.trim_end_matches(['-', '.']))
    }
}

/// The API may write `null` for what is absent.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, field)| !field.is_null())
            .map(|(name, field)| (name, without_nulls(field)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nulls_and_absent_fields_take_the_defaults() {
        let pod = Pod::from_value(json!({
            "metadata": { "name": "a", "creationTimestamp": null, "labels": null },
            "spec": { "containers": [{ "name": "c", "image": "i", "resources": {} }], "restartPolicy": "Never" },
        }))
        .unwrap();
        assert_eq!(pod.spec.restart_policy, RestartPolicy::Never);
        assert_eq!(pod.grace_seconds(), 30);
        assert_eq!(pod.hostname(), "a");
    }

    #[test]
    fn init_containers_are_not_repeated_once_they_succeeded() {
        let pod = Pod::from_value(json!({ "spec": {
            "initContainers": [{ "name": "i" }, { "name": "s", "restartPolicy": "Always" }],
            "containers": [{ "name": "c" }],
        }}))
        .unwrap();
        let policies: Vec<_> = pod.containers().map(|container| pod.restart_policy_of(container)).collect();
        assert_eq!(policies, [RestartPolicy::OnFailure, RestartPolicy::Always, RestartPolicy::Always]);
    }
}
