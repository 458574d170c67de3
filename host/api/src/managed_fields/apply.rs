//! Server-side apply: an object, a configuration and who owns what become a new object and who owns what then.

use berth_json::{Map, Value};

use super::entry::{self, Entry, Operation};
use super::set::FieldSet;
use super::{
    KEY, ManagedFields, Writer, check, compare, conflict, last_applied, merge, owned, prune, stored,
};
use crate::decode::{Budget, Spent};
use crate::schema::{Schema, Type};
use crate::status::Status;

/// Who owns what was there before anybody applied anything.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Who applies, and how.
#[derive(Clone, Copy, Debug)]
pub struct Applier<'a> {
    /// The manager, what is written and when.
    pub writer: Writer<'a>,
    /// Whether what others own is taken.
    pub force: bool,
    /// The fields that the endpoint does not change, by their paths: nobody comes to own them there.
    pub ignored: &'a [&'a [&'a str]],
}

/// What applying led to.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The object, without its `managedFields`, unchecked: [`crate::decode::check`] is next.
    pub object: Value,
    /// Who manages which fields of it.
    pub managers: Managers,
}

/// Who manages which fields of an object, and whether that is news.
#[derive(Clone, Debug)]
pub struct Managers {
    pub(super) entries: Vec<Entry>,
    /// Whether it differs from what the live object says, times aside.
    pub is_changed: bool,
}

impl Managers {
    /// The list; `None` when nobody manages anything.
    pub fn encode(self) -> Option<ManagedFields> {
        entry::encode(self.entries)
    }
}

/// Applies `config` to the live object, or to nothing.
///
/// What the configuration says is merged in; what this manager applied before, leaves out now and nobody else owns goes.
/// `live` is [complete](crate::decode::complete), with its `managedFields`; `config` is as the client sent it.
///
/// # Errors
/// 409 with every field that differs and is another manager's, unless forced. 400 for a configuration that does not fit its
/// type. 413 for one that is too much work.
pub fn apply(
    schema: &Schema,
    schema_type: &str,
    live: Option<&Value>,
    config: &Value,
    applier: Applier<'_>,
) -> Result<Applied, Status> {
    let root = schema.named(schema_type);
    let root = root.ok_or_else(|| Status::internal(format!("there is no schema type {schema_type}")))?;
    let budget = Budget::default();
    Applying { schema, budget: &budget, root, live, applier }.apply(config)
}

struct Applying<'a> {
    schema: &'a Schema,
    budget: &'a Budget,
    root: &'a Type,
    live: Option<&'a Value>,
    applier: Applier<'a>,
}

impl Applying<'_> {
    fn apply(&self, config: &Value) -> Result<Applied, Status> {
        let empty = Map::new();
        let fields = config.as_object().unwrap_or(&empty);
        self.check(config, fields)?;
        let before = self.live.map(stored).unwrap_or_default();
        let mut entries = before.clone();
        if let (true, Some(live)) = (entries.is_empty(), self.live) {
            entries.extend(self.before_first_apply(live));
        }
        let mut own = owned::fields(self.schema, self.root, fields);
        own.remove_below(&self.ignored());
        let last = self.take_own(&mut entries);

        let live = self.live.map(without_managers).unwrap_or_default();
        let merged = merge::objects(self.schema, self.budget, self.root, live.clone(), fields)?;
        let merged = self.pruned(merged, fields, &entries, &own, last.as_ref())?;
        let live = Value::Object(live);
        let mut merged = Value::Object(merged);

        if self.live.is_some() {
            let (mut taken, mut gone) = compare::objects(self.schema, self.root, Some(&live), &merged);
            taken.remove_below(&self.ignored());
            gone.remove_below(&self.ignored());
            self.ask(&entries, &taken, &live)?;
            for entry in &mut entries {
                entry.fields.remove(&taken);
                entry.fields.remove(&gone);
            }
        }
        own.remove(&servers_own());
        let Writer { manager, api_version, subresource, now } = self.applier.writer;
        entries.push(Entry {
            manager: manager.to_owned(),
            operation: Operation::Apply,
            api_version: api_version.to_owned(),
            subresource: subresource.to_owned(),
            time: if merged == live { last.map(|last| last.time).unwrap_or_default() } else { now.rfc3339() },
            fields: own,
        });
        entries.retain(|entry| !entry.fields.is_empty());
        if manager == last_applied::MANAGER {
            last_applied::keep_true(&mut merged, config);
        }
        let is_changed = !entry::same_but_times(&before, &entries);
        Ok(Applied { object: merged, managers: Managers { entries, is_changed } })
    }

    fn check(&self, config: &Value, fields: &Map) -> Result<(), Status> {
        let metadata = fields.get("metadata");
        if metadata.and_then(|metadata| metadata.get(KEY)).is_some_and(|list| !list.is_null()) {
            return Err(Status::bad_request("metadata.managedFields must be nil"));
        }
        match check::problems(self.schema, self.budget, self.root, fields)? {
            None => Ok(()),
            Some(problems) => {
                let object = described(config);
                let message = format!("failed to create typed patch object ({object}): {problems}");
                Err(Status::bad_request(message))
            }
        }
    }

    /// What is there before anything was applied is somebody's: it is not taken without a word.
    fn before_first_apply(&self, live: &Value) -> Option<Entry> {
        let (mut fields, _) = compare::objects(self.schema, self.root, None, live);
        fields.remove_below(&self.ignored());
        let Writer { api_version, subresource, now, .. } = self.applier.writer;
        let entry = Entry {
            manager: BEFORE_FIRST_APPLY.to_owned(),
            operation: Operation::Update,
            api_version: api_version.to_owned(),
            subresource: subresource.to_owned(),
            time: now.rfc3339(),
            fields,
        };
        (!entry.fields.is_empty()).then_some(entry)
    }

    /// Takes this manager's own entry out; which version it applied last does not matter.
    fn take_own(&self, entries: &mut Vec<Entry>) -> Option<Entry> {
        let Writer { manager, subresource, .. } = self.applier.writer;
        let is_own = |entry: &Entry| {
            entry.operation == Operation::Apply
                && entry.manager == manager
                && entry.subresource == subresource
        };
        // Of several, as only a client can send them, the last counts.
        entries.extract_if(.., |entry| is_own(entry)).last()
    }

    fn pruned(
        &self,
        mut merged: Map,
        config: &Map,
        entries: &[Entry],
        own: &FieldSet,
        last: Option<&Entry>,
    ) -> Result<Map, Spent> {
        let Some(last) = last.filter(|last| !last.fields.is_empty()) else { return Ok(merged) };
        let sets = entries.iter().map(|entry| &entry.fields).chain([own]);
        let managed = FieldSet::union(sets.cloned());
        if prune::objects(self.schema, self.root, &mut merged, &last.fields, &managed) {
            // A null waits until nothing is left in its place.
            return merge::objects(self.schema, self.budget, self.root, merged, config);
        }
        Ok(merged)
    }

    /// Whether all that is taken may be.
    fn ask(&self, entries: &[Entry], taken: &FieldSet, live: &Value) -> Result<(), Status> {
        if self.applier.force {
            return Ok(());
        }
        let both = entries.iter().map(|entry| (entry, entry.fields.intersection(taken)));
        let mut conflicts: Vec<(&Entry, FieldSet)> = both.filter(|(_, set)| !set.is_empty()).collect();
        let Writer { manager, api_version, .. } = self.applier.writer;
        if !conflicts.is_empty() && manager == last_applied::MANAGER {
            let own = last_applied::still_there(self.schema, self.budget, self.root, live, api_version)?;
            conflicts.iter_mut().for_each(|(_, set)| set.remove(&own));
            conflicts.retain(|(_, set)| !set.is_empty());
        }
        if conflicts.is_empty() { Ok(()) } else { Err(conflict::refused(conflicts)) }
    }

    fn ignored(&self) -> FieldSet {
        FieldSet::union(self.applier.ignored.iter().map(|path| path_set(path)))
    }
}

/// Fields that are the server's, whoever names them: nobody is their applier.
fn servers_own() -> FieldSet {
    let in_metadata = compare::UNOWNED_METADATA.iter().map(|name| path_set(&["metadata", name]));
    let on_top = [&["apiVersion"], &["kind"], &["metadata"]].map(|path| path_set(path));
    FieldSet::union(in_metadata.chain(on_top))
}

/// The set of one path of names.
pub(super) fn path_set(path: &[&str]) -> FieldSet {
    path.iter()
        .rev()
        .fold(FieldSet::leaf(), |set, name| FieldSet::of(false, vec![(owned::field_step(name), set)]))
}

fn without_managers(live: &Value) -> Map {
    let mut live = live.as_object().cloned().unwrap_or_default();
    if let Some(metadata) = live.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove(KEY);
    }
    live
}

/// `NAMESPACE/NAME; apps/v1, Kind=Deployment`: how the API server's messages name a configuration.
pub fn described(config: &Value) -> String {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let metadata = config.get("metadata");
    let of_metadata = |key: &str| text(metadata.and_then(|metadata| metadata.get(key)));
    let kind = kind_of(config);
    format!("{}/{}; {kind}", of_metadata("namespace"), of_metadata("name"))
}

/// `apps/v1, Kind=Deployment`, `/v1, Kind=Pod`: how Go prints a kind.
pub fn kind_of(config: &Value) -> String {
    let text = |key: &str| config.get(key).and_then(Value::as_str).unwrap_or_default();
    let api_version = text("apiVersion");
    let slash = if api_version.contains('/') { "" } else { "/" };
    format!("{slash}{api_version}, Kind={}", text("kind"))
}

#[cfg(test)]
mod tests;
