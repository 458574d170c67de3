//! The operators: declared for the checker, evaluated here.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::ast::Operator;
use crate::collection::List;
use crate::compare;
use crate::error::EvalError;
use crate::functions::{Answer, Declaration, Tools};
use crate::types::ListKind;
use crate::value::Value;

macro_rules! operators {
    ($($function:literal: $($id:literal $signature:literal),+;)*) => {
        &[$($(Declaration::operator($function, $id, $signature)),+),*]
    };
}

pub(crate) const DECLARATIONS: &[Declaration] = operators! {
    "_?_:_": "conditional" "bool, A, A -> A";
    "!_": "logical_not" "bool -> bool";
    "_==_": "equals" "A, A -> bool";
    "_!=_": "not_equals" "A, A -> bool";
    "_+_": "add_bytes" "bytes, bytes -> bytes", "add_double" "double, double -> double",
        "add_duration_duration" "duration, duration -> duration",
        "add_duration_timestamp" "duration, timestamp -> timestamp",
        "add_timestamp_duration" "timestamp, duration -> timestamp", "add_int64" "int, int -> int",
        "add_list" "list(A), list(A) -> list(A)", "add_string" "string, string -> string",
        "add_uint64" "uint, uint -> uint";
    "_/_": "divide_double" "double, double -> double", "divide_int64" "int, int -> int",
        "divide_uint64" "uint, uint -> uint";
    "_%_": "modulo_int64" "int, int -> int", "modulo_uint64" "uint, uint -> uint";
    "_*_": "multiply_double" "double, double -> double", "multiply_int64" "int, int -> int",
        "multiply_uint64" "uint, uint -> uint";
    "-_": "negate_double" "double -> double", "negate_int64" "int -> int";
    "_-_": "subtract_double" "double, double -> double",
        "subtract_duration_duration" "duration, duration -> duration", "subtract_int64" "int, int -> int",
        "subtract_timestamp_duration" "timestamp, duration -> timestamp",
        "subtract_timestamp_timestamp" "timestamp, timestamp -> duration", "subtract_uint64" "uint, uint -> uint";
    "_<_": "less_bool" "bool, bool -> bool", "less_int64" "int, int -> bool",
        "less_int64_double" "int, double -> bool", "less_int64_uint64" "int, uint -> bool",
        "less_uint64" "uint, uint -> bool", "less_uint64_double" "uint, double -> bool",
        "less_uint64_int64" "uint, int -> bool", "less_double" "double, double -> bool",
        "less_double_int64" "double, int -> bool", "less_double_uint64" "double, uint -> bool",
        "less_string" "string, string -> bool", "less_bytes" "bytes, bytes -> bool",
        "less_timestamp" "timestamp, timestamp -> bool", "less_duration" "duration, duration -> bool";
    "_<=_": "less_equals_bool" "bool, bool -> bool", "less_equals_int64" "int, int -> bool",
        "less_equals_int64_double" "int, double -> bool", "less_equals_int64_uint64" "int, uint -> bool",
        "less_equals_uint64" "uint, uint -> bool", "less_equals_uint64_double" "uint, double -> bool",
        "less_equals_uint64_int64" "uint, int -> bool", "less_equals_double" "double, double -> bool",
        "less_equals_double_int64" "double, int -> bool", "less_equals_double_uint64" "double, uint -> bool",
        "less_equals_string" "string, string -> bool", "less_equals_bytes" "bytes, bytes -> bool",
        "less_equals_timestamp" "timestamp, timestamp -> bool",
        "less_equals_duration" "duration, duration -> bool";
    "_>_": "greater_bool" "bool, bool -> bool", "greater_int64" "int, int -> bool",
        "greater_int64_double" "int, double -> bool", "greater_int64_uint64" "int, uint -> bool",
        "greater_uint64" "uint, uint -> bool", "greater_uint64_double" "uint, double -> bool",
        "greater_uint64_int64" "uint, int -> bool", "greater_double" "double, double -> bool",
        "greater_double_int64" "double, int -> bool", "greater_double_uint64" "double, uint -> bool",
        "greater_string" "string, string -> bool", "greater_bytes" "bytes, bytes -> bool",
        "greater_timestamp" "timestamp, timestamp -> bool", "greater_duration" "duration, duration -> bool";
    "_>=_": "greater_equals_bool" "bool, bool -> bool", "greater_equals_int64" "int, int -> bool",
        "greater_equals_int64_double" "int, double -> bool", "greater_equals_int64_uint64" "int, uint -> bool",
        "greater_equals_uint64" "uint, uint -> bool", "greater_equals_uint64_double" "uint, double -> bool",
        "greater_equals_uint64_int64" "uint, int -> bool", "greater_equals_double" "double, double -> bool",
        "greater_equals_double_int64" "double, int -> bool",
        "greater_equals_double_uint64" "double, uint -> bool",
        "greater_equals_string" "string, string -> bool", "greater_equals_bytes" "bytes, bytes -> bool",
        "greater_equals_timestamp" "timestamp, timestamp -> bool",
        "greater_equals_duration" "duration, duration -> bool";
    "_[_]": "index_list" "list(A), int -> A", "index_map" "map(A, B), A -> B",
        "optional_list_index_int" "optional(list(V)), int -> optional(V)",
        "optional_map_index_value" "optional(map(K, V)), K -> optional(V)";
    "_[?_]": "list_optindex_optional_int" "list(V), int -> optional(V)",
        "optional_list_optindex_optional_int" "optional(list(V)), int -> optional(V)",
        "map_optindex_optional_value" "map(K, V), K -> optional(V)",
        "optional_map_optindex_optional_value" "optional(map(K, V)), K -> optional(V)";
    "@in": "in_list" "A, list(A) -> bool", "in_map" "A, map(A, B) -> bool";
};

const OVERFLOW: EvalError = EvalError::Failed(std::borrow::Cow::Borrowed("integer overflow"));

/// The value of an operator that evaluates both operands.
pub(crate) fn binary<'v>(
    tools: &mut Tools,
    operator: Operator,
    left: Value<'v>,
    right: Value<'v>,
) -> Answer<'v> {
    let meter = &mut tools.meter;
    Ok(Value::Bool(match operator {
        Operator::Equal => compare::equal(meter, &left, &right)?,
        Operator::NotEqual => !compare::equal(meter, &left, &right)?,
        Operator::Less => compare::order(meter, &left, &right)? == Ordering::Less,
        Operator::LessEqual => compare::order(meter, &left, &right)? != Ordering::Greater,
        Operator::Greater => compare::order(meter, &left, &right)? == Ordering::Greater,
        Operator::GreaterEqual => compare::order(meter, &left, &right)? != Ordering::Less,
        Operator::In => return contains(tools, &left, &right),
        Operator::Add => return add(tools, &left, &right),
        Operator::Subtract => return subtract(&left, &right),
        Operator::Multiply | Operator::Divide | Operator::Modulo => return product(operator, &left, &right),
    }))
}

fn contains<'v>(tools: &mut Tools, value: &Value<'v>, within: &Value<'v>) -> Answer<'v> {
    match within {
        Value::List(list) => {
            for element in list.iter() {
                if compare::equal(&mut tools.meter, value, &element?)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        Value::Map(map) => Ok(Value::Bool(map.get(value)?.is_some())),
        _ => Err(EvalError::NO_OVERLOAD),
    }
}

fn add<'v>(tools: &mut Tools, left: &Value<'v>, right: &Value<'v>) -> Answer<'v> {
    Ok(match (left, right) {
        (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_add(*b).ok_or(OVERFLOW)?),
        (Value::Uint(a), Value::Uint(b)) => {
            Value::Uint(a.checked_add(*b).ok_or(EvalError::Failed("unsigned integer overflow".into()))?)
        }
        (Value::Double(a), Value::Double(b)) => Value::Double(a + b),
        (Value::String(a), Value::String(b)) => {
            tools.meter.memory(a.len() + b.len())?;
            Value::from([&**a, &**b].concat())
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            tools.meter.memory(a.len() + b.len())?;
            Value::Bytes([&**a, &**b].concat().into())
        }
        (Value::List(a), Value::List(b)) => return join(tools, a, b),
        (Value::Timestamp(time), Value::Duration(span)) | (Value::Duration(span), Value::Timestamp(time)) => {
            Value::Timestamp(time.plus(*span).ok_or(EvalError::Failed("timestamp overflow".into()))?)
        }
        (Value::Duration(a), Value::Duration(b)) => Value::Duration(a.checked_add(*b).ok_or(OVERFLOW)?),
        _ => return Err(EvalError::NO_OVERLOAD),
    })
}

/// Both lists; of a set or a list with keys the elements of the second take the places of their equals.
fn join<'v>(tools: &mut Tools, a: &List<'v>, b: &List<'v>) -> Answer<'v> {
    tools.meter.elements(a.len() + b.len())?;
    let mut joined = a.iter().collect::<Result<Vec<_>, _>>()?;
    let kind = a.kind();
    for element in b.iter() {
        let element = element?;
        let place = match kind {
            ListKind::Atomic => None,
            ListKind::Set => place_of(&joined, |other| compare::equal(&mut tools.meter, other, &element))?,
            ListKind::Map(keys) => place_of(&joined, |other| same_keys(tools, keys, other, &element))?,
        };
        match place {
            Some(at) => joined[at] = element,
            None => joined.push(element),
        }
    }
    Ok(Value::List(List::Joined(joined.into(), kind)))
}

fn place_of<'v>(
    list: &[Value<'v>],
    mut is_it: impl FnMut(&Value<'v>) -> Result<bool, EvalError>,
) -> Result<Option<usize>, EvalError> {
    for (at, element) in list.iter().enumerate() {
        if is_it(element)? {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

fn same_keys(
    tools: &mut Tools,
    keys: &[berth_json::Text],
    a: &Value<'_>,
    b: &Value<'_>,
) -> Result<bool, EvalError> {
    let (Value::Map(a), Value::Map(b)) = (a, b) else { return Ok(false) };
    for key in keys {
        let name = crate::names::escape(key).unwrap_or_else(|| key.clone());
        let is_same = match (a.named(&name)?, b.named(&name)?) {
            (Some(a), Some(b)) => compare::equal(&mut tools.meter, &a, &b)?,
            (a, b) => a.is_none() && b.is_none(),
        };
        if !is_same {
            return Ok(false);
        }
    }
    Ok(true)
}

fn subtract<'v>(left: &Value<'v>, right: &Value<'v>) -> Answer<'v> {
    Ok(match (left, right) {
        (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_sub(*b).ok_or(OVERFLOW)?),
        (Value::Uint(a), Value::Uint(b)) => {
            Value::Uint(a.checked_sub(*b).ok_or(EvalError::Failed("unsigned integer overflow".into()))?)
        }
        (Value::Double(a), Value::Double(b)) => Value::Double(a - b),
        (Value::Duration(a), Value::Duration(b)) => Value::Duration(a.checked_sub(*b).ok_or(OVERFLOW)?),
        (Value::Timestamp(a), Value::Timestamp(b)) => Value::Duration(a.since(*b).ok_or(OVERFLOW)?),
        (Value::Timestamp(time), Value::Duration(span)) => {
            let back = span.checked_neg().and_then(|span| time.plus(span));
            Value::Timestamp(back.ok_or(EvalError::Failed("timestamp overflow".into()))?)
        }
        _ => return Err(EvalError::NO_OVERLOAD),
    })
}

fn product<'v>(operator: Operator, left: &Value<'v>, right: &Value<'v>) -> Answer<'v> {
    let zero = if operator == Operator::Modulo { "modulus by zero" } else { "division by zero" };
    Ok(match (left, right) {
        (Value::Int(a), Value::Int(b)) => {
            if operator != Operator::Multiply && *b == 0 {
                return Err(EvalError::new(zero));
            }
            let whole = match operator {
                Operator::Multiply => a.checked_mul(*b),
                Operator::Divide => a.checked_div(*b),
                _ => a.checked_rem(*b),
            };
            Value::Int(whole.ok_or(OVERFLOW)?)
        }
        (Value::Uint(a), Value::Uint(b)) => {
            if operator != Operator::Multiply && *b == 0 {
                return Err(EvalError::new(zero));
            }
            let whole = match operator {
                Operator::Multiply => a.checked_mul(*b),
                Operator::Divide => a.checked_div(*b),
                _ => a.checked_rem(*b),
            };
            Value::Uint(whole.ok_or(EvalError::Failed("unsigned integer overflow".into()))?)
        }
        (Value::Double(a), Value::Double(b)) if operator == Operator::Multiply => Value::Double(a * b),
        (Value::Double(a), Value::Double(b)) if operator == Operator::Divide => Value::Double(a / b),
        _ => return Err(EvalError::NO_OVERLOAD),
    })
}

/// `-x`
pub(crate) fn negate<'v>(value: &Value<'v>) -> Answer<'v> {
    match value {
        Value::Int(number) => number.checked_neg().map(Value::Int).ok_or(OVERFLOW),
        Value::Double(number) => Ok(Value::Double(-number)),
        _ => Err(EvalError::NO_OVERLOAD),
    }
}

/// `a[b]`, or `None` when there is nothing.
pub(crate) fn index<'v>(operand: &Value<'v>, key: &Value<'v>) -> Result<Option<Value<'v>>, EvalError> {
    match operand {
        Value::List(list) => {
            let at = match key {
                Value::Int(at) => usize::try_from(*at).ok(),
                Value::Uint(at) => usize::try_from(*at).ok(),
                Value::Double(at) if at.fract() == 0.0 && *at >= 0.0 && *at < 9e18 => Some(*at as usize),
                other => {
                    let message = format!("unsupported index type '{}' in list", other.type_name());
                    return Err(EvalError::new(message));
                }
            };
            at.and_then(|at| list.get(at)).transpose()
        }
        Value::Map(map) => map.get(key),
        _ => Ok(None),
    }
}

/// What is said when there is nothing at `key`.
pub(crate) fn missing(operand: &Value<'_>, key: &Value<'_>) -> EvalError {
    let shown = match key {
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::String(text) => text.to_string(),
        _ => return EvalError::new(format!("unsupported key type: {}", key.type_name())),
    };
    match operand {
        Value::List(_) => EvalError::new(format!("index out of bounds: {shown}")),
        _ => EvalError::new(format!("no such key: {shown}")),
    }
}

/// A list that was filled.
pub(crate) fn owned(list: Vec<Value<'_>>) -> List<'_> {
    List::Owned(Arc::from(list))
}
