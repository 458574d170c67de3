//! Values of expressions. What comes from an object is looked at where it lies; only what an expression makes is owned.

use std::sync::Arc;

use crate::collection::{List, Map};
use crate::error::EvalError;
use crate::foreign::Foreign;
use crate::time::Timestamp;
use crate::types::Type;

/// What an expression evaluates to.
#[derive(Clone, Debug)]
pub enum Value<'v> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number without a sign.
    Uint(u64),
    /// A floating-point number.
    Double(f64),
    /// Text.
    String(Str<'v>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A point in time.
    Timestamp(Timestamp),
    /// A span of time in nanoseconds.
    Duration(i64),
    /// A list.
    List(List<'v>),
    /// A map or an object.
    Map(Map<'v>),
    /// A value that may be missing.
    Optional(Option<Arc<Value<'v>>>),
    /// A type, by its name alone.
    Type(Arc<Type>),
    /// What only functions can look into.
    Foreign(Arc<Foreign>),
}

/// Text that is borrowed from an object or shared.
#[derive(Clone, Debug)]
pub enum Str<'v> {
    /// From an object or a program.
    Borrowed(&'v str),
    /// Made by an expression.
    Shared(Arc<str>),
}

impl std::ops::Deref for Str<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::String(Str::Shared(text.into()))
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(text: &'v str) -> Self {
        Self::String(Str::Borrowed(text))
    }
}

impl From<Foreign> for Value<'_> {
    fn from(foreign: Foreign) -> Self {
        Self::Foreign(Arc::new(foreign))
    }
}

impl<'v> From<Vec<Value<'v>>> for Value<'v> {
    fn from(list: Vec<Value<'v>>) -> Self {
        Self::List(List::Owned(list.into()))
    }
}

impl<'v> Value<'v> {
    /// A value that is there.
    pub fn some(value: Self) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    /// A value that is missing.
    pub fn none() -> Self {
        Self::Optional(None)
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(truth) = self { Some(*truth) } else { None }
    }

    /// The whole number, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        if let Self::Int(number) = self { Some(*number) } else { None }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The type as `type(x)` gives it: collections without their elements.
    pub(crate) fn type_of(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Uint(_) => Type::Uint,
            Self::Double(_) => Type::Double,
            Self::String(_) => Type::STRING,
            Self::Bytes(_) => Type::BYTES,
            Self::Timestamp(_) => Type::Timestamp,
            Self::Duration(_) => Type::Duration,
            Self::List(_) => Type::list(Type::DYN),
            Self::Map(_) => Type::map(Type::DYN, Type::DYN),
            Self::Optional(_) => Type::optional(Type::DYN),
            Self::Type(_) => Type::Type(Arc::new(Type::DYN)),
            Self::Foreign(foreign) => Type::Opaque(foreign.opaque()),
        }
    }

    /// The name of its type as errors write it.
    pub(crate) fn type_name(&self) -> &'static str {
        runtime_name(&self.type_of())
    }

    /// The name that its type has in cel-go's own code, where errors show it.
    pub(crate) fn go_name(&self) -> &'static str {
        match self {
            Self::Null => "Null",
            Self::Bool(_) => "Bool",
            Self::Int(_) => "Int",
            Self::Uint(_) => "Uint",
            Self::Double(_) => "Double",
            Self::String(_) => "String",
            Self::Bytes(_) => "Bytes",
            Self::Timestamp(_) => "Timestamp",
            Self::Duration(_) => "Duration",
            _ => "Value",
        }
    }

    /// Its size as costs count it: characters, bytes, elements, entries; 1 for what has none.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::String(text) => text.chars().count() as u64,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::List(list) => list.len() as u64,
            Self::Map(map) => map.len() as u64,
            Self::Optional(Some(value)) => value.size(),
            Self::Foreign(foreign) => foreign.size(),
            _ => 1,
        }
    }

    /// Whether `optional.ofNonZeroValue` leaves it out.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(truth) => !truth,
            Self::Int(number) | Self::Duration(number) => *number == 0,
            Self::Uint(number) => *number == 0,
            Self::Double(number) => *number == 0.0,
            Self::String(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::List(list) => list.len() == 0,
            Self::Map(map) => map.len() == 0,
            Self::Optional(value) => value.is_none(),
            Self::Timestamp(_) | Self::Type(_) | Self::Foreign(_) => false,
        }
    }

    pub(crate) fn text(&self) -> Result<&str, EvalError> {
        self.as_str().ok_or(EvalError::NO_OVERLOAD)
    }

    pub(crate) fn int(&self) -> Result<i64, EvalError> {
        self.as_int().ok_or(EvalError::NO_OVERLOAD)
    }

    pub(crate) fn list(&self) -> Result<&List<'v>, EvalError> {
        if let Self::List(list) = self { Ok(list) } else { Err(EvalError::NO_OVERLOAD) }
    }

    pub(crate) fn foreign(&self) -> Result<&Foreign, EvalError> {
        if let Self::Foreign(foreign) = self { Ok(foreign) } else { Err(EvalError::NO_OVERLOAD) }
    }
}

/// What `string(type(x))` is.
pub(crate) fn runtime_name(value: &Type) -> &'static str {
    match value {
        Type::Dyn(_) | Type::Parameter(_) => "dyn",
        Type::Null => "null_type",
        Type::Bool => "bool",
        Type::Int => "int",
        Type::Uint => "uint",
        Type::Double => "double",
        Type::String(_) => "string",
        Type::Bytes(_) => "bytes",
        Type::Timestamp | Type::Date => "google.protobuf.Timestamp",
        Type::Duration => "google.protobuf.Duration",
        Type::List(_) => "list",
        Type::Map(_) | Type::Object(_) => "map",
        Type::Optional(_) => "optional_type",
        Type::Type(_) => "type",
        Type::Opaque(opaque) => opaque.name(),
        Type::Error => "error",
    }
}
