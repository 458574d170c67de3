//! Amounts of resources: `quantity('1.5Gi')`.

use std::cmp::Ordering;

use crate::error::EvalError;
use crate::foreign::{Foreign, Quantity};
use crate::functions::{Answer, Declaration, Tools};
use crate::value::Value;

pub(crate) const DECLARATIONS: &[Declaration] = &[
    Declaration::global("quantity", "string_to_quantity", "string -> quantity", |_, arguments| {
        Ok(Foreign::Quantity(parse(arguments[0].text()?).map_err(EvalError::new)?).into())
    }),
    Declaration::global("isQuantity", "is_quantity_string", "string -> bool", |_, arguments| {
        Ok(Value::Bool(parse(arguments[0].text()?).is_ok()))
    }),
    Declaration::global("sign", "quantity_sign", "quantity -> int", |_, arguments| {
        Ok(Value::Int(amount(&arguments[0])?.billionths.signum() as i64))
    }),
    Declaration::member(
        "isGreaterThan",
        "quantity_is_greater_than",
        "quantity, quantity -> bool",
        |_, arguments| Ok(Value::Bool(order(arguments)? == Ordering::Greater)),
    ),
    Declaration::member(
        "isLessThan",
        "quantity_is_less_than",
        "quantity, quantity -> bool",
        |_, arguments| Ok(Value::Bool(order(arguments)? == Ordering::Less)),
    ),
    Declaration::member("compareTo", "quantity_compare_to", "quantity, quantity -> int", |_, arguments| {
        Ok(Value::Int(order(arguments)? as i64))
    }),
    Declaration::member("asApproximateFloat", "quantity_get_float", "quantity -> double", |_, arguments| {
        Ok(Value::Double(amount(&arguments[0])?.billionths as f64 / BILLION as f64))
    }),
    Declaration::member("asInteger", "quantity_get_int", "quantity -> int", |_, arguments| {
        let whole = whole(amount(&arguments[0])?);
        whole.map(Value::Int).ok_or_else(|| EvalError::new("cannot convert value to integer"))
    }),
    Declaration::member("isInteger", "quantity_is_integer", "quantity -> bool", |_, arguments| {
        Ok(Value::Bool(whole(amount(&arguments[0])?).is_some()))
    }),
    Declaration::member("add", "quantity_add", "quantity, quantity -> quantity", add),
    Declaration::member("add", "quantity_add_int", "quantity, int -> quantity", add),
    Declaration::member("sub", "quantity_sub", "quantity, quantity -> quantity", subtract),
    Declaration::member("sub", "quantity_sub_int", "quantity, int -> quantity", subtract),
];

const BILLION: i128 = 1_000_000_000;
/// The digits that an amount of billionths can have; what has more is as much as there can be.
const DIGITS_MAX: usize = 38;
const MALFORMED: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const SUFFIX: &str = "unable to parse quantity's suffix";

fn amount(value: &Value<'_>) -> Result<Quantity, EvalError> {
    match value {
        Value::Int(number) => Ok(Quantity { billionths: i128::from(*number) * BILLION, is_integer: true }),
        _ => match value.foreign()? {
            Foreign::Quantity(quantity) => Ok(*quantity),
            _ => Err(EvalError::NO_OVERLOAD),
        },
    }
}

fn order(arguments: &[Value<'_>]) -> Result<Ordering, EvalError> {
    Ok(amount(&arguments[0])?.billionths.cmp(&amount(&arguments[1])?.billionths))
}

fn whole(quantity: Quantity) -> Option<i64> {
    i64::try_from(quantity.billionths / BILLION).ok().filter(|_| quantity.is_integer)
}

fn add<'v>(_: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let (a, b) = (amount(&arguments[0])?, amount(&arguments[1])?);
    let billionths = a.billionths.saturating_add(b.billionths);
    Ok(Foreign::Quantity(Quantity { billionths, is_integer: a.is_integer && b.is_integer }).into())
}

fn subtract<'v>(_: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let (a, b) = (amount(&arguments[0])?, amount(&arguments[1])?);
    let billionths = a.billionths.saturating_sub(b.billionths);
    Ok(Foreign::Quantity(Quantity { billionths, is_integer: a.is_integer && b.is_integer }).into())
}

/// An amount; what is smaller than a billionth is rounded away from zero.
fn parse(text: &str) -> Result<Quantity, &'static str> {
    let (is_negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let length = unsigned.len() - unsigned.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let (number, suffix) = unsigned.split_at(length);
    let (before, after) = number.split_once('.').unwrap_or((number, ""));
    if (before.is_empty() && after.is_empty()) || after.contains('.') || !is_suffix(suffix) {
        return Err(MALFORMED);
    }
    let (factor, exponent) = multiplier(suffix).ok_or(SUFFIX)?;
    let magnitude = scaled(before, after.trim_end_matches('0'), factor, exponent);
    let billionths = if is_negative { -magnitude } else { magnitude };
    let is_integer = is_held(before.trim_start_matches('0').len(), after.len(), factor, exponent);
    Ok(Quantity { billionths, is_integer: is_integer && i64::try_from(billionths / BILLION).is_ok() })
}

/// `[eEinumkKMGTP]*[-+]?[0-9]*`
fn is_suffix(text: &str) -> bool {
    let rest = text.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    rest.strip_prefix(['-', '+']).unwrap_or(rest).bytes().all(|c| c.is_ascii_digit())
}

/// Whether Kubernetes holds an amount with so many digits before and after the point as an integer.
fn is_held(before: usize, after: usize, factor: i128, exponent: i64) -> bool {
    /// The most decimal digits that surely fit, and how many of those a power of two leaves.
    const DIGITS: i64 = 18;
    const BINARY_DIGITS: i64 = 15;
    let (before, after) = (before as i64, after as i64);
    if factor == 1 {
        return DIGITS - before - after >= 0 && exponent - after >= 0;
    }
    let used = i64::from(factor.ilog2()) * 3 / 10 + 1;
    after == 0 && BINARY_DIGITS - before - used >= 0
}

/// What a suffix multiplies by: a power of two, and a power of ten.
fn multiplier(suffix: &str) -> Option<(i128, i64)> {
    Some(match suffix {
        "" => (1, 0),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            (1, i64::from(exponent))
        }
    })
}

/// `before.after * factor * 10^exponent` in billionths, rounded up.
fn scaled(before: &str, after: &str, factor: i128, exponent: i64) -> i128 {
    let digits = [before, after].concat();
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return 0;
    }
    let Some(number) = (digits.len() <= DIGITS_MAX).then(|| digits.parse::<i128>().ok()).flatten() else {
        return i128::MAX;
    };
    let power = exponent + 9 - after.len() as i64;
    let Some(product) = number.checked_mul(factor) else { return i128::MAX };
    let ten = |power: u64| u32::try_from(power).ok().and_then(|power| 10_i128.checked_pow(power));
    if power >= 0 {
        return ten(power.unsigned_abs()).and_then(|ten| product.checked_mul(ten)).unwrap_or(i128::MAX);
    }
    match ten(power.unsigned_abs()) {
        Some(ten) => product / ten + i128::from(product % ten != 0),
        None => 1,
    }
}
