//! Nodes.

use serde::Deserialize;

use super::{Condition, Pairs, Taint, View};

/// A node: its taints, what it reports and offers.
#[derive(Debug, Default, Deserialize)]
#[serde(from = "Wire")]
pub struct Node {
    /// Its annotations.
    pub annotations: Pairs,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// Whether it is cordoned.
    pub unschedulable: bool,
    /// What it reports.
    pub conditions: Vec<Condition>,
    /// What it offers to pods, as quantities.
    pub allocatable: Pairs,
}

impl View for Node {
    const RESOURCES: &'static [&'static str] = &["nodes"];
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
#[serde(default)]
struct Spec {
    taints: Vec<Taint>,
    unschedulable: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    conditions: Vec<Condition>,
    allocatable: Pairs,
}

impl From<Wire> for Node {
    fn from(wire: Wire) -> Self {
        let Wire { metadata, spec, status } = wire;
        Self {
            annotations: metadata.annotations,
            taints: spec.taints,
            unschedulable: spec.unschedulable,
            conditions: status.conditions,
            allocatable: status.allocatable,
        }
    }
}
