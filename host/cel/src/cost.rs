//! What calls cost when they run, in Kubernetes' units: `k8s.io/apiserver/pkg/cel/library` and cel-go say how much.

use crate::collection::Map;
use crate::error::EvalError;
use crate::foreign::Foreign;
use crate::meter::{Meter, STEP};
use crate::value::Value;

/// What going through a text costs for each character, in tenths.
const TENTH: u64 = 10;
/// What a list costs that is made.
pub(crate) const LIST: u64 = 10;
/// What a map costs that is made.
pub(crate) const MAP: u64 = 30;

/// How the cost of a call follows from its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    One,
    /// Going through all of the receiver: elements, or tenths of characters.
    Walk,
    /// Going through a text so many times: which argument.
    Scan {
        argument: usize,
        times: u64,
    },
    /// Twice through the result.
    Join,
    /// A tenth of the shorter one.
    Compare,
    /// A tenth of both.
    Concatenate,
    /// The elements of the list.
    In,
    /// Text times pattern.
    Regex,
    /// Text times text.
    Contains,
    /// List times list, so often.
    Sets(u64),
    /// A list of the result's size.
    Output,
    Flatten,
    /// Each element of a list with each other: which argument.
    SelfCompare(usize),
    Validate,
    ContainsIp {
        is_text: bool,
    },
    ContainsCidr {
        is_text: bool,
    },
}

/// The rule of a function; `id` is its overload, if there is no other.
pub(crate) fn rule(function: &str, id: Option<&str>) -> Rule {
    match id.unwrap_or_default() {
        "list_slice" | "lists_range" | "list_reverse" => return Rule::Output,
        "list_flatten" | "list_flatten_int" => return Rule::Flatten,
        "list_distinct" => return Rule::SelfCompare(0),
        "list_sets_contains_list" | "list_sets_intersects_list" => return Rule::Sets(1),
        "list_sets_equivalent_list" => return Rule::Sets(2),
        "starts_with_string" | "ends_with_string" => return Rule::Scan { argument: 1, times: 1 },
        "string_to_bytes" | "bytes_to_string" | "strings_quote" | "string_format" => {
            return Rule::Scan { argument: 0, times: 1 };
        }
        "in_list" => return Rule::In,
        "equals"
        | "not_equals"
        | "less_string"
        | "less_equals_string"
        | "greater_string"
        | "greater_equals_string"
        | "less_bytes"
        | "less_equals_bytes"
        | "greater_bytes"
        | "greater_equals_bytes" => return Rule::Compare,
        "add_string" | "add_bytes" => return Rule::Concatenate,
        "matches" | "matches_string" => return Rule::Regex,
        "contains_string" => return Rule::Contains,
        "cidr_ip" => return Rule::One,
        "cidr_contains_ip_string" => return Rule::ContainsIp { is_text: true },
        "cidr_contains_cidr_string" => return Rule::ContainsCidr { is_text: true },
        id if id.ends_with("_sort") => return Rule::SelfCompare(0),
        id if id.ends_with("_sortByAssociatedKeys") => return Rule::SelfCompare(1),
        _ => {}
    }
    match function {
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "includes" => Rule::Walk,
        "url" | "lowerAscii" | "upperAscii" | "substring" | "trim" | "cidr" | "isIP" | "isCIDR" | "ip"
        | "quantity" | "isQuantity" | "semver" | "isSemver" => Rule::Scan { argument: 0, times: 1 },
        "replace" | "split" | "ip.isCanonical" => Rule::Scan { argument: 0, times: 2 },
        "join" => Rule::Join,
        "find" | "findAll" => Rule::Regex,
        "validate" => Rule::Validate,
        "containsIP" => Rule::ContainsIp { is_text: false },
        "containsCIDR" => Rule::ContainsCidr { is_text: false },
        _ => Rule::One,
    }
}

fn tenths(size: u64) -> u64 {
    size.div_ceil(TENTH)
}

/// What a pattern costs: a quarter of its length, for each tenth of a text.
fn regex(text: u64, pattern: u64) -> u64 {
    tenths(text.saturating_add(1)).saturating_mul(pattern.div_ceil(4))
}

/// A list of so many elements that is made.
fn allocated(elements: u64) -> u64 {
    elements.saturating_add(1 + LIST)
}

impl Rule {
    /// The cost of a call that had this result, if it had any.
    pub(crate) fn cost(
        self,
        meter: &mut Meter,
        arguments: &[Value<'_>],
        result: Option<&Value<'_>>,
    ) -> Result<u64, EvalError> {
        let size = |at: usize| arguments.get(at).map_or(1, Value::size);
        Ok(match self {
            Self::One => 1,
            Self::Walk => walk(meter, &arguments[0])?,
            Self::Scan { argument, times } => tenths(size(argument) * times),
            Self::Join => tenths(result.map_or(1, Value::size) * 2),
            Self::Compare if matches!(arguments[0], Value::Foreign(_)) => 1,
            Self::Compare => tenths(shorter(meter, &arguments[0], &arguments[1])?),
            Self::Concatenate => tenths(size(0) + size(1)),
            Self::In => size(1),
            Self::Regex => regex(size(0), size(1)),
            Self::Contains => tenths(size(0)).saturating_mul(tenths(size(1))),
            Self::Sets(times) => size(0).saturating_mul(size(1)).saturating_mul(times).saturating_add(1),
            Self::Output => allocated(result.map_or(1, Value::size)),
            Self::Flatten => {
                let depth = arguments
                    .get(1)
                    .and_then(Value::as_int)
                    .map_or(1, |depth| u64::try_from(depth).unwrap_or(1));
                allocated(size(0).saturating_mul(depth))
            }
            Self::SelfCompare(at) => {
                let square = size(at).saturating_mul(size(at));
                let first = arguments[at].list().ok().and_then(|list| list.get(0));
                let is_text = matches!(first, Some(Ok(Value::String(_) | Value::Bytes(_))));
                allocated(if is_text { square.saturating_mul(21) / TENTH } else { square.saturating_mul(2) })
            }
            Self::Validate => match &arguments[0] {
                Value::Foreign(foreign) if let Foreign::Format(format) = &**foreign => {
                    regex(size(1), format.pattern_size)
                }
                _ => 1,
            },
            Self::ContainsIp { is_text } => tenths(size(0) * 2) + if is_text { tenths(size(1)) } else { 0 },
            Self::ContainsCidr { is_text } => {
                tenths(size(0) * 2) + tenths(size(0)) + 1 + if is_text { tenths(size(1)) } else { 0 }
            }
        })
    }
}

/// The size of the smaller one. Of two texts of very different lengths only that one is counted through.
fn shorter(meter: &mut Meter, a: &Value<'_>, b: &Value<'_>) -> Result<u64, EvalError> {
    /// The most bytes of a character.
    const WIDEST: usize = 4;
    let (Value::String(left), Value::String(right)) = (a, b) else { return Ok(a.size().min(b.size())) };
    let (least, most) = if left.len() < right.len() { (left, right) } else { (right, left) };
    let count = least.chars().count();
    meter.work(least.len() as u64 / 8)?;
    let is_close = most.len() < least.len().saturating_mul(WIDEST);
    Ok(if is_close { count.min(most.chars().count()) } else { count } as u64)
}

/// What going through all of a value costs.
fn walk(meter: &mut Meter, value: &Value<'_>) -> Result<u64, EvalError> {
    meter.work(STEP)?;
    Ok(match value {
        Value::String(text) => text.len() as u64 / TENTH,
        Value::Bytes(bytes) => bytes.len() as u64 / TENTH,
        Value::List(list) => {
            let mut cost = 0;
            for element in list.iter() {
                cost += walk(meter, &element?)?;
            }
            cost
        }
        Value::Map(map) => walk_map(meter, map)?,
        _ => 1,
    })
}

fn walk_map(meter: &mut Meter, map: &Map<'_>) -> Result<u64, EvalError> {
    let mut cost = 0;
    for key in map.keys() {
        cost += walk(meter, &key)?;
        if let Some(value) = map.get(&key)? {
            cost += walk(meter, &value)?;
        }
    }
    Ok(cost)
}
