//! `metadata.managedFields`: which writer set which fields.
//!
//! Every write is an `Update` of its manager: the manager owns what it added or changed, and nobody owns any more what
//! is gone. The sets have the form of `FieldsV1`, lists by the keys of the schema, so that server-side apply can build
//! on them. `Apply` entries that a client sent are kept and shrink like all others.

mod compare;
mod created;
mod set;

use std::collections::{HashMap, hash_map};

use berth_json::Value;
use serde::Serialize;

use crate::schema::{Schema, Type};
use crate::time::Timestamp;
use set::FieldSet;

/// How many `Update` entries an object keeps, as on the API server: the oldest beyond become [`OLDEST_MANAGER`]'s.
pub const UPDATE_MANAGERS_MAX: usize = 10;

/// Who owns what the oldest managers owned.
const OLDEST_MANAGER: &str = "ancient-changes";

/// Who writes, and how.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// `fieldManager`, or the user agent up to its first slash.
    pub manager: &'a str,
    /// The version that was written: `v1`, `apps/v1`.
    pub api_version: &'a str,
    /// `status`, `scale`, …; empty for the object itself.
    pub subresource: &'a str,
    /// When.
    pub now: Timestamp,
}

/// `metadata.managedFields`, encoded. It is a third of a stored object and only ever read by who asks who owns what, so it
/// is written straight as text, past the [`Value`] of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedFields(String);

impl ManagedFields {
    /// The list as JSON.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// Puts the list where it belongs in an object that is shown and not stored.
    pub fn put_into(&self, object: &mut Value) {
        let list = serde_json::from_str(&self.0).expect("written by this module");
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert(KEY.to_owned(), list);
        }
    }
}

/// One entry of the list.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    manager: String,
    operation: Operation,
    api_version: String,
    subresource: String,
    time: String,
    fields: FieldSet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Operation {
    Apply,
    Update,
}

/// Who manages which fields of `new`: `writer` now owns what differs from `old`, and nobody owns what is gone. `old` is
/// `None` on create. The list is taken out of `new`; `None` when nobody manages anything.
///
/// A client's own `managedFields` in `new` replace the stored ones when they are well formed; an empty list (or one
/// empty entry) clears them, as on the API server. Call it with objects that are
/// [complete](crate::decode::complete), after everything else has changed them.
pub fn record_update(
    schema: &Schema,
    schema_type: &str,
    new: &mut Value,
    old: Option<&Value>,
    writer: Writer<'_>,
) -> Option<ManagedFields> {
    let sent = new.get_mut("metadata").and_then(Value::as_object_mut).and_then(|fields| fields.remove(KEY));
    if sent.as_ref().is_some_and(clears) {
        return None;
    }
    let root = schema.named(schema_type)?;
    let sent = sent.as_ref().and_then(read);
    let (None, None) = (&sent, old) else { return changed(schema, root, new, old, sent, writer) };
    let mut list = String::with_capacity(1024);
    list.push('[');
    let Writer { manager, api_version, subresource, now } = writer;
    Head { manager, operation: "Update", api_version, time: &now.rfc3339(), subresource }.write(&mut list);
    let is_owner = created::fields(schema, root, new, &mut list);
    list.push_str("}]");
    is_owner.then_some(ManagedFields(list))
}

/// What differs between two versions changes hands.
fn changed(
    schema: &Schema,
    root: &Type,
    new: &Value,
    old: Option<&Value>,
    sent: Option<Vec<Entry>>,
    writer: Writer<'_>,
) -> Option<ManagedFields> {
    let stored = || old.and_then(|old| old.get("metadata")?.get(KEY)).and_then(read).unwrap_or_default();
    let mut entries = sent.unwrap_or_else(stored);
    let (taken, gone) = compare::objects(schema, root, old, new);
    for entry in &mut entries {
        entry.fields.remove(&gone);
        entry.fields.remove(&taken);
    }
    if !taken.is_empty() {
        take(&mut entries, taken, writer);
    }
    entries.retain(|entry| entry.operation == Operation::Apply || !entry.fields.is_empty());
    cap(&mut entries);
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

const KEY: &str = "managedFields";

fn clears(sent: &Value) -> bool {
    match sent.as_array().map(Vec::as_slice) {
        Some([]) => true,
        Some([Value::Object(only)]) => only.is_empty(),
        _ => false,
    }
}

/// Gives `taken` to the writer's entry, a new one if it has none.
fn take(entries: &mut Vec<Entry>, taken: FieldSet, writer: Writer<'_>) {
    let time = writer.now.rfc3339();
    let own = entries.iter_mut().find(|entry| {
        entry.operation == Operation::Update
            && entry.manager == writer.manager
            && entry.api_version == writer.api_version
            && entry.subresource == writer.subresource
    });
    match own {
        Some(entry) => {
            entry.fields.add(taken);
            entry.time = time;
        }
        None => entries.push(Entry {
            manager: writer.manager.to_owned(),
            operation: Operation::Update,
            api_version: writer.api_version.to_owned(),
            subresource: writer.subresource.to_owned(),
            time,
            fields: taken,
        }),
    }
}

/// Merges the oldest `Update` entries of one version into one until few enough are left.
fn cap(entries: &mut Vec<Entry>) {
    let updates = entries.iter().filter(|entry| entry.operation == Operation::Update).count();
    let Some(excess) = updates.checked_sub(UPDATE_MANAGERS_MAX).filter(|excess| *excess > 0) else { return };
    entries.sort_by(|a, b| a.place().cmp(&b.place()));
    let is_update = |entry: &Entry| entry.operation == Operation::Update;
    let (mut updates, mut kept): (Vec<Entry>, Vec<Entry>) = entries.drain(..).partition(is_update);
    // One more than the excess, because what they become is an entry itself.
    let rest = updates.split_off((excess + 1).min(updates.len()));
    let mut merged: Vec<Entry> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for entry in updates {
        match places.entry(entry.api_version.clone()) {
            hash_map::Entry::Occupied(place) => {
                let other = &mut merged[*place.get()];
                other.fields.add(entry.fields);
                other.time = entry.time;
            }
            hash_map::Entry::Vacant(place) => {
                place.insert(merged.len());
                let manager = OLDEST_MANAGER.to_owned();
                merged.push(Entry { manager, subresource: String::new(), ..entry });
            }
        }
    }
    kept.extend(merged);
    kept.extend(rest);
    *entries = kept;
}

fn read(list: &Value) -> Option<Vec<Entry>> {
    list.as_array().filter(|list| !list.is_empty())?.iter().map(Entry::read).collect()
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

    /// The order of the list: applied ones first, then by time.
    fn place(&self) -> (Operation, &str, &str, &str, &str) {
        (self.operation, &self.time, &self.manager, &self.api_version, &self.subresource)
    }
}

/// All of an entry but its fields.
struct Head<'a> {
    manager: &'a str,
    operation: &'a str,
    api_version: &'a str,
    time: &'a str,
    subresource: &'a str,
}

impl Head<'_> {
    /// Writes the entry up to where its set of fields follows.
    fn write(&self, out: &mut String) {
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

/// Appends a value as JSON.
fn push_json<T: Serialize + ?Sized>(out: &mut String, value: &T) {
    // Strings and sets of strings can always be written.
    out.push_str(&serde_json::to_string(value).unwrap_or_default());
}

#[cfg(test)]
mod tests;
