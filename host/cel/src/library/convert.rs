//! Conversions, sizes and `type`.

use crate::convert::type_value;
use crate::error::EvalError;
use crate::functions::{Answer, Declaration, Tools};
use crate::time::{self, Timestamp};
use crate::types::Type;
use crate::value::{Value, runtime_name};

macro_rules! conversions {
    ($($function:literal $run:ident: $($id:literal $signature:literal),+;)*) => {
        &[$($(Declaration::global($function, $id, $signature, $run)),+),*]
    };
}

pub(crate) const DECLARATIONS: &[Declaration] = conversions! {
        "size" size: "size_bytes" "bytes -> int", "size_list" "list(A) -> int", "size_map" "map(A, B) -> int",
            "size_string" "string -> int";
        "type" type_of: "type" "A -> type(A)";
        "dyn" same: "to_dyn" "A -> dyn";
        "bool" to_bool: "bool_to_bool" "bool -> bool", "string_to_bool" "string -> bool";
        "bytes" to_bytes: "bytes_to_bytes" "bytes -> bytes", "string_to_bytes" "string -> bytes";
        "double" to_double: "double_to_double" "double -> double", "int64_to_double" "int -> double",
            "string_to_double" "string -> double", "uint64_to_double" "uint -> double";
        "duration" to_duration: "duration_to_duration" "duration -> duration",
            "string_to_duration" "string -> duration", "int64_to_duration" "int -> duration";
        "int" to_int: "int64_to_int64" "int -> int", "double_to_int64" "double -> int",
            "duration_to_int64" "duration -> int", "string_to_int64" "string -> int",
            "timestamp_to_int64" "timestamp -> int", "uint64_to_int64" "uint -> int";
        "string" to_string: "string_to_string" "string -> string", "bool_to_string" "bool -> string",
            "bytes_to_string" "bytes -> string", "double_to_string" "double -> string",
            "duration_to_string" "duration -> string", "int64_to_string" "int -> string",
            "timestamp_to_string" "timestamp -> string", "uint64_to_string" "uint -> string";
        "timestamp" to_timestamp: "timestamp_to_timestamp" "timestamp -> timestamp",
            "int64_to_timestamp" "int -> timestamp", "string_to_timestamp" "string -> timestamp";
        "uint" to_uint: "uint64_to_uint64" "uint -> uint", "double_to_uint64" "double -> uint",
            "int64_to_uint64" "int -> uint", "string_to_uint64" "string -> uint";
};

/// `x.size()`
pub(crate) const MEMBERS: &[Declaration] = &[
    Declaration::member("size", "bytes_size", "bytes -> int", size),
    Declaration::member("size", "list_size", "list(A) -> int", size),
    Declaration::member("size", "map_size", "map(A, B) -> int", size),
    Declaration::member("size", "string_size", "string -> int", size),
];

fn size<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    match &arguments[0] {
        value @ (Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_)) => {
            if let Value::String(text) = value {
                tools.meter.work(text.len() as u64 / 8)?;
            }
            Ok(Value::Int(value.size() as i64))
        }
        _ => Err(EvalError::NO_OVERLOAD),
    }
}

fn type_of<'v>(_: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    Ok(type_value(&arguments[0]))
}

fn same<'v>(_: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    Ok(arguments[0].clone())
}

fn wrong(value: &Value<'_>, wanted: &Type) -> EvalError {
    let message = format!("type conversion error from '{}' to '{}'", value.type_name(), runtime_name(wanted));
    EvalError::new(message)
}

fn to_bool<'v>(_: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    match &arguments[0] {
        Value::Bool(truth) => Ok(Value::Bool(*truth)),
        Value::String(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(wrong(&arguments[0], &Type::Bool)),
        },
        other => Err(wrong(other, &Type::Bool)),
    }
}

fn to_bytes<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    match &arguments[0] {
        Value::Bytes(bytes) => Ok(Value::Bytes(bytes.clone())),
        Value::String(text) => {
            tools.meter.memory(text.len())?;
            Ok(Value::Bytes(text.as_bytes().into()))
        }
        other => Err(wrong(other, &Type::BYTES)),
    }
}

fn to_double<'v>(_: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    match &arguments[0] {
        Value::Double(number) => Ok(Value::Double(*number)),
        Value::Int(number) => Ok(Value::Double(*number as f64)),
        Value::Uint(number) => Ok(Value::Double(*number as f64)),
        Value::String(text) => {
            let number = text.parse().ok().filter(|_| !text.is_empty());
            number.map(Value::Double).ok_or_else(|| wrong(&arguments[0], &Type::Double))
        }
        other => Err(wrong(other, &Type::Double)),
    }
}

fn to_duration<'v>(_: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    match &arguments[0] {
        Value::Duration(span) => Ok(Value::Duration(*span)),
        Value::Int(span) => Ok(Value::Duration(*span)),
        Value::String(text) => time::parse_duration(text)
            .map(Value::Duration)
            .ok_or_else(|| wrong(&arguments[0], &Type::Duration)),
        other => Err(wrong(other, &Type::Duration)),
    }
}

fn to_int<'v>(_: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let overflow = || EvalError::new("integer overflow");
    match &arguments[0] {
        Value::Int(number) => Ok(Value::Int(*number)),
        Value::Uint(number) => i64::try_from(*number).map(Value::Int).map_err(|_| overflow()),
        Value::Double(number) => {
            let fits = number.is_finite() && *number > i64::MIN as f64 && *number < i64::MAX as f64;
            fits.then_some(Value::Int(*number as i64)).ok_or_else(overflow)
        }
        Value::Duration(span) => Ok(Value::Int(*span)),
        Value::Timestamp(time) => Ok(Value::Int(time.seconds)),
        Value::String(text) => {
            let digits = text.strip_prefix('+').unwrap_or(text);
            let number = digits.parse().ok().filter(|_| !digits.starts_with('+'));
            number.map(Value::Int).ok_or_else(|| wrong(&arguments[0], &Type::Int))
        }
        other => Err(wrong(other, &Type::Int)),
    }
}

fn to_uint<'v>(_: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let overflow = || EvalError::new("unsigned integer overflow");
    match &arguments[0] {
        Value::Uint(number) => Ok(Value::Uint(*number)),
        Value::Int(number) => u64::try_from(*number).map(Value::Uint).map_err(|_| overflow()),
        Value::Double(number) => {
            let fits = number.is_finite() && *number >= 0.0 && *number < u64::MAX as f64;
            fits.then_some(Value::Uint(*number as u64)).ok_or_else(overflow)
        }
        Value::String(text) => {
            let number = text.parse().ok().filter(|_| !text.starts_with('+'));
            number.map(Value::Uint).ok_or_else(|| wrong(&arguments[0], &Type::Uint))
        }
        other => Err(wrong(other, &Type::Uint)),
    }
}

fn to_timestamp<'v>(_: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let found = match &arguments[0] {
        Value::Timestamp(time) => Some(*time),
        Value::Int(seconds) => Timestamp::new(*seconds, 0, 0),
        Value::String(text) => time::parse_timestamp(text),
        _ => None,
    };
    found.map(Value::Timestamp).ok_or_else(|| match &arguments[0] {
        Value::Int(_) => EvalError::new("timestamp overflow"),
        other => wrong(other, &Type::Timestamp),
    })
}

fn to_string<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    show(tools, &arguments[0])
}

/// The text that `string(x)` is.
pub(crate) fn show<'v>(tools: &mut Tools, value: &Value<'v>) -> Answer<'v> {
    Ok(match value {
        Value::String(_) => value.clone(),
        Value::Bool(truth) => Value::from(if *truth { "true" } else { "false" }),
        Value::Int(number) => Value::from(number.to_string()),
        Value::Uint(number) => Value::from(number.to_string()),
        Value::Double(number) => Value::from(show_double(*number)),
        Value::Timestamp(time) => Value::from(time.to_string()),
        Value::Duration(span) => Value::from(time::show_duration(*span)),
        Value::Type(named) => Value::from(runtime_name(named)),
        Value::Bytes(bytes) => {
            tools.meter.memory(bytes.len())?;
            let text = String::from_utf8(bytes.to_vec());
            Value::from(text.map_err(|_| EvalError::new("invalid UTF-8 in bytes, cannot convert to string"))?)
        }
        other => return Err(wrong(other, &Type::STRING)),
    })
}

/// As Go writes a number with as few digits as tell it from others: `1.5`, `1e+06`.
pub(crate) fn show_double(number: f64) -> String {
    /// From this power of ten on a number is written with an exponent.
    const EXPONENT_MIN: i32 = 6;
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let scientific = format!("{number:e}");
    let (digits, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    if number != 0.0 && !(-4..EXPONENT_MIN).contains(&power) {
        let sign = if power < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", power.abs());
    }
    format!("{number}")
}
