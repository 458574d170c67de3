//! A set of fields in the form of `FieldsV1`: `{"f:spec": {"f:replicas": {}}}`.

use berth_json::{Map, Text, Value};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// How deep a client's set may nest: as deep as an object.
const DEPTH_MAX: usize = crate::decode::DEPTH_MAX;

/// A tree of path steps (`f:name`, `k:{"name":"c"}`, `v:"x"`), some of which are members of the set.
///
/// The children are one sorted list: sets are many and small, a client's two megabytes of them a quarter of a million
/// nodes, and a tree of trees would be ten times that memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct FieldSet {
    /// Whether the path to here is a member itself.
    pub(super) member: bool,
    children: Vec<(Text, FieldSet)>,
}

impl FieldSet {
    /// The set of this one path.
    pub(super) fn leaf() -> Self {
        Self { member: true, children: Vec::new() }
    }

    /// The set of these children, in any order; empty ones are left out, and those of the same step are one.
    pub(super) fn of(member: bool, mut children: Vec<(Text, Self)>) -> Self {
        children.retain(|(_, child)| !child.is_empty());
        if !children.is_sorted_by(|before, after| before.0 < after.0) {
            children.sort_by(|before, after| before.0.cmp(&after.0));
            children.dedup_by(|later, first| {
                let is_same = later.0 == first.0;
                if is_same {
                    first.1.add(std::mem::take(&mut later.1));
                }
                is_same
            });
        }
        children.shrink_to_fit();
        Self { member, children }
    }

    /// All that is in any of the sets.
    pub(super) fn union(sets: impl IntoIterator<Item = Self>) -> Self {
        let mut member = false;
        let mut children = Vec::new();
        for set in sets {
            member |= set.member;
            children.extend(set.children);
        }
        // Equal steps become one by one union of all of them, so that many small sets cost no more than one large one.
        children.sort_by(|before, after| before.0.cmp(&after.0));
        let mut merged: Vec<(Text, Self)> = Vec::with_capacity(children.len());
        let mut same: Vec<Self> = Vec::new();
        let mut children = children.into_iter().peekable();
        while let Some((step, child)) = children.next() {
            same.push(child);
            if children.peek().is_some_and(|(next, _)| *next == step) {
                continue;
            }
            let whole = match same.pop() {
                Some(only) if same.is_empty() => only,
                last => Self::union(same.drain(..).chain(last)),
            };
            merged.push((step, whole));
        }
        Self { member, children: merged }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    pub(super) fn has_children(&self) -> bool {
        !self.children.is_empty()
    }

    pub(super) fn children(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.children.iter().map(|(step, child)| (step.as_str(), child))
    }

    pub(super) fn get(&self, step: &str) -> Option<&Self> {
        let at = self.children.binary_search_by(|(here, _)| here.as_str().cmp(step)).ok()?;
        Some(&self.children[at].1)
    }

    pub(super) fn add(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
        } else if !other.is_empty() {
            *self = Self::union([std::mem::take(self), other]);
        }
    }

    /// Takes the members of `other` out.
    pub(super) fn remove(&mut self, other: &Self) {
        self.member &= !other.member;
        self.children.retain_mut(|(step, child)| {
            if let Some(removed) = other.get(step) {
                child.remove(removed);
            }
            !child.is_empty()
        });
    }

    /// Takes the members of `other` out, and all that is below them.
    pub(super) fn remove_below(&mut self, other: &Self) {
        self.children.retain_mut(|(step, child)| {
            match other.get(step) {
                Some(removed) if removed.member => return false,
                Some(removed) => child.remove_below(removed),
                None => {}
            }
            !child.is_empty()
        });
    }

    /// The members that are in `other` as well.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        // The shorter side leads: an object may have thousands of small sets, and a change may be large.
        let (few, many) =
            if self.children.len() < other.children.len() { (self, other) } else { (other, self) };
        let both = |(step, child): (&str, &Self)| {
            many.get(step).map(|other| (Text::from(step), child.intersection(other)))
        };
        Self::of(self.member && other.member, few.children().filter_map(both).collect())
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
        let mut set = Self { member: fields.is_empty(), children: Vec::with_capacity(fields.len()) };
        for (step, value) in fields {
            let child = value.as_object()?;
            match step.split_once(':') {
                None if step == "." => set.member = true,
                // A map's keys are sorted.
                Some(("f" | "k" | "v" | "i", _)) => {
                    set.children.push((step.clone(), Self::read_at(child, depth + 1)?));
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
            map.serialize_entry(step.as_str(), child)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use berth_json::json;

    use super::*;

    fn set(value: Value) -> FieldSet {
        FieldSet::read(&value).unwrap()
    }

    #[test]
    fn sets_are_joined_and_cut() {
        let a = set(json!({"f:a": {}, "f:b": {".": {}, "f:c": {}}}));
        let b = set(json!({"f:b": {"f:c": {}, "f:d": {}}, "f:e": {}}));
        let both = FieldSet::union([a.clone(), b.clone(), a.clone()]);
        assert_eq!(both, set(json!({"f:a": {}, "f:b": {".": {}, "f:c": {}, "f:d": {}}, "f:e": {}})));
        assert_eq!(a.intersection(&b), set(json!({"f:b": {"f:c": {}}})));
        let mut rest = both.clone();
        rest.remove(&b);
        assert_eq!(rest, set(json!({"f:a": {}, "f:b": {}})));
        let mut rest = both;
        rest.remove_below(&set(json!({"f:b": {}})));
        assert_eq!(rest, set(json!({"f:a": {}, "f:e": {}})));
    }

    #[test]
    fn steps_in_any_order_are_one_set() {
        let steps = ["f:b", "f:a", "f:b"].map(|step| (Text::from(step), FieldSet::leaf()));
        assert_eq!(FieldSet::of(false, steps.into()), set(json!({"f:a": {}, "f:b": {}})));
    }
}
