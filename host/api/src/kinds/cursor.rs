//! A place in an object: its value and how to name it in a cause.

use std::fmt;

use berth_json::{Map, Value};

/// A value inside an object together with its path; cheap to make, the path is only written down for a problem.
///
/// An absent field is a cursor to `null`, so that `spec.child("a").child("b")` needs no checks on the way.
#[derive(Clone, Copy)]
pub struct Cursor<'a> {
    value: &'a Value,
    parent: Option<&'a Cursor<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Cursor<'a> {
    /// The field `name` of a whole object, where paths begin: `metadata`, `spec`, `data`.
    pub fn top(object: &'a Value, name: &'a str) -> Self {
        Self { value: field_of(object, name), parent: None, step: Step::Field(name) }
    }

    /// `value` under a path of one's own, where a cause must name another place than the value's.
    pub fn named(path: &'a str, value: &'a Value) -> Self {
        Self { value, parent: None, step: Step::Field(path) }
    }

    /// The field `name` of the object here; its path ends with `.name`.
    pub fn child(&'a self, name: &'a str) -> Self {
        Self { value: field_of(self.value, name), parent: Some(self), step: Step::Field(name) }
    }

    /// The entry `key` of the map here; its path ends with `[key]`.
    pub fn key(&'a self, key: &'a str) -> Self {
        Self { value: field_of(self.value, key), parent: Some(self), step: Step::Key(key) }
    }

    /// The items of the list here, in order; none when there is no list.
    pub fn items(&'a self) -> impl ExactSizeIterator<Item = Self> + 'a {
        self.list().iter().enumerate().map(|(index, value)| Self {
            value,
            parent: Some(self),
            step: Step::Index(index),
        })
    }

    /// The entries of the map here, by key; none when there is no map.
    pub fn entries(&'a self) -> impl Iterator<Item = (&'a str, Self)> + 'a {
        self.value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.as_str(), Self { value, parent: Some(self), step: Step::Key(key) }))
    }

    /// The value here; `null` when the field is absent.
    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// Whether there is a value here.
    pub fn exists(&self) -> bool {
        !self.value.is_null()
    }

    /// Whether nothing, an empty string, an empty list or an empty map is here.
    pub fn is_empty(&self) -> bool {
        match self.value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            _ => false,
        }
    }

    /// The string here; empty when absent.
    pub fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    /// The integer here.
    pub fn int(&self) -> Option<i64> {
        self.value.as_i64()
    }

    /// Whether `true` is here.
    pub fn is_true(&self) -> bool {
        self.value.as_bool() == Some(true)
    }

    /// The list here; empty when absent.
    pub fn list(&self) -> &'a [Value] {
        self.value.as_array().map_or(&[], Vec::as_slice)
    }

    /// The map here.
    pub fn map(&self) -> Option<&'a Map> {
        self.value.as_object()
    }

    /// The path as causes name it, e.g. `spec.containers[0].resources.limits[cpu]`.
    pub fn path(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Cursor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Field(name) if self.parent.is_none() => f.write_str(name),
            Step::Field(name) => write!(f, ".{name}"),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => write!(f, "[{key}]"),
        }
    }
}

impl From<Cursor<'_>> for String {
    fn from(cursor: Cursor<'_>) -> Self {
        cursor.path()
    }
}

impl From<&Cursor<'_>> for String {
    fn from(cursor: &Cursor<'_>) -> Self {
        cursor.path()
    }
}

fn field_of<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}
