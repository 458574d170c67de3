//! What a number must satisfy.

use std::cmp::Ordering;

use berth_json::Value;

use crate::faults::{Outcome, What, go_number};
use crate::formats::FormatKind;
use crate::path::Path;
use crate::structural::{Checks, JsonType, Limit, Number, Structural, is_whole};

/// Judges a number by the type's range and by its bounds.
pub(super) fn judge(schema: &Structural, value: &Value, number: Number, path: &Path<'_>, out: &mut Outcome) {
    let checks = schema.checks.as_deref();
    if let Some(sentence) = out_of_range(schema, checks, number, path) {
        out.add(path, What::General(sentence));
    }
    let Some(checks) = checks else { return };
    let mut refuse = |sentence: String| out.add(path, What::Invalid { value: value.clone(), sentence });
    if let Some(factor) = checks.multiple_of.filter(|factor| !number.is_multiple_of(*factor)) {
        refuse(format!("should be a multiple of {}", shown(factor, number)));
    }
    if let Some(limit) = &checks.minimum
        && is_beyond(number, limit, Ordering::Less)
    {
        refuse(format!("should be {} {}", bound("greater than", limit), shown(limit.bound, number)));
    }
    if let Some(limit) = &checks.maximum
        && is_beyond(number, limit, Ordering::Greater)
    {
        refuse(format!("should be {} {}", bound("less than", limit), shown(limit.bound, number)));
    }
}

fn is_beyond(number: Number, limit: &Limit, beyond: Ordering) -> bool {
    match number.compare(limit.bound) {
        Some(Ordering::Equal) => limit.is_exclusive,
        order => order == Some(beyond),
    }
}

fn bound(comparison: &str, limit: &Limit) -> String {
    format!("{comparison}{}", if limit.is_exclusive { "" } else { " or equal to" })
}

/// A bound beside a number: the API server keeps bounds as floats, and shows them as what the number is.
fn shown(bound: Number, number: Number) -> String {
    match number {
        Number::Int(_) => go_number(bound),
        Number::Float(_) => go_number(Number::Float(bound.as_f64())),
    }
}

/// The sentence about a number that its type or format cannot hold.
fn out_of_range(
    schema: &Structural,
    checks: Option<&Checks>,
    number: Number,
    path: &Path<'_>,
) -> Option<String> {
    if schema.int_or_string {
        return None;
    }
    let format = checks.and_then(|checks| checks.format.as_ref());
    let fits = match (schema.json_type?, format.map(|format| format.kind)) {
        (JsonType::Integer, Some(FormatKind::Int32)) => match number {
            Number::Int(int) => i32::try_from(int).is_ok(),
            Number::Float(float) => is_whole(float) && float.abs() <= f64::from(i32::MAX),
        },
        (JsonType::Integer, _) => match number {
            Number::Int(_) => true,
            Number::Float(float) => is_whole(float),
        },
        (JsonType::Number, Some(FormatKind::Float)) => number.as_f64().abs() <= f64::from(f32::MAX),
        _ => true,
    };
    if fits {
        return None;
    }
    let json_type = schema.json_type.map_or("", JsonType::as_str);
    let format =
        format.map_or_else(|| "(default format)".to_owned(), |format| format!("with format {}", format.name));
    Some(format!("Checked value must be of type {json_type} {format} in {}", path.dotted()))
}
