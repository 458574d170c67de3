//! Typed views of pods and nodes: the fields that can change a decision.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct PodView {
    pub(crate) metadata: MetaView,
    pub(crate) spec: PodSpecView,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct MetaView {
    pub(crate) annotations: BTreeMap<Box<str>, Box<str>>,
    pub(crate) labels: BTreeMap<Box<str>, Box<str>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PodSpecView {
    pub(crate) containers: Vec<ContainerView>,
    pub(crate) init_containers: Vec<ContainerView>,
    pub(crate) overhead: BTreeMap<String, String>,
    pub(crate) node_selector: BTreeMap<Box<str>, Box<str>>,
    pub(crate) affinity: AffinityView,
    pub(crate) tolerations: Vec<Toleration>,
    pub(crate) priority: i32,
    pub(crate) scheduling_gates: Vec<serde::de::IgnoredAny>,
    pub(crate) host_network: bool,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ContainerView {
    pub(crate) resources: ResourcesView,
    pub(crate) ports: Vec<PortView>,
    pub(crate) restart_policy: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct ResourcesView {
    pub(crate) requests: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PortView {
    pub(crate) host_port: u16,
    #[serde(rename = "hostIP")]
    pub(crate) host_ip: String,
    pub(crate) protocol: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct AffinityView {
    pub(crate) node_affinity: NodeAffinityView,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct NodeAffinityView {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub(crate) required: Option<RequiredView>,
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
    pub(crate) preferred: Vec<PreferredView>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct RequiredView {
    pub(crate) node_selector_terms: Vec<Term>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct PreferredView {
    pub(crate) weight: i32,
    pub(crate) preference: Term,
}

/// `core/v1.NodeSelectorTerm`: all expressions must hold; a term without any matches nothing.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Hash)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Term {
    pub(crate) match_expressions: Vec<Expression>,
    pub(crate) match_fields: Vec<Expression>,
}

/// `core/v1.NodeSelectorRequirement`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Hash)]
#[serde(default)]
pub(crate) struct Expression {
    pub(crate) key: Box<str>,
    pub(crate) operator: Box<str>,
    pub(crate) values: Vec<Box<str>>,
}

/// `core/v1.Toleration`, without the seconds: they matter to eviction only.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(default)]
pub(crate) struct Toleration {
    pub(crate) key: Box<str>,
    pub(crate) operator: Box<str>,
    pub(crate) value: Box<str>,
    pub(crate) effect: Box<str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct NodeView {
    pub(crate) metadata: MetaView,
    pub(crate) spec: NodeSpecView,
    pub(crate) status: NodeStatusView,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct NodeSpecView {
    pub(crate) taints: Vec<Taint>,
    pub(crate) unschedulable: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct NodeStatusView {
    pub(crate) allocatable: BTreeMap<String, String>,
}

/// `core/v1.Taint`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(crate) struct Taint {
    pub(crate) key: Box<str>,
    pub(crate) value: Box<str>,
    pub(crate) effect: Box<str>,
}

impl Toleration {
    pub(crate) fn tolerates(&self, taint: &Taint) -> bool {
        let effect = self.effect.is_empty() || self.effect == taint.effect;
        let key = self.key.is_empty() || self.key == taint.key;
        let value = match &*self.operator {
            "Exists" => true,
            _ => !self.key.is_empty() && self.value == taint.value,
        };
        effect && key && value
    }
}
