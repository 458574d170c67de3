//! Values that may be missing.

use std::sync::Arc;

use crate::error::EvalError;
use crate::functions::{Answer, Declaration, Tools};
use crate::value::Value;

pub(crate) const DECLARATIONS: &[Declaration] = &[
    Declaration::global("optional.of", "optional_of", "V -> optional(V)", of),
    Declaration::global(
        "optional.ofNonZeroValue",
        "optional_ofNonZeroValue",
        "V -> optional(V)",
        of_non_zero,
    ),
    Declaration::global("optional.none", "optional_none", "-> optional(V)", none),
    Declaration::member("value", "optional_value", "optional(V) -> V", value),
    Declaration::member("hasValue", "optional_hasValue", "optional(V) -> bool", has_value),
    Declaration::native_member("or", "optional_or_optional", "optional(V), optional(V) -> optional(V)"),
    Declaration::native_member("orValue", "optional_orValue_value", "optional(V), V -> V"),
    Declaration::global("optional.unwrap", "optional_unwrap", "list(optional(V)) -> list(V)", unwrap),
    Declaration::member("unwrapOpt", "optional_unwrapOpt", "list(optional(V)) -> list(V)", unwrap),
];

/// What is inside, if it is an optional.
pub(crate) fn inside<'a, 'v>(value: &'a Value<'v>) -> Result<Option<&'a Arc<Value<'v>>>, EvalError> {
    if let Value::Optional(value) = value { Ok(value.as_ref()) } else { Err(EvalError::NO_OVERLOAD) }
}

fn of<'v>(_: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    Ok(Value::some(arguments[0].clone()))
}

fn of_non_zero<'v>(_: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let value = &arguments[0];
    Ok(if value.is_zero() { Value::none() } else { Value::some(value.clone()) })
}

fn none<'v>(_: &mut Tools, _: &[Value<'v>]) -> Answer<'v> {
    Ok(Value::none())
}

fn value<'v>(_: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let value = inside(&arguments[0])?.ok_or_else(|| EvalError::new("optional.none() dereference"))?;
    Ok((**value).clone())
}

fn has_value<'v>(_: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    Ok(Value::Bool(inside(&arguments[0])?.is_some()))
}

fn unwrap<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let list = arguments[0].list()?;
    tools.meter.elements(list.len())?;
    let mut values = Vec::new();
    for element in list.iter() {
        if let Some(value) = inside(&element?)? {
            values.push((**value).clone());
        }
    }
    Ok(Value::from(values))
}
