//! `metadata.managedFields`: which writer set which fields.
//!
//! A write is an `Update` of its manager ([`record_update`]): the manager owns what it added or changed, and nobody owns any
//! more what is gone. Server-side apply ([`apply`]) is an `Apply` of its manager, who owns exactly what stands in its
//! configuration; it merges by who owns what, and asks before it takes. The sets have the form of `FieldsV1`, lists by the
//! keys of the schema.

mod apply;
mod check;
mod compare;
mod conflict;
mod created;
mod entry;
mod grain;
mod last_applied;
mod merge;
mod owned;
mod prune;
mod scale;
mod set;
mod step;

use berth_json::Value;
use serde::Serialize;

use crate::schema::{Schema, Type};
use crate::time::Timestamp;
use entry::{Entry, Head, Operation};
use set::FieldSet;

pub use apply::{Applied, Applier, Managers, apply, described, kind_of};
pub use scale::show_managers;

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

/// Who manages which fields of `new`: `writer` now owns what differs from `old`, and nobody owns what is gone. `old` is
/// `None` on create. The list is taken out of `new`; `None` when nobody manages anything.
///
/// A client's own `managedFields` in `new` replace the stored ones when they are well formed; an empty list (or one
/// empty entry) clears them, as on the API server, and they stay cleared until something is applied. At a subresource the
/// client has no say in them. Call it with objects that are [complete](crate::decode::complete), after everything else has
/// changed them.
pub fn record_update(
    schema: &Schema,
    schema_type: &str,
    new: &mut Value,
    old: Option<&Value>,
    writer: Writer<'_>,
) -> Option<ManagedFields> {
    let sent = new.get_mut("metadata").and_then(Value::as_object_mut).and_then(|fields| fields.remove(KEY));
    let sent = sent.filter(|_| writer.subresource.is_empty());
    if sent.as_ref().is_some_and(clears) {
        return None;
    }
    let root = schema.named(schema_type)?;
    let sent = sent.as_ref().and_then(entry::read);
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
    let mut entries = sent.unwrap_or_else(|| old.map(stored).unwrap_or_default());
    if entries.is_empty() && old.is_some() {
        return None;
    }
    let (taken, gone) = compare::objects(schema, root, old, new);
    for entry in &mut entries {
        entry.fields.remove(&gone);
        entry.fields.remove(&taken);
    }
    if !taken.is_empty() {
        take(&mut entries, taken, writer);
    }
    entries.retain(|entry| !entry.fields.is_empty());
    entry::cap(&mut entries);
    entry::encode(entries)
}

fn stored(object: &Value) -> Vec<Entry> {
    object.get("metadata").and_then(|metadata| metadata.get(KEY)).and_then(entry::read).unwrap_or_default()
}

/// Whether `managers` say something that the list of `old` does not, times aside.
pub fn says_more(managers: Option<&ManagedFields>, old: &Value) -> bool {
    let list = managers.and_then(|managers| serde_json::from_str(managers.as_json()).ok());
    let entries = list.as_ref().and_then(entry::read).unwrap_or_default();
    !entry::same_but_times(&entries, &stored(old))
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

fn push_json<T: Serialize + ?Sized>(out: &mut String, value: &T) {
    // Strings and sets of strings can always be written.
    out.push_str(&serde_json::to_string(value).unwrap_or_default());
}

#[cfg(test)]
mod tests;
