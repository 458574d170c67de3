//! What a policy is told: the difference between two states of the cluster, in flat lists.

use super::Manifest;

/// A pod that has no node.
pub const NO_SLOT: u32 = u32::MAX;
/// A pod that is in no group.
pub const NO_GROUP: u32 = 0;
/// A label or annotation that is absent.
pub const NO_SYMBOL: u32 = 0;

/// Everything that changed since the last feed. Owners keep one and [`Feed::clear`] it, so that the buffers are reused.
///
/// The sections apply in the order in which they are declared. Nothing is both added and removed in one feed, except that a
/// removed node's slot may be taken by a new node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Feed {
    /// The number of this state; questions refer to it.
    pub seq: u64,
    /// Forget everything first; this feed then holds the whole cluster, and `dimensions` is set.
    pub reset: bool,
    /// All dimensions by number: the manifest's, then those its `*` stands for. Set in the first feed and after a reset.
    pub dimensions: Option<Vec<String>>,
    /// New texts of labels, annotations and models.
    pub symbols: Symbols,
    /// Slots of nodes that are gone.
    pub removed_nodes: Vec<u32>,
    /// Nodes that are new or changed in more than `requested`.
    pub nodes: NodeRows,
    /// Slots of nodes that changed in `requested` only.
    pub requested_slots: Vec<u32>,
    /// A row of quantities for each of `requested_slots`.
    pub requested: Vec<i32>,
    /// Changed values of node columns.
    pub columns: Vec<ColumnUpdate>,
    /// Units that are new or changed; those of capacity 0 are gone.
    pub units: Vec<Unit>,
    /// New classes: ids, then a row of quantities and a row of symbols for each.
    pub class_ids: Vec<u32>,
    /// A quantity per dimension for each class.
    pub class_requests: Vec<i32>,
    /// A symbol per pod label and annotation key of the manifest for each class.
    pub class_attributes: Vec<u32>,
    /// Classes that no pod has any more.
    pub forgotten_classes: Vec<u32>,
    /// Groups that are new or changed; those with `min_members` 0 are gone.
    pub groups: Vec<Group>,
    /// Bound pods that left.
    pub removed_pods: Vec<u64>,
    /// Pods that were bound.
    pub pods: Vec<Pod>,
}

/// Nodes as rows of flat lists.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeRows {
    /// The nodes.
    pub slots: Vec<u32>,
    /// A quantity per dimension for each node.
    pub allocatable: Vec<i32>,
    /// A quantity per dimension for each node: the sum over the pods placed there.
    pub requested: Vec<i32>,
    /// A symbol per node label and annotation key of the manifest for each node.
    pub labels: Vec<u32>,
}

/// New symbols, numbered upwards from `first`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Symbols {
    /// Number of the first text; never 0.
    pub first: u32,
    /// The texts.
    pub texts: Vec<String>,
}

/// New values of one of the manifest's node columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnUpdate {
    /// Index into the manifest's `node_columns`.
    pub column: u32,
    /// The nodes.
    pub slots: Vec<u32>,
    /// One value for each of `slots`.
    pub values: Vec<i32>,
}

/// One device of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Unique in the cluster.
    pub id: u32,
    /// Its node.
    pub slot: u32,
    /// The dimension its capacity counts in.
    pub dimension: u32,
    /// Its number on the node.
    pub index: u32,
    /// Symbol of its model.
    pub model: u32,
    /// 0: the unit is gone.
    pub capacity: i32,
    /// What pods have not taken.
    pub free: i32,
}

/// Pods that are placed together or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Never [`NO_GROUP`].
    pub id: u32,
    /// How many must have a place before any gets one; 0: the group is gone.
    pub min_members: u32,
    /// How many have a place already.
    pub placed: u32,
}

/// A pod as policies see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pod {
    /// The host's number for the pod, never reused.
    pub id: u64,
    /// Since when it has been waiting or has had its place, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// Its class.
    pub class: u32,
    /// Its group, or [`NO_GROUP`].
    pub group: u32,
    /// Its priority.
    pub priority: i32,
    /// Its node, or [`NO_SLOT`].
    pub slot: u32,
    /// What else is to know.
    pub flags: PodFlags,
}

/// Facts about a pod, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodFlags(pub u32);

impl PodFlags {
    /// The pod may be evicted for one of higher priority.
    pub const EVICTABLE: Self = Self(1);
}

/// One class, for [`Feed::define_class`].
#[derive(Clone, Copy, Debug)]
pub struct Class<'a> {
    /// Not used before since the last reset.
    pub id: u32,
    /// A quantity per dimension.
    pub requests: &'a [i32],
    /// A symbol per pod label and annotation key of the manifest.
    pub attributes: &'a [u32],
}

impl Feed {
    /// Empties all lists and keeps their memory.
    pub fn clear(&mut self) {
        self.reset = false;
        self.dimensions = None;
        self.symbols.texts.clear();
        self.removed_nodes.clear();
        self.nodes.slots.clear();
        self.nodes.allocatable.clear();
        self.nodes.requested.clear();
        self.nodes.labels.clear();
        self.requested_slots.clear();
        self.requested.clear();
        self.columns.clear();
        self.units.clear();
        self.class_ids.clear();
        self.class_requests.clear();
        self.class_attributes.clear();
        self.forgotten_classes.clear();
        self.groups.clear();
        self.removed_pods.clear();
        self.pods.clear();
    }

    /// Says that a node is new or changed.
    pub fn upsert_node(&mut self, slot: u32, allocatable: &[i32], requested: &[i32], labels: &[u32]) {
        self.nodes.slots.push(slot);
        self.nodes.allocatable.extend_from_slice(allocatable);
        self.nodes.requested.extend_from_slice(requested);
        self.nodes.labels.extend_from_slice(labels);
    }

    /// Says that what pods request of a node has changed.
    pub fn update_requested(&mut self, slot: u32, requested: &[i32]) {
        self.requested_slots.push(slot);
        self.requested.extend_from_slice(requested);
    }

    /// Says that a class is new.
    pub fn define_class(&mut self, class: Class<'_>) {
        self.class_ids.push(class.id);
        self.class_requests.extend_from_slice(class.requests);
        self.class_attributes.extend_from_slice(class.attributes);
    }

    /// Asserts that every list has the length that `manifest` and `dimensions` demand: a wrong one is the host's bug.
    pub fn assert_shape(&self, manifest: &Manifest, dimensions: usize) {
        let nodes = self.nodes.slots.len();
        let labels = manifest.node_keys();
        assert_eq!(self.nodes.allocatable.len(), nodes * dimensions, "allocatable rows");
        assert_eq!(self.nodes.requested.len(), nodes * dimensions, "requested rows of nodes");
        assert_eq!(self.nodes.labels.len(), nodes * labels, "label rows");
        assert_eq!(self.requested.len(), self.requested_slots.len() * dimensions, "requested rows");
        let classes = self.class_ids.len();
        assert_eq!(self.class_requests.len(), classes * dimensions, "request rows of classes");
        assert_eq!(self.class_attributes.len(), classes * manifest.pod_keys(), "attribute rows of classes");
        for update in &self.columns {
            assert_eq!(update.slots.len(), update.values.len(), "values of a node column");
        }
    }
}
