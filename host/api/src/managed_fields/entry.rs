//! The entries of the list, read and written.

use std::collections::{HashMap, hash_map};

use berth_json::Value;

use super::set::FieldSet;
use super::{ManagedFields, OLDEST_MANAGER, UPDATE_MANAGERS_MAX, push_json};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) time: String,
    pub(super) fields: FieldSet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// The entries of a list; `None` when it is empty or not well formed.
pub(super) fn read(list: &Value) -> Option<Vec<Entry>> {
    list.as_array().filter(|list| !list.is_empty())?.iter().map(Entry::read).collect()
}

/// The list of these entries, in its order; `None` when nobody owns anything.
pub(super) fn encode(mut entries: Vec<Entry>) -> Option<ManagedFields> {
    entries.sort_by(|a, b| a.place().cmp(&b.place()));
    if entries.is_empty() {
        return None;
    }
    let mut list = String::with_capacity(1024);
    for (at, entry) in entries.iter().enumerate() {
        list.push(if at == 0 { '[' } else { ',' });
        entry.write(&mut list);
    }
    list.push(']');
    Some(ManagedFields(list))
}

/// Whether two lists say the same but for when.
pub(super) fn same_but_times(one: &[Entry], other: &[Entry]) -> bool {
    fn sorted(entries: &[Entry]) -> Vec<&Entry> {
        let mut entries: Vec<&Entry> = entries.iter().collect();
        entries.sort_by(|a, b| a.identity().cmp(&b.identity()));
        entries
    }
    let is_same =
        |(one, other): (&Entry, &Entry)| one.identity() == other.identity() && one.fields == other.fields;
    one.len() == other.len() && sorted(one).into_iter().zip(sorted(other)).all(is_same)
}

impl Entry {
    /// `None` for an entry that is not well formed.
    fn read(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let operation = match text("operation").as_str() {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        if text("fieldsType") != "FieldsV1" {
            return None;
        }
        Some(Self {
            manager: text("manager"),
            operation,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: text("time"),
            fields: FieldSet::read(value.get("fieldsV1")?)?,
        })
    }

    fn write(&self, out: &mut String) {
        let head = Head {
            manager: &self.manager,
            operation: match self.operation {
                Operation::Apply => "Apply",
                Operation::Update => "Update",
            },
            api_version: &self.api_version,
            time: &self.time,
            subresource: &self.subresource,
        };
        head.write(out);
        push_json(out, &self.fields);
        out.push('}');
    }

    /// Who it is about.
    fn identity(&self) -> (Operation, &str, &str, &str) {
        (self.operation, &self.manager, &self.api_version, &self.subresource)
    }

    /// The order of the list: applied ones first, then by time.
    fn place(&self) -> (Operation, &str, &str, &str, &str) {
        (self.operation, &self.time, &self.manager, &self.api_version, &self.subresource)
    }
}

/// All of an entry but its fields.
pub(super) struct Head<'a> {
    pub(super) manager: &'a str,
    pub(super) operation: &'a str,
    pub(super) api_version: &'a str,
    pub(super) time: &'a str,
    pub(super) subresource: &'a str,
}

impl Head<'_> {
    /// Writes the entry up to where its set of fields follows.
    pub(super) fn write(&self, out: &mut String) {
        out.push('{');
        for (key, text) in [
            ("manager", self.manager),
            ("operation", self.operation),
            ("apiVersion", self.api_version),
            ("time", self.time),
            ("subresource", self.subresource),
        ] {
            if !text.is_empty() {
                push_json(out, key);
                out.push(':');
                push_json(out, text);
                out.push(',');
            }
        }
        out.push_str("\"fieldsType\":\"FieldsV1\",\"fieldsV1\":");
    }
}

/// Merges the oldest `Update` entries of one version into one until few enough are left.
pub(super) fn cap(entries: &mut Vec<Entry>) {
    let updates = entries.iter().filter(|entry| entry.operation == Operation::Update).count();
    let Some(excess) = updates.checked_sub(UPDATE_MANAGERS_MAX).filter(|excess| *excess > 0) else { return };
    entries.sort_by(|a, b| a.place().cmp(&b.place()));
    let is_update = |entry: &Entry| entry.operation == Operation::Update;
    let (mut updates, mut kept): (Vec<Entry>, Vec<Entry>) = entries.drain(..).partition(is_update);
    // One more than the excess, because what they become is an entry itself.
    let rest = updates.split_off((excess + 1).min(updates.len()));
    let mut oldest: Vec<(Entry, Vec<FieldSet>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for mut entry in updates {
        let fields = std::mem::take(&mut entry.fields);
        match places.entry(entry.api_version.clone()) {
            hash_map::Entry::Occupied(place) => {
                let (merged, sets) = &mut oldest[*place.get()];
                merged.time = entry.time;
                sets.push(fields);
            }
            hash_map::Entry::Vacant(place) => {
                place.insert(oldest.len());
                let manager = OLDEST_MANAGER.to_owned();
                oldest.push((Entry { manager, subresource: String::new(), ..entry }, vec![fields]));
            }
        }
    }
    kept.extend(oldest.into_iter().map(|(entry, sets)| Entry { fields: FieldSet::union(sets), ..entry }));
    kept.extend(rest);
    *entries = kept;
}
