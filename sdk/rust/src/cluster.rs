//! The plugin's own picture of the cluster, in columns.

use crate::lanes::LANES;
use std::collections::BTreeMap;

/// A pod that has no node.
pub const NO_SLOT: u32 = u32::MAX;
/// A pod that is in no group.
pub const NO_GROUP: u32 = 0;
/// A label or annotation that is absent.
pub const NO_SYMBOL: u32 = 0;

/// What the host has told so far. Nodes are slots; dimensions, columns and keys are numbered as in the manifest.
///
/// Columns are indexed by slot and padded to a multiple of [`LANES`]; rows of slots without a node are 0.
#[derive(Debug, Default)]
pub struct Cluster {
    dimensions: Vec<String>,
    symbols: Vec<String>,
    label_keys: usize,
    live: Vec<bool>,
    allocatable: Vec<Vec<i32>>,
    requested: Vec<Vec<i32>>,
    labels: Vec<Vec<u32>>,
    node_columns: Vec<Vec<i32>>,
    units: Vec<Vec<Unit>>,
    classes: BTreeMap<u32, Class>,
    groups: BTreeMap<u32, Group>,
    pods: BTreeMap<u64, Pod>,
    pods_by_slot: Vec<Vec<u64>>,
    seq: u64,
}

/// The scheduling projection of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its number.
    pub id: u32,
    /// A quantity per dimension.
    pub requests: Vec<i32>,
    /// A symbol per pod label and annotation key of the manifest.
    pub attributes: Vec<u32>,
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
    /// What it has.
    pub capacity: i32,
    /// What pods have not taken.
    pub free: i32,
}

/// Pods that are placed together or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its number, never [`NO_GROUP`].
    pub id: u32,
    /// How many must have a place before any gets one.
    pub min_members: u32,
    /// How many have a place already.
    pub placed: u32,
}

/// One pod, waiting or bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pod {
    /// The host's number for it.
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
    /// Whether it may be evicted for one of higher priority.
    pub evictable: bool,
}

impl Class {
    /// How much of a dimension a pod of this class requests.
    pub fn request(&self, dimension: usize) -> i32 {
        self.requests.get(dimension).copied().unwrap_or(0)
    }

    /// Symbol of one of the pod labels and annotations of the manifest, or [`NO_SYMBOL`].
    pub fn attribute(&self, key: usize) -> u32 {
        self.attributes.get(key).copied().unwrap_or(NO_SYMBOL)
    }
}

/// Questions about the cluster.
impl Cluster {
    /// The number of the last whole state.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// All dimensions by number: the manifest's, then those its `*` stands for.
    pub fn dimensions(&self) -> &[String] {
        &self.dimensions
    }

    /// One more than the highest slot a node has had.
    pub fn slots(&self) -> usize {
        self.live.len()
    }

    /// The slots that hold a node, ascending.
    pub fn nodes(&self) -> impl Iterator<Item = u32> + '_ {
        self.live.iter().enumerate().filter(|(_, live)| **live).map(|(slot, _)| slot as u32)
    }

    /// What nodes can give of a dimension.
    pub fn allocatable(&self, dimension: usize) -> &[i32] {
        &self.allocatable[dimension]
    }

    /// What the pods placed on nodes have requested of a dimension.
    pub fn requested(&self, dimension: usize) -> &[i32] {
        &self.requested[dimension]
    }

    /// Values of a node column.
    pub fn node_column(&self, column: usize) -> &[i32] {
        self.node_columns.get(column).map_or(&[], Vec::as_slice)
    }

    /// Symbols of a node label or annotation; [`NO_SYMBOL`] where a node has none.
    pub fn labels(&self, key: usize) -> &[u32] {
        &self.labels[key]
    }

    /// The text of a symbol; empty for one that is absent.
    pub fn text(&self, symbol: u32) -> &str {
        self.symbols.get(symbol as usize).map_or("", String::as_str)
    }

    /// A class.
    ///
    /// # Panics
    /// When the host never defined it.
    pub fn class(&self, id: u32) -> &Class {
        self.classes.get(&id).unwrap_or_else(|| panic!("class {id} is not defined"))
    }

    /// All classes, by number.
    pub fn classes(&self) -> impl Iterator<Item = &Class> {
        self.classes.values()
    }

    /// A node's devices, by dimension and index.
    pub fn units(&self, slot: u32) -> &[Unit] {
        self.units.get(slot as usize).map_or(&[], Vec::as_slice)
    }

    /// A group that has not gone.
    pub fn group(&self, id: u32) -> Option<&Group> {
        self.groups.get(&id)
    }

    /// A bound pod.
    pub fn pod(&self, id: u64) -> Option<&Pod> {
        self.pods.get(&id)
    }

    /// All bound pods, by number.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }

    /// The pods bound to a node.
    pub fn pods_on(&self, slot: u32) -> impl Iterator<Item = &Pod> {
        let ids = self.pods_by_slot.get(slot as usize).map_or(&[][..], Vec::as_slice);
        ids.iter().filter_map(|id| self.pods.get(id))
    }
}

/// The feed, named as in the contract: called by the generated bindings and by native tests.
impl Cluster {
    /// Forgets everything. `node_keys` and `node_columns` come from the manifest.
    pub(crate) fn reset(&mut self, node_keys: usize, node_columns: usize) {
        *self = Self {
            label_keys: node_keys,
            labels: vec![Vec::new(); node_keys],
            node_columns: vec![Vec::new(); node_columns],
            ..Self::default()
        };
    }

    /// Names all dimensions.
    pub fn define_dimensions(&mut self, names: Vec<String>) {
        self.allocatable = vec![Vec::new(); names.len()];
        self.requested = vec![Vec::new(); names.len()];
        self.dimensions = names;
    }

    /// Adds symbols, numbered upwards from `first`.
    pub fn define_symbols(&mut self, first: u32, texts: Vec<String>) {
        self.symbols.resize(first as usize, String::new());
        self.symbols.extend(texts);
    }

    /// Removes nodes and their units.
    pub fn remove_nodes(&mut self, slots: &[u32]) {
        for &slot in slots {
            let slot = slot as usize;
            self.live[slot] = false;
            let quantities =
                self.allocatable.iter_mut().chain(&mut self.requested).chain(&mut self.node_columns);
            quantities.for_each(|column| column[slot] = 0);
            self.labels.iter_mut().for_each(|column| column[slot] = NO_SYMBOL);
            self.units[slot].clear();
        }
    }

    /// Adds or replaces nodes; the other lists are rows.
    pub fn upsert_nodes(&mut self, slots: &[u32], allocatable: &[i32], requested: &[i32], labels: &[u32]) {
        self.grow(slots);
        for &slot in slots {
            self.live[slot as usize] = true;
        }
        scatter(slots, allocatable, &mut self.allocatable);
        scatter(slots, requested, &mut self.requested);
        scatter(slots, labels, &mut self.labels);
    }

    /// Replaces what nodes' pods have requested; `requested` is rows.
    pub fn update_requested(&mut self, slots: &[u32], requested: &[i32]) {
        scatter(slots, requested, &mut self.requested);
    }

    /// Replaces values of a node column.
    pub fn update_column(&mut self, column: u32, slots: &[u32], values: &[i32]) {
        let column = column as usize;
        scatter(slots, values, &mut self.node_columns[column..=column]);
    }

    /// Adds, replaces or (capacity 0) removes devices.
    pub fn upsert_units(&mut self, units: impl IntoIterator<Item = Unit>) {
        for unit in units {
            let node = &mut self.units[unit.slot as usize];
            node.retain(|other| other.id != unit.id);
            if unit.capacity > 0 {
                let place = |other: &Unit| (other.dimension, other.index) < (unit.dimension, unit.index);
                node.insert(node.partition_point(place), unit);
            }
        }
    }

    /// Adds classes; the other lists are rows.
    pub fn define_classes(&mut self, ids: &[u32], requests: &[i32], attributes: &[u32]) {
        let row = |width: usize, at: usize| at * width..(at + 1) * width;
        let keys = attributes.len().checked_div(ids.len()).unwrap_or(0);
        for (at, &id) in ids.iter().enumerate() {
            let class = Class {
                id,
                requests: requests[row(self.dimensions.len(), at)].to_vec(),
                attributes: attributes[row(keys, at)].to_vec(),
            };
            self.classes.insert(id, class);
        }
    }

    /// Removes classes.
    pub fn forget_classes(&mut self, ids: &[u32]) {
        for id in ids {
            self.classes.remove(id);
        }
    }

    /// Adds, replaces or (`min_members` 0) removes groups.
    pub fn upsert_groups(&mut self, groups: impl IntoIterator<Item = Group>) {
        for group in groups {
            if group.min_members == 0 {
                self.groups.remove(&group.id);
            } else {
                self.groups.insert(group.id, group);
            }
        }
    }

    /// Removes bound pods.
    pub fn remove_pods(&mut self, ids: &[u64]) {
        for id in ids {
            if let Some(pod) = self.pods.remove(id)
                && let Some(on_node) = self.pods_by_slot.get_mut(pod.slot as usize)
            {
                on_node.retain(|other| other != id);
            }
        }
    }

    /// Adds or replaces bound pods.
    pub fn upsert_pods(&mut self, pods: impl IntoIterator<Item = Pod>) {
        for pod in pods {
            self.remove_pods(&[pod.id]);
            if let Some(on_node) = self.pods_by_slot.get_mut(pod.slot as usize) {
                on_node.push(pod.id);
            }
            self.pods.insert(pod.id, pod);
        }
    }

    /// Marks the picture as whole.
    pub(crate) fn end_batch(&mut self, seq: u64) {
        self.seq = seq;
    }

    fn grow(&mut self, slots: &[u32]) {
        let needed = slots.iter().max().map_or(0, |&slot| slot as usize + 1);
        if needed <= self.live.len() {
            return;
        }
        let padded = needed.next_multiple_of(LANES);
        self.live.resize(needed, false);
        self.units.resize_with(needed, Vec::new);
        self.pods_by_slot.resize_with(needed, Vec::new);
        let quantities = self.allocatable.iter_mut().chain(&mut self.requested).chain(&mut self.node_columns);
        quantities.for_each(|column| column.resize(padded, 0));
        self.labels.resize_with(self.label_keys, Vec::new);
        self.labels.iter_mut().for_each(|column| column.resize(padded, NO_SYMBOL));
    }
}

/// Writes rows of as many values as there are columns into the columns.
fn scatter<T: Copy>(slots: &[u32], rows: &[T], columns: &mut [Vec<T>]) {
    let width = columns.len();
    for (number, column) in columns.iter_mut().enumerate() {
        for (at, &slot) in slots.iter().enumerate() {
            column[slot as usize] = rows[at * width + number];
        }
    }
}

#[cfg(test)]
mod tests;
