//! What an applier applied before and leaves out now goes, unless somebody else owns it.

use berth_json::{Map, Value};

use super::compare::{key_step, value_step};
use super::grain::Grain;
use super::owned::field_step;
use super::set::FieldSet;
use crate::schema::{Schema, Type};

/// Removes from `merged` what is in `last`, the applier's former set, and in no manager's set of `managed`, the applier's
/// new one included.
///
/// A field of a struct counts as owned when anything in it is; an element or entry does not: it goes whole when it is
/// itself owned by nobody any more, with what others set in it. Returns whether anything went.
pub(super) fn objects(
    schema: &Schema,
    root: &Type,
    merged: &mut Map,
    last: &FieldSet,
    managed: &FieldSet,
) -> bool {
    let mut prune = Prune { schema, has_removed: false };
    let above = Above { last, managed: Some(managed), is_given_up: false, is_gone: false };
    prune.structure(root, merged, above);
    prune.has_removed
}

struct Prune<'s> {
    schema: &'s Schema,
    has_removed: bool,
}

/// The sets at a place, and what is said of it already.
#[derive(Clone, Copy)]
struct Above<'f> {
    last: &'f FieldSet,
    managed: Option<&'f FieldSet>,
    /// Whether the applier owned the place, or something that it is in.
    is_given_up: bool,
    /// Whether nobody owns the place any more, or something that it is in.
    is_gone: bool,
}

impl<'s> Prune<'s> {
    fn structure(&mut self, parent: &'s Type, fields: &mut Map, above: Above<'_>) {
        fields.retain(|name, value| match Grain::in_struct(self.schema, parent, name) {
            Some((grain, is_named)) => self.keep(grain, is_named, &field_step(name), value, above),
            None => true,
        });
    }

    fn entries(&mut self, grain: Grain<'s>, entries: &mut Map, above: Above<'_>) {
        entries.retain(|name, value| self.keep(grain, false, &field_step(name), value, above));
    }

    /// Whether the value at `step` stays; what is in it may go.
    fn keep(
        &mut self,
        grain: Grain<'s>,
        is_named: bool,
        step: &str,
        value: &mut Value,
        above: Above<'_>,
    ) -> bool {
        let Some(last) = above.last.get(step) else { return true };
        let managed = above.managed.and_then(|set| set.get(step));
        let is_in = |set: &FieldSet| set.member || (is_named && set.has_children());
        let is_given_up = above.is_given_up || is_in(last);
        let is_gone = above.is_gone
            || (is_given_up && !managed.is_some_and(is_in) && (!is_named || self.is_owned(grain, value)));
        if is_gone && is_in(last) {
            self.has_removed = true;
            return false;
        }
        if last.has_children() {
            self.inside(grain, value, Above { last, managed, is_given_up, is_gone });
        }
        true
    }

    fn inside(&mut self, grain: Grain<'s>, value: &mut Value, above: Above<'_>) {
        match (grain, value) {
            (Grain::Struct(inner), Value::Object(fields)) => self.structure(inner, fields, above),
            (Grain::Map(kind), Value::Object(entries)) => {
                self.entries(Grain::single(self.schema, kind), entries, above);
            }
            (Grain::Deduced, Value::Object(entries)) => self.entries(Grain::Deduced, entries, above),
            (Grain::Keyed(kind, keys), Value::Array(values)) => {
                let grain = Grain::single(self.schema, kind);
                values.retain_mut(|value| {
                    let step = key_step(self.schema, kind, keys, value);
                    self.keep(grain, false, &step, value, above)
                });
            }
            (Grain::Set, Value::Array(values)) => {
                values.retain_mut(|value| {
                    let step = value_step(value);
                    self.keep(Grain::Leaf, false, &step, value, above)
                });
            }
            _ => {}
        }
    }

    /// Whether whoever applied the value of a named field would own the field, or something in it.
    fn is_owned(&self, grain: Grain<'s>, value: &Value) -> bool {
        match (grain, value) {
            (Grain::Struct(inner), Value::Object(fields)) => {
                let mut children = fields.iter().filter_map(|(name, value)| {
                    let (grain, is_named) = Grain::in_struct(self.schema, inner, name)?;
                    Some(!is_named || self.is_owned(grain, value))
                });
                fields.is_empty() || children.any(|is_owned| is_owned)
            }
            (Grain::Keyed(..) | Grain::Set, Value::Array(values)) => !values.is_empty(),
            _ => true,
        }
    }
}
