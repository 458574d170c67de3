//! Whether a place of an object is owned as one value or part by part.

use crate::schema::{Field, ListType, Schema, Shape, Type, ValueKind};

/// How a place is owned.
#[derive(Clone, Copy)]
pub(super) enum Grain<'s> {
    /// As one value, whatever is in it.
    Leaf,
    /// Field by field.
    Struct(&'s Type),
    /// Entry by entry.
    Map(ValueKind),
    /// Element by element, told apart by keys.
    Keyed(ValueKind, &'s [Box<str>]),
    /// Element by element, each its own key.
    Set,
    /// As the value is: an object entry by entry, anything else as one value.
    Deduced,
}

impl<'s> Grain<'s> {
    /// What stands in a field.
    pub(super) fn of(schema: &'s Schema, field: &'s Field) -> Self {
        match (field.shape, field.kind, &field.list) {
            _ if field.atomic => Self::Leaf,
            (Shape::Single, kind, _) => Self::single(schema, kind),
            (Shape::Map, kind, _) => Self::Map(kind),
            (Shape::List, kind @ ValueKind::Struct(_), ListType::Map(keys)) => Self::Keyed(kind, keys),
            (Shape::List, _, ListType::Set) => Self::Set,
            (Shape::List, ..) => Self::Leaf,
        }
    }

    /// What stands in a field of `parent` by that name, and whether the schema names it. `None`: there is no such field.
    pub(super) fn in_struct(schema: &'s Schema, parent: &'s Type, name: &str) -> Option<(Self, bool)> {
        match schema.field(parent, name) {
            Some(field) => Some((Self::of(schema, field), true)),
            None => parent.open.then_some((Self::Deduced, false)),
        }
    }

    pub(super) fn single(schema: &'s Schema, kind: ValueKind) -> Self {
        match kind {
            ValueKind::Struct(id) if !schema.get(id).atomic => Self::Struct(schema.get(id)),
            ValueKind::Deduced => Self::Deduced,
            _ => Self::Leaf,
        }
    }
}
