//! From and to JSON.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_json as json;

use crate::collection::{List, Map};
use crate::error::EvalError;
use crate::time::{self, Timestamp};
use crate::types::Type;
use crate::value::Value;

/// The most values that JSON is made of, longer texts counted several times: more than any object has.
const NODES_MAX: u32 = 2_000_000;

/// The bytes of text that count as one value.
const PIECE: usize = 64;

/// What everything in an object of unknown type is.
static ANYTHING: Type = Type::DYN;

impl<'v> Value<'v> {
    /// A piece of an object, looked at as its declared type says.
    ///
    /// # Errors
    /// When it is none of that type.
    pub fn from_json(value: &'v json::Value, declared: &'v Type) -> Result<Self, EvalError> {
        Ok(match (declared, value) {
            (Type::Dyn(_), _) => Self::open(value),
            (Type::Optional(inner), _) => Self::some(Self::from_json(value, inner)?),
            (_, json::Value::Null) => Self::Null,
            (Type::Bool, json::Value::Bool(truth)) => Self::Bool(*truth),
            (Type::Int, json::Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Self::Int(whole),
                (None, Some(float)) if float.fract() == 0.0 && float.abs() < 9.2e18 => {
                    Self::Int(float as i64)
                }
                _ => return Err(mismatch(declared, value)),
            },
            (Type::Uint, json::Value::Number(number)) => {
                Self::Uint(number.as_u64().ok_or_else(|| mismatch(declared, value))?)
            }
            (Type::Double, json::Value::Number(number)) => {
                Self::Double(number.as_f64().ok_or_else(|| mismatch(declared, value))?)
            }
            (Type::String(_), json::Value::String(text)) => Self::from(text.as_str()),
            (Type::Bytes(_), json::Value::String(text)) => Self::Bytes(bytes(text)?.into()),
            (Type::Timestamp, json::Value::String(text)) => Self::Timestamp(time(text, "date-time")?),
            (Type::Date, json::Value::String(text)) => Self::Timestamp(time(text, "date")?),
            (Type::Duration, json::Value::String(text)) => {
                let wrong =
                    || EvalError::new(format!("Invalid duration {text}: unable to parse {text} as duration"));
                Self::Duration(time::lenient_duration(text).ok_or_else(wrong)?)
            }
            (Type::List(list), json::Value::Array(elements)) => Self::List(List::Json(elements, list)),
            (Type::Map(map), json::Value::Object(entries)) => Self::Map(Map::Json(entries, &map.value)),
            (Type::Object(object), json::Value::Object(entries)) => Self::Map(Map::Object(entries, object)),
            _ => return Err(mismatch(declared, value)),
        })
    }

    /// A piece of an object whose type is not declared.
    pub(crate) fn open(value: &'v json::Value) -> Self {
        match value {
            json::Value::Null => Self::Null,
            json::Value::Bool(truth) => Self::Bool(*truth),
            json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Self::Int(whole),
                (None, float) => Self::Double(float.unwrap_or(f64::NAN)),
            },
            json::Value::String(text) => Self::from(text.as_str()),
            json::Value::Array(elements) => Self::List(List::Open(elements)),
            json::Value::Object(entries) => Self::Map(Map::Json(entries, &ANYTHING)),
        }
    }

    /// The value as JSON; `None` when JSON has nothing like it, as for NaN, or when it would be too large: a value that an
    /// expression made can hold the same part very often.
    pub fn to_json(&self) -> Option<json::Value> {
        self.write(&mut { NODES_MAX })
    }

    fn write(&self, left: &mut u32) -> Option<json::Value> {
        *left = left.checked_sub(1)?;
        Some(match self {
            Self::Null => json::Value::Null,
            Self::Bool(truth) => (*truth).into(),
            Self::Int(number) => (*number).into(),
            Self::Uint(number) => (*number).into(),
            Self::Double(number) => json::Number::from_f64(*number)?.into(),
            Self::String(text) => {
                *left = left.checked_sub(u32::try_from(text.len() / PIECE).ok()?)?;
                (**text).into()
            }
            Self::Bytes(bytes) => STANDARD.encode(bytes).into(),
            Self::Timestamp(time) => time.to_string().into(),
            Self::Duration(nanoseconds) => time::show_duration(*nanoseconds).into(),
            Self::List(List::Json(list, _) | List::Open(list)) => {
                *left = left.checked_sub(nodes(list.iter()))?;
                json::Value::Array(list.to_vec())
            }
            Self::List(List::Owned(list) | List::Joined(list, _)) => json::Value::Array(
                list.iter().map(|element| element.write(left)).collect::<Option<Vec<_>>>()?,
            ),
            Self::Map(Map::Json(map, _) | Map::Object(map, _)) => {
                *left = left.checked_sub(nodes(map.values()))?;
                (*map).clone().into()
            }
            Self::Map(Map::Owned(map)) => {
                let entries = map.iter().map(|(key, value)| Some((key.to_string(), value.write(left)?)));
                json::Value::Object(entries.collect::<Option<Vec<_>>>()?.into_iter().collect())
            }
            Self::Optional(Some(value)) => value.write(left)?,
            Self::Optional(None) => json::Value::Null,
            Self::Type(_) | Self::Foreign(_) => return None,
        })
    }
}

/// How much there is in parts of an object, in values and pieces of text.
fn nodes<'v>(parts: impl Iterator<Item = &'v json::Value>) -> u32 {
    let mut open: Vec<&json::Value> = parts.collect();
    let mut count: usize = 0;
    while let Some(value) = open.pop() {
        count += 1;
        match value {
            json::Value::Array(list) => open.extend(list),
            json::Value::Object(map) => open.extend(map.values()),
            json::Value::String(text) => count += text.len() / PIECE,
            _ => {}
        }
    }
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn mismatch(declared: &Type, value: &json::Value) -> EvalError {
    let got = match value {
        json::Value::Null => "null",
        json::Value::Bool(_) => "bool",
        json::Value::Number(number) if number.is_f64() => "float64",
        json::Value::Number(_) => "int64",
        json::Value::String(_) => "string",
        json::Value::Array(_) => "list",
        json::Value::Object(_) => "map",
    };
    EvalError::new(format!("invalid data, expected {declared}, got {got}"))
}

fn bytes(text: &str) -> Result<Vec<u8>, EvalError> {
    STANDARD
        .decode(text)
        .map_err(|error| EvalError::new(format!("Invalid byte formatted string {text}: {error}")))
}

/// A time or a day of an object. Which of the two it must be is for whoever checks the object's format.
fn time(text: &str, format: &str) -> Result<Timestamp, EvalError> {
    let found = time::parse_timestamp(text).or_else(|| time::parse_timestamp(&[text, "T00:00:00Z"].concat()));
    found.ok_or_else(|| {
        EvalError::new(format!(
            "Invalid {format} formatted string {text}: unable to parse {text} as a {format}"
        ))
    })
}

/// The type of a value as a value.
pub(crate) fn type_value<'v>(value: &Value<'_>) -> Value<'v> {
    Value::Type(Arc::new(value.type_of()))
}
