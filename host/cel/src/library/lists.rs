//! Lists: Kubernetes' library, and cel-go's list extension, version 3.

use std::cmp::Ordering;

use crate::ast::Operator;
use crate::compare;
use crate::error::EvalError;
use crate::functions::{Answer, Declaration, Tools};
use crate::meter::Budget;
use crate::value::Value;

use super::operators::{binary, owned};

macro_rules! each {
    ($($function:literal $run:ident $result:ident: $($kind:literal $id:literal),+;)*) => {
        &[$($(Declaration::member(
            $function, $id, concat!("list(", $kind, ") -> ", each!(@ $result $kind)), $run,
        )),+),*]
    };
    (@ element $kind:literal) => { $kind };
    (@ list $kind:literal) => { concat!("list(", $kind, ")") };
    (@ bool $kind:literal) => { "bool" };
}

pub(crate) const DECLARATIONS: &[Declaration] = &[
    Declaration::member("sum", "list_int_sum_int", "list(int) -> int", |tools, arguments| {
        sum(tools, arguments, Value::Int(0))
    }),
    Declaration::member("sum", "list_uint_sum_uint", "list(uint) -> uint", |tools, arguments| {
        sum(tools, arguments, Value::Uint(0))
    }),
    Declaration::member("sum", "list_double_sum_double", "list(double) -> double", |tools, arguments| {
        sum(tools, arguments, Value::Double(0.0))
    }),
    Declaration::member(
        "sum",
        "list_duration_sum_duration",
        "list(duration) -> duration",
        |tools, arguments| sum(tools, arguments, Value::Duration(0)),
    ),
    Declaration::member("indexOf", "list_a_index_of_int", "list(A), A -> int", index_of),
    Declaration::member("lastIndexOf", "list_a_last_index_of_int", "list(A), A -> int", last_index_of),
    Declaration::member("includes", "list_includes_dyn_dyn", "dyn, dyn -> bool", includes),
    Declaration::member("slice", "list_slice", "list(A), int, int -> list(A)", slice),
    Declaration::member("flatten", "list_flatten", "list(list(A)) -> list(A)", flatten),
    Declaration::member("flatten", "list_flatten_int", "list(dyn), int -> list(dyn)", flatten),
    Declaration::member("reverse", "list_reverse", "list(A) -> list(A)", reverse),
    Declaration::member("distinct", "list_distinct", "list(A) -> list(A)", distinct),
    Declaration::global("lists.range", "lists_range", "int -> list(int)", range),
    Declaration::member("first", "list_first", "list(A) -> optional(A)", first),
    Declaration::member("last", "list_last", "list(A) -> optional(A)", last),
];

/// What works on lists of anything that has an order.
pub(crate) const ORDERED: &[Declaration] = each! {
    "isSorted" is_sorted bool: "int" "list_int_is_sorted_bool", "uint" "list_uint_is_sorted_bool",
        "double" "list_double_is_sorted_bool", "bool" "list_bool_is_sorted_bool",
        "duration" "list_duration_is_sorted_bool", "timestamp" "list_timestamp_is_sorted_bool",
        "string" "list_string_is_sorted_bool", "bytes" "list_bytes_is_sorted_bool";
    "max" max element: "int" "list_int_max_int", "uint" "list_uint_max_uint", "double" "list_double_max_double",
        "bool" "list_bool_max_bool", "duration" "list_duration_max_duration",
        "timestamp" "list_timestamp_max_timestamp", "string" "list_string_max_string",
        "bytes" "list_bytes_max_bytes";
    "min" min element: "int" "list_int_min_int", "uint" "list_uint_min_uint", "double" "list_double_min_double",
        "bool" "list_bool_min_bool", "duration" "list_duration_min_duration",
        "timestamp" "list_timestamp_min_timestamp", "string" "list_string_min_string",
        "bytes" "list_bytes_min_bytes";
    "sort" sort list: "int" "list_int_sort", "uint" "list_uint_sort", "double" "list_double_sort",
        "bool" "list_bool_sort", "duration" "list_duration_sort", "timestamp" "list_timestamp_sort",
        "string" "list_string_sort", "bytes" "list_bytes_sort";
};

macro_rules! keyed {
    ($($kind:literal $id:literal),+) => {
        &[$(Declaration::member(
            "@sortByAssociatedKeys", $id, concat!("list(A), list(", $kind, ") -> list(A)"), sort_by,
        )),+]
    };
}

/// What `sortBy` is made of.
pub(crate) const KEYED: &[Declaration] = keyed!(
    "int" "list_int_sortByAssociatedKeys",
    "uint" "list_uint_sortByAssociatedKeys",
    "double" "list_double_sortByAssociatedKeys",
    "bool" "list_bool_sortByAssociatedKeys",
    "duration" "list_duration_sortByAssociatedKeys",
    "timestamp" "list_timestamp_sortByAssociatedKeys",
    "string" "list_string_sortByAssociatedKeys",
    "bytes" "list_bytes_sortByAssociatedKeys"
);

/// All elements, held apart from what they came from.
fn elements<'v>(tools: &mut Tools, value: &Value<'v>) -> Result<Vec<Value<'v>>, EvalError> {
    let list = value.list()?;
    tools.meter.elements(list.len())?;
    list.iter().collect()
}

fn sum<'v>(tools: &mut Tools, arguments: &[Value<'v>], zero: Value<'v>) -> Answer<'v> {
    let mut total = zero;
    for element in arguments[0].list()?.iter() {
        total = binary(tools, Operator::Add, total, element?)?;
    }
    Ok(total)
}

fn is_sorted<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let mut before: Option<Value<'v>> = None;
    for element in arguments[0].list()?.iter() {
        let element = element?;
        if let Some(before) = &before
            && compare::order(&mut tools.meter, before, &element)? == Ordering::Greater
        {
            return Ok(Value::Bool(false));
        }
        before = Some(element);
    }
    Ok(Value::Bool(true))
}

fn best<'v>(tools: &mut Tools, list: &Value<'v>, name: &str, preferred: Ordering) -> Answer<'v> {
    let mut best: Option<Value<'v>> = None;
    for element in list.list()?.iter() {
        let element = element?;
        let is_better = match &best {
            Some(best) => compare::order(&mut tools.meter, &element, best)? == preferred,
            None => true,
        };
        if is_better {
            best = Some(element);
        }
    }
    best.ok_or_else(|| EvalError::new(format!("{name} called on empty list")))
}

fn max<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    best(tools, &arguments[0], "max", Ordering::Greater)
}

fn min<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    best(tools, &arguments[0], "min", Ordering::Less)
}

/// Whether both are the same; what cannot be compared is not.
fn is_same(tools: &mut Tools, a: &Value<'_>, b: &Value<'_>) -> Result<bool, EvalError> {
    match compare::equal(&mut tools.meter, a, b) {
        Err(EvalError::Failed(text)) => tools.meter.memory(text.len()).map(|()| false),
        other => other,
    }
}

fn index_of<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    for (at, element) in arguments[0].list()?.iter().enumerate() {
        if is_same(tools, &element?, &arguments[1])? {
            return Ok(Value::Int(at as i64));
        }
    }
    Ok(Value::Int(-1))
}

fn last_index_of<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let list = arguments[0].list()?;
    for at in (0..list.len()).rev() {
        if let Some(element) = list.get(at)
            && is_same(tools, &element?, &arguments[1])?
        {
            return Ok(Value::Int(at as i64));
        }
    }
    Ok(Value::Int(-1))
}

fn includes<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    match &arguments[0] {
        Value::List(_) => index_of(tools, arguments).map(|at| Value::Bool(at.as_int() != Some(-1))),
        other => is_same(tools, other, &arguments[1]).map(Value::Bool),
    }
}

fn slice<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let list = arguments[0].list()?;
    let (start, end) = (arguments[1].int()?, arguments[2].int()?);
    let refused = |why: &str| Err(EvalError::new(format!("cannot slice({start}, {end}), {why}")));
    let (Ok(from), Ok(to)) = (usize::try_from(start), usize::try_from(end)) else {
        return refused("negative indexes not supported");
    };
    if from > to {
        return refused("start index must be less than or equal to end index");
    }
    if to > list.len() {
        return refused(&format!("list is length {}", list.len()));
    }
    tools.meter.elements(to - from)?;
    let kept = (from..to).filter_map(|at| list.get(at)).collect::<Result<Vec<_>, _>>()?;
    Ok(Value::from(kept))
}

fn flatten<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let depth = arguments.get(1).map_or(Ok(1), Value::int)?;
    if depth < 0 {
        return Err(EvalError::new("level must be non-negative"));
    }
    let mut list = elements(tools, &arguments[0])?;
    for _ in 0..depth {
        let mut flat = Vec::new();
        let mut had_lists = false;
        for element in list {
            match element {
                Value::List(inner) => {
                    had_lists = true;
                    tools.meter.elements(inner.len())?;
                    for element in inner.iter() {
                        flat.push(element?);
                    }
                }
                other => flat.push(other),
            }
        }
        tools.meter.work(flat.len() as u64)?;
        list = flat;
        if !had_lists {
            break;
        }
    }
    Ok(Value::from(list))
}

fn reverse<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let mut list = elements(tools, &arguments[0])?;
    list.reverse();
    Ok(Value::from(list))
}

fn distinct<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let mut kept: Vec<Value<'v>> = Vec::new();
    for element in elements(tools, &arguments[0])? {
        let mut is_known = false;
        for other in &kept {
            if is_same(tools, other, &element)? {
                is_known = true;
                break;
            }
        }
        if !is_known {
            kept.push(element);
        }
    }
    Ok(Value::from(kept))
}

fn range<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let count = arguments[0].int()?;
    let size = usize::try_from(count)
        .map_err(|_| EvalError::new(format!("lists.range: size must be non-negative, got {count}")))?;
    tools.meter.elements(size)?;
    Ok(Value::from((0..count).map(Value::Int).collect::<Vec<_>>()))
}

fn first<'v>(_: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    Ok(arguments[0].list()?.get(0).transpose()?.map_or_else(Value::none, Value::some))
}

fn last<'v>(_: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let list = arguments[0].list()?;
    let last = list.len().checked_sub(1).and_then(|at| list.get(at)).transpose()?;
    Ok(last.map_or_else(Value::none, Value::some))
}

fn sort<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let list = elements(tools, &arguments[0])?;
    sorted(tools, list.clone(), list)
}

/// The first list in the order of the second.
pub(crate) fn sort_by<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let (list, keys) = (elements(tools, &arguments[0])?, elements(tools, &arguments[1])?);
    sorted(tools, list, keys)
}

/// A list in the order of its keys. All that can go wrong is looked for before, because an order that fails midway is
/// none that can be sorted by.
fn sorted<'v>(tools: &mut Tools, list: Vec<Value<'v>>, keys: Vec<Value<'v>>) -> Answer<'v> {
    for key in &keys {
        if key.type_name() != keys[0].type_name() {
            return Err(EvalError::new("list elements must have the same type"));
        }
        match compare::order(&mut tools.meter, key, key) {
            Err(EvalError::Failed(why)) if why == "no such overload" => {
                return Err(EvalError::new("list elements must be comparable"));
            }
            other => drop(other?),
        }
        let comparisons = u64::from(keys.len().max(1).ilog2()) + 1;
        tools.meter.work(comparisons * (1 + key.size() / 8))?;
    }
    let mut scratch = Budget::new(0, 0).meter();
    let mut pairs: Vec<_> = keys.into_iter().zip(list).collect();
    pairs.sort_by(|(a, _), (b, _)| compare::order(&mut scratch, a, b).unwrap_or(Ordering::Equal));
    Ok(Value::List(owned(pairs.into_iter().map(|(_, value)| value).collect())))
}
