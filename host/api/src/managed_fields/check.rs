//! Whether a configuration fits its type closely enough to be merged.

use std::collections::HashSet;

use berth_json::{Map, Value};

use super::compare::{key_step, keys_of, value_step};
use super::step;
use crate::decode::{Budget, FINDINGS_MAX, Spent};
use crate::schema::{Field, ListType, Schema, Shape, Type, ValueKind};

/// How much of a path a problem shows: any that somebody wrote by hand. One can be as long as a body.
const PATH_CHARS_MAX: usize = 1000;

/// How often a field of a configuration is there while it is applied: in the merged object, in what its applier owns, in
/// what the applier takes, and among the keys by which it is found.
const COPIES: usize = 4;
/// What that takes, its name aside.
const APPLIED_BYTES: usize = COPIES * 64;

/// Finds fields that `root` does not have, values that are of another kind than theirs, and elements without a key or with
/// that of another: `None` when the configuration is well formed, else one text, as the API server words it.
///
/// # Errors
/// When the budget is spent.
pub(super) fn problems(
    schema: &Schema,
    budget: &Budget,
    root: &Type,
    config: &Map,
) -> Result<Option<String>, Spent> {
    let mut check = Check { schema, budget, path: String::new(), problems: Vec::new() };
    check.structure(root, config)?;
    Ok(match &check.problems[..] {
        [] => None,
        [only] => Some(only.clone()),
        several => Some(format!("errors:\n  {}", several.join("\n  "))),
    })
}

struct Check<'s> {
    schema: &'s Schema,
    budget: &'s Budget,
    path: String,
    problems: Vec<String>,
}

impl<'s> Check<'s> {
    fn find(&mut self, problem: &str) {
        if self.problems.len() >= FINDINGS_MAX {
            return;
        }
        let mut path: String = self.path.chars().take(PATH_CHARS_MAX).collect();
        if path.len() < self.path.len() {
            path.push('…');
        }
        let separator = if path.is_empty() { "" } else { ": " };
        self.problems.push(format!("{path}{separator}{problem}"));
    }

    fn below(&mut self, step: &str, check: impl FnOnce(&mut Self) -> Result<(), Spent>) -> Result<(), Spent> {
        self.budget.steps(1)?;
        self.budget.bytes(APPLIED_BYTES + COPIES * step.len())?;
        let length = self.path.len();
        step::show(step, &mut self.path);
        check(self)?;
        self.path.truncate(length);
        Ok(())
    }

    fn structure(&mut self, parent: &'s Type, fields: &Map) -> Result<(), Spent> {
        for (name, value) in fields {
            let field = self.schema.field(parent, name);
            self.below(&format!("f:{name}"), |check| match field {
                Some(field) => check.field(field, value),
                None => {
                    if !parent.open {
                        check.find("field not declared in schema");
                    }
                    Ok(())
                }
            })?;
        }
        Ok(())
    }

    fn field(&mut self, field: &'s Field, value: &Value) -> Result<(), Spent> {
        match (field.shape, value) {
            (_, Value::Null) => Ok(()),
            (Shape::Single, value) => self.single(field.kind, value),
            (Shape::Map, Value::Object(entries)) => {
                for (name, value) in entries {
                    self.below(&format!("f:{name}"), |check| check.single(field.kind, value))?;
                }
                Ok(())
            }
            (Shape::List, Value::Array(values)) => self.list(field.kind, &field.list, values),
            (Shape::Map, other) => self.mismatch("map", other),
            (Shape::List, other) => self.mismatch("list", other),
        }
    }

    fn list(&mut self, kind: ValueKind, list: &'s ListType, values: &[Value]) -> Result<(), Spent> {
        let mut seen = HashSet::new();
        for (at, value) in values.iter().enumerate() {
            let step = match list {
                ListType::Map(keys) => self.key(kind, keys, value),
                ListType::Set => element_of_set(value).map(|()| value_step(value)),
                ListType::Atomic | ListType::Undeclared => Ok(format!("i:{at}")),
            };
            let step = match step {
                Ok(step) => step,
                // What has no key cannot even be named.
                Err(why) => {
                    self.find(&format!("element {at}: {why}"));
                    return Ok(());
                }
            };
            if !seen.insert(step.clone()) {
                let mut shown = String::new();
                step::show(&step, &mut shown);
                self.find(&format!("duplicate entries for key {shown}"));
            }
            self.below(&step, |check| check.single(kind, value))?;
        }
        Ok(())
    }

    fn key(&self, kind: ValueKind, keys: &[Box<str>], value: &Value) -> Result<String, String> {
        match value {
            Value::Object(_) if keys_of(self.schema, kind, keys, value).is_empty() => {
                let keys = keys.iter().map(|key| format!("\"{key}\"")).collect::<Vec<_>>().join(" ");
                Err(format!(
                    "associative list with keys has an element that omits all key fields [{keys}] (and doesn't have default values for any key fields)"
                ))
            }
            Value::Object(_) => Ok(key_step(self.schema, kind, keys, value)),
            Value::Null => Err("associative list with keys may not have a null element".to_owned()),
            _ => Err("associative list with keys may not have non-map elements".to_owned()),
        }
    }

    fn single(&mut self, kind: ValueKind, value: &Value) -> Result<(), Spent> {
        let is_scalar = matches!(value, Value::Bool(_) | Value::Number(_) | Value::String(_));
        match kind {
            _ if value.is_null() => Ok(()),
            ValueKind::Struct(id) => match value {
                Value::Object(fields) => self.structure(self.schema.get(id), fields),
                other => self.mismatch("map", other),
            },
            ValueKind::Strings => match value {
                Value::Array(values) => self.list(ValueKind::String, &ListType::Atomic, values),
                other => self.mismatch("list", other),
            },
            ValueKind::String
            | ValueKind::Bytes
            | ValueKind::Time
            | ValueKind::MicroTime
            | ValueKind::Duration
                if !value.is_string() =>
            {
                self.mismatch("string", value)
            }
            ValueKind::Int32 | ValueKind::Int64 | ValueKind::Float64
                if !matches!(value, Value::Number(_)) =>
            {
                self.mismatch("numeric (int or float)", value)
            }
            ValueKind::Bool if !matches!(value, Value::Bool(_)) => self.mismatch("boolean", value),
            ValueKind::Quantity | ValueKind::IntOrString if !is_scalar => self.mismatch("any scalar", value),
            _ => Ok(()),
        }
    }

    fn mismatch(&mut self, wanted: &str, found: &Value) -> Result<(), Spent> {
        let found = match found {
            Value::Object(_) => "a map".to_owned(),
            Value::Array(_) => "a list".to_owned(),
            Value::String(_) => "a string".to_owned(),
            other => other.to_string(),
        };
        self.find(&format!("expected {wanted}, got {found}"));
        Ok(())
    }
}

fn element_of_set(value: &Value) -> Result<(), String> {
    match value {
        Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
        Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
        Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
        _ => Ok(()),
    }
}
