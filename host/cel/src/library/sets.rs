//! `sets.contains` and its like: lists whose order does not count.

use crate::collection::List;
use crate::compare;
use crate::error::EvalError;
use crate::functions::{Answer, Declaration, Tools};
use crate::value::Value;

pub(crate) const DECLARATIONS: &[Declaration] = &[
    Declaration::global("sets.contains", "list_sets_contains_list", "list(A), list(A) -> bool", contains),
    Declaration::global(
        "sets.equivalent",
        "list_sets_equivalent_list",
        "list(A), list(A) -> bool",
        equivalent,
    ),
    Declaration::global(
        "sets.intersects",
        "list_sets_intersects_list",
        "list(A), list(A) -> bool",
        intersects,
    ),
];

fn holds(tools: &mut Tools, list: &List<'_>, value: &Value<'_>) -> Result<bool, EvalError> {
    for element in list.iter() {
        if compare::equal(&mut tools.meter, &element?, value)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn holds_all(tools: &mut Tools, list: &List<'_>, part: &List<'_>) -> Result<bool, EvalError> {
    for element in part.iter() {
        if !holds(tools, list, &element?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn contains<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    holds_all(tools, arguments[0].list()?, arguments[1].list()?).map(Value::Bool)
}

fn equivalent<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let (a, b) = (arguments[0].list()?, arguments[1].list()?);
    Ok(Value::Bool(holds_all(tools, a, b)? && holds_all(tools, b, a)?))
}

fn intersects<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let list = arguments[1].list()?;
    for element in arguments[0].list()?.iter() {
        if holds(tools, list, &element?)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}
