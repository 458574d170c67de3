//! What the writer of a new object owns: everything in it.
//!
//! The same as comparing with nothing ([`super::compare`]), but written straight as text: creating is what a cluster does
//! most, and the sets of a pod's fields take far longer to build than to write.

use berth_json::{Map, Value};

use super::compare::{UNOWNED, is_implicit, is_zero, key_step, unowned_in, value_step};
use super::grain::Grain;
use super::push_json;
use crate::schema::{Field, Schema, Type};

/// Appends the fields of a new object of `root` in the form of `FieldsV1`; `false` when nobody owns any.
pub(super) fn fields(schema: &Schema, root: &Type, object: &Value, out: &mut String) -> bool {
    out.push('{');
    let begin = out.len();
    if let Value::Object(fields) = object {
        Writer { schema, out }.structure(root, fields, Before::Zero, &UNOWNED);
    }
    let is_owned = out.len() > begin;
    out.push('}');
    is_owned
}

/// What a reader in Go would have seen at a place before the object was there.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    /// Nothing: the place itself is taken.
    Nothing,
    /// A zero value, because its parent is there and Go's type has no nil: only what differs from that is taken.
    Zero,
}

struct Writer<'a> {
    schema: &'a Schema,
    out: &'a mut String,
}

impl Writer<'_> {
    fn structure(&mut self, parent: &Type, fields: &Map, before: Before, unowned: &[&str]) {
        for (name, value) in fields.iter().filter(|(name, _)| !unowned.contains(&name.as_str())) {
            let step = Step::Field(name);
            match self.schema.field(parent, name) {
                Some(field) => {
                    let before = if is_implicit(field) { before } else { Before::Nothing };
                    self.field(field, step, value, before);
                }
                None if parent.open => self.value(Grain::Deduced, step, value, Before::Nothing),
                None => {}
            }
        }
    }

    fn field(&mut self, field: &Field, step: Step<'_>, value: &Value, before: Before) {
        let grain = Grain::of(self.schema, field);
        let is_parted = match grain {
            Grain::Leaf => false,
            Grain::Struct(_) | Grain::Map(_) | Grain::Deduced => value.is_object(),
            Grain::Keyed(..) | Grain::Set => value.is_array(),
        };
        if is_parted {
            self.value(grain, step, value, before);
        } else if before == Before::Nothing || !is_zero(field, value) {
            self.node(step, Before::Nothing, |_| {});
        }
    }

    fn value(&mut self, grain: Grain<'_>, step: Step<'_>, value: &Value, before: Before) {
        self.node(step, before, |writer| match (grain, value) {
            (Grain::Struct(inner), Value::Object(fields)) => {
                writer.structure(inner, fields, before, unowned_in(inner));
            }
            (Grain::Map(kind), Value::Object(entries)) => {
                writer.entries(Grain::single(writer.schema, kind), entries);
            }
            (Grain::Deduced, Value::Object(entries)) => writer.entries(Grain::Deduced, entries),
            (Grain::Keyed(kind, keys), Value::Array(values)) => {
                let steps = values.iter().map(|value| (key_step(writer.schema, kind, keys, value), value));
                let grain = Grain::single(writer.schema, kind);
                for (step, value) in sorted(steps) {
                    writer.value(grain, Step::Whole(&step), value, Before::Nothing);
                }
            }
            (Grain::Set, Value::Array(values)) => {
                for (step, ()) in sorted(values.iter().map(|value| (value_step(value), ()))) {
                    writer.node(Step::Whole(&step), Before::Nothing, |_| {});
                }
            }
            _ => {}
        });
    }

    fn entries(&mut self, grain: Grain<'_>, entries: &Map) {
        for (key, value) in entries {
            self.value(grain, Step::Field(key), value, Before::Nothing);
        }
    }

    /// One step of a path with what is below it. The path to here is a member of the set when nothing was there before;
    /// when it is not, and nothing is written below it, there is no such path.
    fn node(&mut self, step: Step<'_>, before: Before, below: impl FnOnce(&mut Self)) {
        let begin = self.out.len();
        if !self.out.ends_with('{') {
            self.out.push(',');
        }
        match step {
            Step::Field(name) => self.push_field(name),
            Step::Whole(step) => push_json(self.out, step),
        }
        self.out.push_str(":{");
        let open = self.out.len();
        let is_member = before == Before::Nothing;
        if is_member {
            self.out.push_str("\".\":{}");
        }
        let inside = self.out.len();
        below(self);
        match (self.out.len() > inside, is_member) {
            (true, _) => self.out.push('}'),
            (false, true) => {
                self.out.truncate(open);
                self.out.push('}');
            }
            (false, false) => self.out.truncate(begin),
        }
    }

    /// `"f:NAME"`
    fn push_field(&mut self, name: &str) {
        if name.bytes().any(|byte| byte < b' ' || matches!(byte, b'"' | b'\\')) {
            return push_json(self.out, &format!("f:{name}"));
        }
        self.out.push_str("\"f:");
        self.out.push_str(name);
        self.out.push('"');
    }
}

#[derive(Clone, Copy)]
enum Step<'a> {
    /// By the name of the field or map entry.
    Field(&'a str),
    /// As it is.
    Whole(&'a str),
}

/// In the order of the steps; of those that stand twice the last.
fn sorted<T>(steps: impl Iterator<Item = (String, T)>) -> std::collections::BTreeMap<String, T> {
    steps.collect()
}
