//! Lists and maps: those of an object, looked at through their declared type, and those that expressions make.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use berth_json as json;

use crate::error::EvalError;
use crate::types::{ListKind, ListType, ObjectType, Type};
use crate::value::{Str, Value};

/// A list.
#[derive(Clone, Debug)]
pub enum List<'v> {
    /// Of an object.
    Json(&'v [json::Value], &'v ListType),
    /// Of an object whose type is not declared.
    Open(&'v [json::Value]),
    /// Made by an expression.
    Owned(Arc<[Value<'v>]>),
    /// Made by adding to a list of an object whose elements are told apart in this way.
    Joined(Arc<[Value<'v>]>, &'v ListKind),
}

impl<'v> List<'v> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Json(list, _) | Self::Open(list) => list.len(),
            Self::Owned(list) | Self::Joined(list, _) => list.len(),
        }
    }

    /// How elements are told apart.
    pub(crate) fn kind(&self) -> &'v ListKind {
        match self {
            Self::Json(_, declared) => &declared.kind,
            Self::Joined(_, kind) => kind,
            Self::Open(_) | Self::Owned(_) => &ListKind::Atomic,
        }
    }

    /// The element at a position.
    pub(crate) fn get(&self, at: usize) -> Option<Result<Value<'v>, EvalError>> {
        match self {
            Self::Json(list, declared) => Some(Value::from_json(list.get(at)?, &declared.element)),
            Self::Open(list) => Some(Ok(Value::open(list.get(at)?))),
            Self::Owned(list) | Self::Joined(list, _) => list.get(at).cloned().map(Ok),
        }
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Result<Value<'v>, EvalError>> + '_ {
        (0..self.len()).map(|at| self.get(at).unwrap_or(Err(EvalError::NO_OVERLOAD)))
    }
}

/// A map or an object.
#[derive(Clone, Debug)]
pub enum Map<'v> {
    /// An object with declared fields.
    Object(&'v json::Map, &'v ObjectType),
    /// A map of an object with values of this type.
    Json(&'v json::Map, &'v Type),
    /// Made by an expression.
    Owned(Arc<BTreeMap<Key<'v>, Value<'v>>>),
}

/// A key of a map.
#[derive(Clone, Debug)]
pub enum Key<'v> {
    /// `true` or `false`
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number without a sign: the same key as one with a sign that is equal.
    Uint(u64),
    /// Text.
    String(Str<'v>),
}

impl Key<'_> {
    fn rank(&self) -> u8 {
        match self {
            Self::Bool(_) => 0,
            Self::Int(_) | Self::Uint(_) => 1,
            Self::String(_) => 2,
        }
    }

    fn number(&self) -> i128 {
        match self {
            Self::Bool(truth) => i128::from(*truth),
            Self::Int(number) => i128::from(*number),
            Self::Uint(number) => i128::from(*number),
            Self::String(_) => 0,
        }
    }
}

impl Ord for Key<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::String(mine), Self::String(theirs)) => (**mine).cmp(theirs),
            _ => (self.rank(), self.number()).cmp(&(other.rank(), other.number())),
        }
    }
}

impl PartialOrd for Key<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key<'_> {}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(truth) => write!(f, "{truth}"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Uint(number) => write!(f, "{number}"),
            Self::String(text) => f.write_str(text),
        }
    }
}

impl<'v> Key<'v> {
    /// The key that a value is; a floating-point number is one when it is whole.
    pub(crate) fn of(value: &Value<'v>) -> Option<Self> {
        Some(match value {
            Value::Bool(truth) => Self::Bool(*truth),
            Value::Int(number) => Self::Int(*number),
            Value::Uint(number) => Self::Uint(*number),
            Value::String(text) => Self::String(text.clone()),
            Value::Double(number) if number.fract() == 0.0 && number.abs() < 9.0e18 => {
                Self::Int(*number as i64)
            }
            _ => return None,
        })
    }

    pub(crate) fn value(&self) -> Value<'v> {
        match self {
            Self::Bool(truth) => Value::Bool(*truth),
            Self::Int(number) => Value::Int(*number),
            Self::Uint(number) => Value::Uint(*number),
            Self::String(text) => Value::String(text.clone()),
        }
    }
}

impl<'v> Map<'v> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Object(map, _) | Self::Json(map, _) => map.len(),
            Self::Owned(map) => map.len(),
        }
    }

    /// The value of a name: a field of an object, or an entry of a map.
    pub(crate) fn named(&self, name: &str) -> Result<Option<Value<'v>>, EvalError> {
        match self {
            Self::Object(map, declared) => {
                let Some(field) = declared.field(name) else { return Ok(None) };
                // A field that is null counts as missing.
                let present = map.get(&field.key).filter(|value| !value.is_null());
                present.map(|value| Value::from_json(value, &field.value)).transpose()
            }
            Self::Json(map, declared) => {
                map.get(name).map(|value| Value::from_json(value, declared)).transpose()
            }
            Self::Owned(map) => Ok(map.get(&Key::String(Str::Borrowed(name))).cloned()),
        }
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &Value<'v>) -> Result<Option<Value<'v>>, EvalError> {
        match (self, key) {
            (_, Value::String(name)) => self.named(name),
            (Self::Owned(map), _) => Ok(Key::of(key).and_then(|key| map.get(&key).cloned())),
            _ => Err(EvalError::NO_OVERLOAD),
        }
    }

    /// The keys in their order; of an object those that have a name.
    pub(crate) fn keys(&self) -> Vec<Value<'v>> {
        match self {
            Self::Object(map, declared) => {
                let named = map.keys().filter_map(|key| crate::names::escape(key));
                named
                    .filter(|name| declared.field(name).is_some())
                    .map(|name| Value::from(name.to_string()))
                    .collect()
            }
            Self::Json(map, _) => map.keys().map(|key| Value::from(key.as_str())).collect(),
            Self::Owned(map) => map.keys().map(Key::value).collect(),
        }
    }
}
