//! A set of fields in the form of `FieldsV1`: `{"f:spec": {"f:replicas": {}}}`.

use std::collections::BTreeMap;

use berth_json::{Map, Value};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// How deep a client's set may nest: as deep as an object.
const DEPTH_MAX: usize = crate::decode::DEPTH_MAX;

/// A tree of path steps (`f:name`, `k:{"name":"c"}`, `v:"x"`), some of which are members of the set.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct FieldSet {
    /// Whether the path to here is a member itself.
    pub(super) member: bool,
    pub(super) children: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    /// The set of this one path.
    pub(super) fn leaf() -> Self {
        Self { member: true, children: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// Puts `child` under `step`, unless it is empty.
    pub(super) fn put(&mut self, step: String, child: Self) {
        if !child.is_empty() {
            self.children.entry(step).or_default().add(child);
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.member |= other.member;
        for (step, child) in other.children {
            self.children.entry(step).or_default().add(child);
        }
    }

    pub(super) fn remove(&mut self, other: &Self) {
        self.member &= !other.member;
        // The shorter side leads: a client may send thousands of small sets, and a change may be large.
        if self.children.len() < other.children.len() {
            self.children.retain(|step, child| {
                if let Some(removed) = other.children.get(step) {
                    child.remove(removed);
                }
                !child.is_empty()
            });
            return;
        }
        for (step, removed) in &other.children {
            if let Some(child) = self.children.get_mut(step) {
                child.remove(removed);
                if child.is_empty() {
                    self.children.remove(step);
                }
            }
        }
    }

    /// Reads a client's set; `None` when it is none.
    pub(super) fn read(value: &Value) -> Option<Self> {
        let mut set = Self::read_at(value.as_object()?, 0)?;
        set.member = false;
        Some(set)
    }

    fn read_at(fields: &Map, depth: usize) -> Option<Self> {
        if depth > DEPTH_MAX {
            return None;
        }
        let mut set = Self { member: fields.is_empty(), children: BTreeMap::new() };
        for (step, value) in fields {
            let child = value.as_object()?;
            match step.split_once(':') {
                None if step == "." => set.member = true,
                Some(("f" | "k" | "v" | "i", _)) => {
                    set.children.insert(step.to_string(), Self::read_at(child, depth + 1)?);
                }
                _ => return None,
            }
        }
        Some(set)
    }
}

impl Serialize for FieldSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.member && !self.children.is_empty() {
            map.serialize_entry(".", &Map::new())?;
        }
        for (step, child) in &self.children {
            map.serialize_entry(step, child)?;
        }
        map.end()
    }
}
