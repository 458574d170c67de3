//! Which values are equal, and which is less.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use berth_json::Text;

use crate::collection::{List, Map};
use crate::error::EvalError;
use crate::meter::{Meter, STEP};
use crate::types::ListKind;
use crate::value::Value;

/// Whether both are the same; what is of different kinds is not.
pub(crate) fn equal(meter: &mut Meter, a: &Value<'_>, b: &Value<'_>) -> Result<bool, EvalError> {
    meter.work(STEP)?;
    Ok(match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::String(a), Value::String(b)) => {
            meter.work(a.len().min(b.len()) as u64 / 8)?;
            **a == **b
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            // Those of an object were decoded for this.
            meter.memory(a.len() + b.len())?;
            a == b
        }
        (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::List(a), Value::List(b)) => return equal_lists(meter, a, b),
        (Value::Map(a), Value::Map(b)) => return equal_maps(meter, a, b),
        (Value::Optional(None), Value::Optional(None)) => true,
        (Value::Optional(Some(a)), Value::Optional(Some(b))) => return equal(meter, a, b),
        (Value::Type(a), Value::Type(b)) => crate::value::runtime_name(a) == crate::value::runtime_name(b),
        (Value::Foreign(a), Value::Foreign(b)) => a == b,
        // kube-apiserver does not compare parts of an object with what is of another kind.
        (Value::List(List::Json(..)) | Value::Map(Map::Object(..) | Map::Json(..)), other)
            if !other.is_null() =>
        {
            return Err(EvalError::NO_OVERLOAD);
        }
        _ => numbers(a, b) == Some(Ordering::Equal),
    })
}

fn equal_lists(meter: &mut Meter, a: &List<'_>, b: &List<'_>) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    match a.kind() {
        ListKind::Atomic => equal_in_order(meter, a, b),
        ListKind::Set => equal_sets(meter, a, b),
        ListKind::Map(keys) => equal_keyed(meter, keys, a, b),
    }
}

fn equal_in_order(meter: &mut Meter, a: &List<'_>, b: &List<'_>) -> Result<bool, EvalError> {
    for (a, b) in a.iter().zip(b.iter()) {
        if !equal(meter, &a?, &b?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether each element of either stands in the other: the elements are scalars and sorted to be found.
fn equal_sets(meter: &mut Meter, a: &List<'_>, b: &List<'_>) -> Result<bool, EvalError> {
    let sorted = |meter: &mut Meter, list: &List<'_>| -> Result<Vec<String>, EvalError> {
        meter.elements(list.len())?;
        let mut keys = Vec::with_capacity(list.len());
        for element in list.iter() {
            let key = element?.to_json().map(|value| value.to_string()).unwrap_or_default();
            meter.memory(key.len())?;
            keys.push(key);
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    };
    Ok(sorted(meter, a)? == sorted(meter, b)?)
}

/// Whether the elements with the same keys are the same.
fn equal_keyed(meter: &mut Meter, keys: &[Text], a: &List<'_>, b: &List<'_>) -> Result<bool, EvalError> {
    meter.elements(a.len() * 2)?;
    let mut places = BTreeMap::new();
    for (at, element) in b.iter().enumerate() {
        let key = key_of(keys, &element?)?;
        meter.memory(key.iter().flatten().map(String::len).sum())?;
        places.insert(key, at);
    }
    for element in a.iter() {
        let mine = element?;
        let Some(theirs) = places.get(&key_of(keys, &mine)?).and_then(|at| b.get(*at)) else {
            return Ok(false);
        };
        if !equal(meter, &mine, &theirs?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The values of an element's keys, written so that they can be looked up.
fn key_of(keys: &[Text], element: &Value<'_>) -> Result<Vec<Option<String>>, EvalError> {
    let Value::Map(map) = element else { return Ok(Vec::new()) };
    let values = keys.iter().map(|key| {
        let name = crate::names::escape(key).unwrap_or_else(|| key.clone());
        Ok(map.named(&name)?.and_then(|value| value.to_json()).map(|value| value.to_string()))
    });
    values.collect()
}

fn equal_maps(meter: &mut Meter, a: &Map<'_>, b: &Map<'_>) -> Result<bool, EvalError> {
    match (a, b) {
        // Fields that are not declared count as they stand.
        (Map::Object(a, declared), Map::Object(b, other)) if std::ptr::eq(*declared, *other) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (key, mine) in *a {
                let Some(theirs) = b.get(key) else { return Ok(false) };
                let field = crate::names::escape(key).and_then(|name| declared.field(&name));
                let is_same = match field {
                    Some(field) => equal(
                        meter,
                        &Value::from_json(mine, &field.value)?,
                        &Value::from_json(theirs, &field.value)?,
                    )?,
                    None => {
                        meter.work(1)?;
                        mine == theirs
                    }
                };
                if !is_same {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        _ if a.len() != b.len() => Ok(false),
        _ => {
            for key in a.keys() {
                let (Some(mine), Some(theirs)) = (a.get(&key)?, b.get(&key)?) else { return Ok(false) };
                if !equal(meter, &mine, &theirs)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
}

/// Which of two numbers is less, whatever their kinds; `None` for what are no numbers, or none that can be ordered.
fn numbers(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Uint(a), Value::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Double(a), Value::Int(b)) => against(*a, i128::from(*b)),
        (Value::Double(a), Value::Uint(b)) => against(*a, i128::from(*b)),
        (Value::Int(a), Value::Double(b)) => against(*b, i128::from(*a)).map(Ordering::reverse),
        (Value::Uint(a), Value::Double(b)) => against(*b, i128::from(*a)).map(Ordering::reverse),
        _ => None,
    }
}

/// A floating-point number against a whole one of 64 bits, without rounding either.
fn against(a: f64, b: i128) -> Option<Ordering> {
    /// More than any whole number of 64 bits.
    const BEYOND: f64 = 1e20;
    if a.is_nan() {
        return None;
    }
    let whole = a.clamp(-BEYOND, BEYOND).trunc();
    let fraction = if a > whole {
        Ordering::Greater
    } else if a < whole {
        Ordering::Less
    } else {
        Ordering::Equal
    };
    Some((whole as i128).cmp(&b).then(fraction))
}

/// Which of two values is less.
pub(crate) fn order(meter: &mut Meter, a: &Value<'_>, b: &Value<'_>) -> Result<Ordering, EvalError> {
    meter.work(STEP)?;
    Ok(match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => {
            meter.work(a.len().min(b.len()) as u64 / 8)?;
            (**a).cmp(b)
        }
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (Value::Duration(a), Value::Duration(b)) => a.cmp(b),
        _ => {
            let is_nan = |value: &Value<'_>| matches!(value, Value::Double(number) if number.is_nan());
            match numbers(a, b) {
                Some(order) => order,
                None if is_nan(a) || is_nan(b) => return Err(EvalError::new("NaN values cannot be ordered")),
                None => return Err(EvalError::NO_OVERLOAD),
            }
        }
    })
}
