//! What the applier of a configuration owns: everything that stands in it, and nothing that does not.

use berth_json::{Map, Text, Value};

use super::compare::{key_step, value_step};
use super::grain::Grain;
use super::set::FieldSet;
use crate::schema::{Schema, Type};

/// The fields of a configuration of `root`.
///
/// Unlike a writer's ([`super::compare`]), a list or map is not owned for having elements, so that several appliers can
/// each have theirs, and a zero is owned for being named.
pub(super) fn fields(schema: &Schema, root: &Type, config: &Map) -> FieldSet {
    Owned { schema }.structure(root, config)
}

#[derive(Clone, Copy)]
struct Owned<'s> {
    schema: &'s Schema,
}

impl Owned<'_> {
    fn structure(self, parent: &Type, fields: &Map) -> FieldSet {
        let owned = fields.iter().filter_map(|(name, value)| {
            let (grain, is_named) = Grain::in_struct(self.schema, parent, name)?;
            let mut set = self.value(grain, value);
            set.member |= !is_named || is_empty(value);
            Some((field_step(name), set))
        });
        FieldSet::of(false, owned.collect())
    }

    fn value(self, grain: Grain<'_>, value: &Value) -> FieldSet {
        match (grain, value) {
            (Grain::Leaf, _) => FieldSet::leaf(),
            (Grain::Struct(inner), Value::Object(fields)) => self.structure(inner, fields),
            (Grain::Map(kind), Value::Object(entries)) => {
                self.entries(Grain::single(self.schema, kind), entries)
            }
            (Grain::Deduced, Value::Object(entries)) => self.entries(Grain::Deduced, entries),
            (Grain::Deduced, _) => FieldSet::leaf(),
            (Grain::Keyed(kind, keys), Value::Array(values)) => {
                let grain = Grain::single(self.schema, kind);
                let items = values.iter().map(|value| {
                    let step = key_step(self.schema, kind, keys, value);
                    (Text::from(step), self.member(grain, value))
                });
                FieldSet::of(false, items.collect())
            }
            (Grain::Set, Value::Array(values)) => {
                let items = values.iter().map(|value| (Text::from(value_step(value)), FieldSet::leaf()));
                FieldSet::of(false, items.collect())
            }
            _ => FieldSet::default(),
        }
    }

    fn entries(self, grain: Grain<'_>, entries: &Map) -> FieldSet {
        let owned = entries.iter().map(|(name, value)| (field_step(name), self.member(grain, value)));
        FieldSet::of(false, owned.collect())
    }

    /// An element or entry: owned itself, whatever is in it.
    fn member(self, grain: Grain<'_>, value: &Value) -> FieldSet {
        let mut set = self.value(grain, value);
        set.member = true;
        set
    }
}

/// `f:NAME`
pub(super) fn field_step(name: &str) -> Text {
    let mut step = Text::with_capacity(name.len() + 2);
    step.push_str("f:");
    step.push_str(name);
    step
}

/// What a field's value must be for the field to be owned itself: nothing in it could be.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
