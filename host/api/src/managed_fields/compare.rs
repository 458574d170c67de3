//! What a write took, and what it made vanish.

use std::collections::{BTreeMap, BTreeSet};

use berth_json::{Map, Text, Value};

use super::grain::Grain;
use super::set::FieldSet;
use crate::decode::scalar::zero;
use crate::schema::{Field, Schema, Shape, Type, ValueKind};

/// Fields of the object itself that nobody owns: the server sets them.
pub(super) const UNOWNED: [&str; 2] = ["apiVersion", "kind"];
/// Fields of the metadata that nobody owns.
pub(super) const UNOWNED_METADATA: [&str; 8] = [
    "creationTimestamp",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Compares two objects of `root`: what was added or changed, and what is gone. An absent old object is an empty one.
pub(super) fn objects(
    schema: &Schema,
    root: &Type,
    old: Option<&Value>,
    new: &Value,
) -> (FieldSet, FieldSet) {
    let empty = Map::new();
    let old = old.and_then(Value::as_object).unwrap_or(&empty);
    let new = new.as_object().unwrap_or(&empty);
    let mut found = Found::default();
    let compare = Compare { schema };
    compare.structure(root, Some(old), Some(new), &mut found, |name| UNOWNED.contains(&name));
    (found.taken.grown(), found.gone.grown())
}

/// Fields of a part of an object that nobody owns.
pub(super) fn unowned_in(inner: &Type) -> &'static [&'static str] {
    if &*inner.name == "meta.v1.ObjectMeta" { &UNOWNED_METADATA } else { &[] }
}

/// A set that is being found, its children in any order.
#[derive(Default)]
struct Growing {
    member: bool,
    children: Vec<(Text, FieldSet)>,
}

impl Growing {
    fn grown(self) -> FieldSet {
        FieldSet::of(self.member, self.children)
    }
}

#[derive(Default)]
struct Found {
    taken: Growing,
    gone: Growing,
}

impl Found {
    fn put(&mut self, step: &str, child: Self) {
        for (set, child) in [(&mut self.taken, child.taken), (&mut self.gone, child.gone)] {
            let child = child.grown();
            if !child.is_empty() {
                set.children.push((step.into(), child));
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Compare<'s> {
    schema: &'s Schema,
}

impl Compare<'_> {
    /// The fields of a struct; `None` where there is no struct on that side.
    fn structure(
        self,
        parent: &Type,
        old: Option<&Map>,
        new: Option<&Map>,
        found: &mut Found,
        is_unowned: impl Fn(&str) -> bool,
    ) {
        let names = old.into_iter().chain(new).flat_map(Map::keys);
        let names: BTreeSet<&str> = names.map(Text::as_str).filter(|name| !is_unowned(name)).collect();
        for name in names {
            let (old_value, new_value) =
                (old.and_then(|fields| fields.get(name)), new.and_then(|fields| fields.get(name)));
            let mut child = Found::default();
            match self.schema.field(parent, name) {
                Some(field) => {
                    let (old_there, new_there) = (old.is_some(), new.is_some());
                    let sides = Sides { old: old_value, new: new_value, old_there, new_there };
                    self.field(field, sides, &mut child);
                }
                None if parent.open => {
                    self.value(Grain::Deduced, Sides::of(old_value, new_value), &mut child);
                }
                None => continue,
            }
            found.put(&format!("f:{name}"), child);
        }
    }

    fn field(self, field: &Field, sides: Sides<'_>, found: &mut Found) {
        let sides = if is_implicit(field) { sides } else { sides.explicit() };
        match Grain::of(self.schema, field) {
            Grain::Leaf => leaf(field, sides, found),
            grain => self.value(grain, sides, found),
        }
    }

    fn value(self, grain: Grain<'_>, sides: Sides<'_>, found: &mut Found) {
        match grain {
            Grain::Leaf => changed(sides.old, sides.new, found),
            Grain::Struct(inner) => self.single(inner, sides, found),
            Grain::Map(kind) => self.map(kind, sides, found),
            Grain::Keyed(kind, keys) => self.keyed(kind, keys, sides, found),
            Grain::Set => set(sides, found),
            Grain::Deduced => match (object(sides.old), object(sides.new)) {
                (None, None) => changed(sides.old, sides.new, found),
                // A null is as good as an object without entries: only these come and go.
                (Some(entries), None) | (None, Some(entries))
                    if !entries.is_empty() && (is_null(sides.old) || is_null(sides.new)) =>
                {
                    self.map(ValueKind::Deduced, sides, found);
                    (found.taken.member, found.gone.member) = (false, false);
                }
                // An object becomes something else: its entries are gone, the place itself is not.
                (Some(_), None) if sides.new.is_some() => {
                    self.map(ValueKind::Deduced, Sides { new: None, ..sides }, found);
                    (found.taken.member, found.gone.member) = (true, false);
                }
                (None, Some(_)) if sides.old.is_some() => {
                    self.map(ValueKind::Deduced, Sides { old: None, ..sides }, found);
                }
                _ => self.map(ValueKind::Deduced, sides, found),
            },
        }
    }

    fn single(self, inner: &Type, sides: Sides<'_>, found: &mut Found) {
        presence(sides, found);
        let (old, new) = (object(sides.old), object(sides.new));
        let empty = Map::new();
        let old = old.or(sides.old_there.then_some(&empty));
        let new = new.or(sides.new_there.then_some(&empty));
        self.structure(inner, old, new, found, |name| unowned_in(inner).contains(&name));
    }

    fn map(self, kind: ValueKind, sides: Sides<'_>, found: &mut Found) {
        presence(sides, found);
        let (old, new) = (object(sides.old), object(sides.new));
        let empty = Map::new();
        let (old, new) = (old.unwrap_or(&empty), new.unwrap_or(&empty));
        let grain = Grain::single(self.schema, kind);
        for name in old.keys().chain(new.keys().filter(|name| !old.contains_key(name))) {
            let mut child = Found::default();
            self.value(grain, Sides::of(old.get(name), new.get(name)), &mut child);
            found.put(&format!("f:{name}"), child);
        }
    }

    fn keyed(self, kind: ValueKind, keys: &[Box<str>], sides: Sides<'_>, found: &mut Found) {
        presence(sides, found);
        let (old, new) = (array(sides.old), array(sides.new));
        let (old, new) = (self.by_key(kind, keys, old), self.by_key(kind, keys, new));
        let grain = Grain::single(self.schema, kind);
        for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
            let mut child = Found::default();
            self.value(grain, Sides::of(old.get(key).copied(), new.get(key).copied()), &mut child);
            found.put(key, child);
        }
    }

    fn by_key<'v>(
        self,
        kind: ValueKind,
        keys: &[Box<str>],
        list: Option<&'v Vec<Value>>,
    ) -> BTreeMap<String, &'v Value> {
        let steps = list.into_iter().flatten().map(|value| (key_step(self.schema, kind, keys, value), value));
        steps.collect()
    }
}

/// `k:{"containerPort":80,"protocol":"TCP"}`: keys sorted, absent ones by their declared default.
pub(super) fn key_step(schema: &Schema, kind: ValueKind, keys: &[Box<str>], value: &Value) -> String {
    format!("k:{}", Value::Object(keys_of(schema, kind, keys, value)))
}

/// The keys of an element with their values, absent ones by their declared default, or by the zero that Go has for what it
/// always prints.
pub(super) fn keys_of(schema: &Schema, kind: ValueKind, keys: &[Box<str>], value: &Value) -> Map {
    let ValueKind::Struct(element) = kind else { return Map::new() };
    let mut parts = Map::new();
    for key in keys {
        let unset = || {
            let field = schema.field(schema.get(element), key)?;
            let is_printed = !field.pointer && !field.omit_empty;
            field.default.clone().or_else(|| is_printed.then(|| zero(field.kind)))
        };
        if let Some(part) = value.get(&**key).cloned().or_else(unset) {
            parts.insert(key.to_string(), part);
        }
    }
    parts
}

/// `v:"example.com/protect"`
pub(super) fn value_step(value: &Value) -> String {
    format!("v:{value}")
}

/// A place in both objects.
#[derive(Clone, Copy)]
struct Sides<'v> {
    old: Option<&'v Value>,
    new: Option<&'v Value>,
    /// Whether the place is there though no value stands there, because its parent is and Go's type has no nil there.
    old_there: bool,
    new_there: bool,
}

impl<'v> Sides<'v> {
    fn of(old: Option<&'v Value>, new: Option<&'v Value>) -> Self {
        Self { old, new, old_there: false, new_there: false }
    }

    fn explicit(self) -> Self {
        Self { old_there: false, new_there: false, ..self }
    }
}

/// Whether Go prints the field even when nobody set it.
pub(super) fn is_implicit(field: &Field) -> bool {
    match (field.shape, field.kind) {
        _ if field.pointer => !field.omit_empty,
        (
            Shape::Single,
            ValueKind::Struct(_)
            | ValueKind::Time
            | ValueKind::MicroTime
            | ValueKind::Quantity
            | ValueKind::IntOrString,
        ) => true,
        _ => !field.omit_empty,
    }
}

/// Whether what is owned part by part came or went itself. A null is there, and as good as nothing in it; only where
/// nothing is in either does the one differ from the other.
fn presence(sides: Sides<'_>, found: &mut Found) {
    let (old, new) = (sides.old.is_some() || sides.old_there, sides.new.is_some() || sides.new_there);
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(values) => values.is_empty(),
        _ => false,
    };
    let is_another =
        matches!((sides.old, sides.new), (Some(a), Some(b)) if a != b && is_empty(a) && is_empty(b));
    found.taken.member = (new && !old) || (is_another && !sides.old_there);
    found.gone.member = old && !new;
}

fn changed(old: Option<&Value>, new: Option<&Value>, found: &mut Found) {
    match (old, new) {
        (None, None) => {}
        (Some(_), None) => found.gone.member = true,
        (old, Some(new)) if old == Some(new) => {}
        (_, Some(_)) => found.taken.member = true,
    }
}

/// Whether a value is what Go prints for a field that nobody set.
pub(super) fn is_zero(field: &Field, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty() || (field.kind == ValueKind::Quantity && text == "0"),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(value) => !value,
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// One value, whatever is in it. A zero that Go would have printed before as well is no change.
fn leaf(field: &Field, sides: Sides<'_>, found: &mut Found) {
    let implied =
        |value: Option<&Value>, there: bool| there && value.is_none_or(|value| is_zero(field, value));
    if implied(sides.old, sides.old_there) && implied(sides.new, sides.new_there) {
        return;
    }
    changed(sides.old, sides.new, found);
}

fn set(sides: Sides<'_>, found: &mut Found) {
    presence(sides, found);
    let (old, new) = (array(sides.old), array(sides.new));
    let steps = |list: Option<&Vec<Value>>| -> BTreeSet<String> {
        list.into_iter().flatten().map(value_step).collect()
    };
    let (old, new) = (steps(old), steps(new));
    for step in new.difference(&old) {
        found.taken.children.push((step.into(), FieldSet::leaf()));
    }
    for step in old.difference(&new) {
        found.gone.children.push((step.into(), FieldSet::leaf()));
    }
}

fn is_null(value: Option<&Value>) -> bool {
    value.is_some_and(Value::is_null)
}

fn object(value: Option<&Value>) -> Option<&Map> {
    value.and_then(Value::as_object)
}

fn array(value: Option<&Value>) -> Option<&Vec<Value>> {
    value.and_then(Value::as_array)
}
