//! Pods: there may be a hundred thousand of them, so a view has room for what most pods have and no more.

use std::sync::{Arc, LazyLock};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Condition, Pairs, Toleration, View};
use crate::time::Timestamp;

/// What every pod tolerates of a node in trouble that does not say otherwise (`DefaultTolerationSeconds`): nearly all pods
/// have these and share them.
static USUAL: LazyLock<Arc<[Toleration]>> = LazyLock::new(|| {
    let for_five_minutes = |key: &str| Toleration {
        key: key.into(),
        operator: "Exists".into(),
        effect: "NoExecute".into(),
        toleration_seconds: Some(300),
        ..Toleration::default()
    };
    let keys = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
    keys.map(for_five_minutes).into()
});

/// A pod: where it may go, what it takes, and how it is. Its labels, node and phase-like texts are beside the bytes anyway.
#[derive(Debug, Default, Deserialize)]
#[serde(from = "Wire")]
pub struct Pod {
    /// Its annotations.
    pub annotations: Pairs,
    /// Its containers, without those that come first.
    pub containers: Box<[Container]>,
    /// Which taints it tolerates.
    pub tolerations: Arc<[Toleration]>,
    /// Who goes first.
    pub priority: i32,
    /// How often its containers were started again, altogether.
    pub restarts: u32,
    /// What it is doing.
    pub phase: Phase,
    /// Whether somebody holds its scheduling back.
    pub is_gated: bool,
    /// Since when it is ready; `None` while it is not.
    pub ready_since: Option<Timestamp>,
    /// Since when it is not, when it says so; `None` while it is ready, and while nobody has asked it yet.
    pub unready_since: Option<Timestamp>,
    /// When its node took it up.
    pub started_at: Option<Timestamp>,
    /// When it got its node, as far as its conditions say so.
    pub scheduled_at: Option<Timestamp>,
    rare: Option<Box<Rare>>,
}

/// What few pods have.
#[derive(Debug, Default, PartialEq)]
pub struct Rare {
    /// The containers that come first.
    pub init_containers: Box<[Container]>,
    /// What the pod takes beside its containers.
    pub overhead: Pairs,
    /// Labels that its node must have.
    pub node_selector: Pairs,
    /// Any of these its node must match; `None`: no required affinity.
    pub required: Option<Box<[Term]>>,
    /// What its node had better match.
    pub preferred: Box<[Preferred]>,
}

/// `core/v1.PodStatus.phase`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Phase {
    /// Not all containers have been started.
    Pending,
    /// Some container runs, or is about to.
    Running,
    /// All have ended well, and will not be started again.
    Succeeded,
    /// All have ended, one of them badly.
    Failed,
    /// Nobody says so.
    #[default]
    #[serde(other)]
    Unknown,
}

/// One container.
#[derive(Debug, Default, PartialEq)]
pub struct Container {
    /// Its name.
    pub name: Box<str>,
    /// What it requests, as quantities.
    pub requests: Pairs,
    /// The ports that it wants on the node.
    pub host_ports: Box<[HostPort]>,
    /// Whether an init container goes on beside those that come after it.
    pub is_sidecar: bool,
}

/// A port that a container wants on its node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// Its number, not 0.
    pub port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Box<str>,
    /// At which address; empty and `0.0.0.0` are all.
    pub ip: Box<str>,
}

/// `core/v1.NodeSelectorTerm`: all expressions must hold; a term without any matches nothing.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Hash)]
#[serde(default, rename_all = "camelCase")]
pub struct Term {
    /// Of the node's labels.
    pub match_expressions: Vec<Expression>,
    /// Of its fields.
    pub match_fields: Vec<Expression>,
}

/// `core/v1.NodeSelectorRequirement`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Hash)]
#[serde(default)]
pub struct Expression {
    /// The label or field.
    pub key: Box<str>,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`, `Gt` or `Lt`.
    pub operator: Box<str>,
    /// What it is compared with.
    pub values: Vec<Box<str>>,
}

/// `core/v1.PreferredSchedulingTerm`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Preferred {
    /// How much it counts.
    pub weight: i32,
    /// What is preferred.
    pub preference: Term,
}

impl View for Pod {
    const RESOURCES: &'static [&'static str] = &["pods"];
}

impl HostPort {
    /// Whether two pods with these ports cannot be on one node.
    pub fn conflicts(&self, other: &Self) -> bool {
        let any = |ip: &str| matches!(ip, "" | "0.0.0.0" | "::");
        self.port == other.port
            && self.protocol == other.protocol
            && (any(&self.ip) || any(&other.ip) || self.ip == other.ip)
    }
}

impl Pod {
    /// Whether the pod will not run again.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// What few pods have.
    pub fn rare(&self) -> &Rare {
        static NOTHING: LazyLock<Rare> = LazyLock::new(Rare::default);
        self.rare.as_deref().unwrap_or(&NOTHING)
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    annotations: Pairs,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    containers: Box<[Container]>,
    init_containers: Box<[Container]>,
    overhead: Pairs,
    node_selector: Pairs,
    affinity: Affinity,
    tolerations: Vec<Toleration>,
    priority: i32,
    scheduling_gates: Vec<IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ContainerWire {
    name: Box<str>,
    resources: Resources,
    ports: Vec<Port>,
    restart_policy: Box<str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Resources {
    requests: Pairs,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Port {
    host_port: u16,
    #[serde(rename = "hostIP")]
    host_ip: Box<str>,
    protocol: Box<str>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Affinity {
    node_affinity: NodeAffinity,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NodeAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: Option<Required>,
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
    preferred: Box<[Preferred]>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Required {
    node_selector_terms: Box<[Term]>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    phase: Phase,
    start_time: Option<Box<str>>,
    conditions: Vec<Condition>,
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ContainerStatus {
    restart_count: u32,
}

impl From<Wire> for Pod {
    fn from(wire: Wire) -> Self {
        let Wire { metadata, spec, status } = wire;
        let holds = |kind: &str| status.conditions.iter().find(|c| &*c.kind == kind && &*c.status == "True");
        let unready = status.conditions.iter().find(|c| &*c.kind == "Ready" && &*c.status != "True");
        let NodeAffinity { required, preferred } = spec.affinity.node_affinity;
        let rare = Rare {
            init_containers: spec.init_containers,
            overhead: spec.overhead,
            node_selector: spec.node_selector,
            required: required.map(|required| required.node_selector_terms),
            preferred,
        };
        Self {
            annotations: metadata.annotations,
            containers: spec.containers,
            tolerations: shared(spec.tolerations),
            priority: spec.priority,
            restarts: status.container_statuses.iter().fold(0, |sum, c| sum.saturating_add(c.restart_count)),
            phase: status.phase,
            is_gated: !spec.scheduling_gates.is_empty(),
            ready_since: holds("Ready").map(|ready| ready.since().unwrap_or_default()),
            unready_since: unready.map(|unready| unready.since().unwrap_or_default()),
            started_at: status.start_time.as_deref().and_then(Timestamp::parse),
            scheduled_at: holds("PodScheduled").and_then(Condition::since),
            rare: (rare != Rare::default()).then(|| Box::new(rare)),
        }
    }
}

fn shared(tolerations: Vec<Toleration>) -> Arc<[Toleration]> {
    if *tolerations == **USUAL { USUAL.clone() } else { tolerations.into() }
}

impl<'de> Deserialize<'de> for Container {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ContainerWire { name, resources, ports, restart_policy } =
            Deserialize::deserialize(deserializer)?;
        let on_node = ports.into_iter().filter(|port| port.host_port > 0);
        Ok(Self {
            name,
            requests: resources.requests,
            host_ports: on_node
                .map(|Port { host_port, host_ip, protocol }| HostPort {
                    port: host_port,
                    protocol,
                    ip: host_ip,
                })
                .collect(),
            is_sidecar: &*restart_policy == "Always",
        })
    }
}

#[cfg(test)]
mod tests {
    use berth_json::{Value, from_value, json};

    use super::*;

    fn pod(value: &Value) -> Pod {
        from_value(value).unwrap()
    }

    #[test]
    fn what_is_read_of_a_pod() {
        let read = pod(&json!({
            "metadata": {"name": "p", "annotations": {"b": "2", "a": "1"}},
            "spec": {
                "priority": 7, "schedulingGates": [{"name": "g"}], "overhead": {"cpu": "10m"},
                "nodeSelector": {"disk": "fast"},
                "initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "i"}],
                "containers": [{
                    "name": "c", "resources": {"requests": {"memory": "1Gi", "cpu": "1"}},
                    "ports": [{"containerPort": 80}, {"hostPort": 8080, "protocol": "TCP", "hostIP": "10.0.0.1"}],
                }],
                "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "k", "operator": "Exists"}]}],
                }}},
            },
            "status": {
                "phase": "Running", "startTime": "2026-11-21T10:45:14Z",
                "conditions": [
                    {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-21T10:45:13Z"},
                    {"type": "Ready", "status": "True", "lastTransitionTime": null},
                ],
                "containerStatuses": [{"restartCount": 2}, {"restartCount": 3}],
            },
        }));
        assert_eq!(read.annotations.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!((read.annotations.get("b"), read.annotations.get("c")), (Some("2"), None));
        assert_eq!((read.priority, read.is_gated, read.restarts, read.phase), (7, true, 5, Phase::Running));
        assert_eq!(read.scheduled_at, Timestamp::parse("2026-11-21T10:45:13Z"));
        assert_eq!(read.ready_since, Some(Timestamp::default()), "ready, nobody knows since when");
        assert_eq!((read.unready_since, read.started_at), (None, Timestamp::parse("2026-11-21T10:45:14Z")));
        let [container] = &*read.containers else { panic!("one container") };
        assert_eq!(&*container.name, "c");
        assert_eq!(container.requests.iter().collect::<Vec<_>>(), [("cpu", "1"), ("memory", "1Gi")]);
        let port = HostPort { port: 8080, protocol: "TCP".into(), ip: "10.0.0.1".into() };
        assert_eq!(*container.host_ports, [port], "the others are in the pod's own network");
        let rare = read.rare();
        assert_eq!(rare.init_containers.iter().map(|c| c.is_sidecar).collect::<Vec<_>>(), [true, false]);
        assert_eq!((rare.overhead.get("cpu"), rare.node_selector.get("disk")), (Some("10m"), Some("fast")));
        assert_eq!(&*rare.required.as_ref().unwrap()[0].match_expressions[0].key, "k");
    }

    #[test]
    fn a_pod_that_says_little_needs_little() {
        let bare = pod(&json!({"spec": {"affinity": {}}, "status": {"phase": "New", "conditions": []}}));
        assert!(bare.rare.is_none() && !bare.is_gated && bare.ready_since.is_none());
        assert_eq!((bare.phase, bare.is_finished()), (Phase::Unknown, false));
        assert_eq!(bare.rare().required, None);
        let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
        assert_eq!(
            (pod(&unready).ready_since, pod(&unready).unready_since),
            (None, Some(Timestamp::default()))
        );
    }

    #[test]
    fn the_usual_tolerations_are_shared() {
        let usual = |seconds: i64| {
            let of = |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
            let keys = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
            pod(&json!({"spec": {"tolerations": keys.map(of).to_vec()}})).tolerations
        };
        assert!(Arc::ptr_eq(&usual(300), &usual(300)));
        assert!(!Arc::ptr_eq(&usual(60), &usual(60)));
        assert_eq!(usual(60)[1].toleration_seconds, Some(60));
    }
}
