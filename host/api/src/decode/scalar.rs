//! Values with a form of their own: quantities, times, bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use berth_json::{Map, Text, Value};

use crate::quantity::Quantity;
use crate::schema::ValueKind;
use crate::time::Timestamp;

/// Why a text is no such value, in Go's words.
pub(super) struct ScalarError(pub(super) String);

const TIME_LAYOUT: &str = "2006-01-02T15:04:05Z07:00";
const MICRO_TIME_LAYOUT: &str = "2006-01-02T15:04:05.000000Z07:00";

/// The canonical form of a quantity.
pub(super) fn quantity(text: &str) -> Result<Text, ScalarError> {
    let quantity = Quantity::parse(text.trim()).map_err(|error| ScalarError(error.to_string()))?;
    Ok(quantity.to_string().into())
}

/// Maps of quantities are resource lists, which the API counts in thousandths: a canonical `amount` finer than that is
/// rounded up, away from zero.
pub(super) fn round_to_milli(amount: &mut Text) {
    let is_finer = amount.ends_with(['n', 'u']) || amount.contains("e-");
    if let (true, Ok(quantity)) = (is_finer, Quantity::parse(amount)) {
        *amount = quantity.rounded_to_milli().to_string().into();
    }
}

/// A time with whole seconds in UTC.
pub(super) fn time(text: &str) -> Result<Text, ScalarError> {
    let parsed = Timestamp::parse(text);
    parsed.map(|time| time.rfc3339().into()).ok_or_else(|| bad_time(text, TIME_LAYOUT, false))
}

/// A time with exactly six decimals in UTC.
pub(super) fn micro_time(text: &str) -> Result<Text, ScalarError> {
    let decimals = text.get(19..).map_or("", |rest| rest.trim_end_matches(['Z', 'z']));
    let decimals = decimals.split(['+', '-']).next().unwrap_or_default();
    let parsed = (decimals.len() == 7).then(|| Timestamp::parse(text)).flatten();
    parsed.map(|time| time.rfc3339_micro().into()).ok_or_else(|| bad_time(text, MICRO_TIME_LAYOUT, true))
}

/// Standard base64; line breaks are skipped, as Go does.
pub(super) fn base64(text: &str) -> Result<Text, ScalarError> {
    let is_break = |c| matches!(c, '\n' | '\r');
    let text: Text = if text.contains(is_break) { text.split(is_break).collect() } else { text.into() };
    match STANDARD.decode(&text) {
        Ok(_) => Ok(text),
        Err(base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _)) => {
            Err(ScalarError(format!("illegal base64 data at input byte {at}")))
        }
        Err(_) => Err(ScalarError(format!("illegal base64 data at input byte {}", text.len() / 4 * 4))),
    }
}

/// A Go duration. No kind that is served computes with one, so its text is kept.
pub(super) fn duration(text: &str) -> Result<Text, ScalarError> {
    match duration_nanos(text) {
        Some(_) => Ok(text.into()),
        None => Err(ScalarError(format!("time: invalid duration {}", Value::from(text)))),
    }
}

/// The nanoseconds of a Go duration: `300ms`, `-1.5h`, `2h45m`.
pub(crate) fn duration_nanos(text: &str) -> Option<i64> {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let (number, tail) =
            rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len()));
        let unit = tail.split(|c: char| c.is_ascii_digit() || c == '.').next().unwrap_or_default();
        let (_, factor) = UNITS.into_iter().find(|(word, _)| *word == unit)?;
        nanos += number.parse::<f64>().ok()? * factor;
        rest = &tail[unit.len()..];
    }
    (!text.is_empty() && nanos.is_finite() && nanos < i64::MAX as f64 && text.len() > 1)
        .then_some((sign * nanos) as i64)
}

/// Go's zero value: what a null in a list or map stands for.
pub(crate) fn zero(kind: ValueKind) -> Value {
    match kind {
        ValueKind::String => "".into(),
        ValueKind::Int32 | ValueKind::Int64 | ValueKind::IntOrString => 0.into(),
        ValueKind::Float64 => 0.0.into(),
        ValueKind::Bool => false.into(),
        ValueKind::Quantity => "0".into(),
        ValueKind::Struct(_) => Map::new().into(),
        ValueKind::Duration => "0s".into(),
        ValueKind::Bytes
        | ValueKind::Strings
        | ValueKind::Time
        | ValueKind::MicroTime
        | ValueKind::AnyObject
        | ValueKind::Any
        | ValueKind::Deduced => Value::Null,
    }
}

/// How Go's errors name what stands in the JSON.
pub(crate) fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// What Go's `time.Parse` says: the part of the layout at which the text stops to fit.
fn bad_time(text: &str, layout: &str, micro: bool) -> ScalarError {
    let quoted = |text: &str| Value::from(text).to_string();
    let (rest, element) = match fitting(text, micro) {
        Ok(what) => return ScalarError(format!("parsing time {}: {what} out of range", quoted(text))),
        Err(stopped) => stopped,
    };
    let why = format!("cannot parse {} as \"{element}\"", quoted(rest));
    ScalarError(format!("parsing time {} as \"{layout}\": {why}", quoted(text)))
}

/// The name of the part that is out of range, or the rest that does not fit and the element it should have been.
fn fitting(text: &str, micro: bool) -> Result<&'static str, (&str, &'static str)> {
    const PARTS: [(&str, usize); 11] = [
        ("2006", 4),
        ("-", 0),
        ("01", 2),
        ("-", 0),
        ("02", 2),
        ("T", 0),
        ("15", 2),
        (":", 0),
        ("04", 2),
        (":", 0),
        ("05", 2),
    ];
    let mut rest = text;
    for (element, digits) in PARTS {
        let fits = match digits {
            0 => rest.starts_with(element),
            _ => rest.len() >= digits && rest.bytes().take(digits).all(|b| b.is_ascii_digit()),
        };
        if !fits {
            return Err((rest, element));
        }
        rest = &rest[digits.max(1)..];
    }
    if micro
        && !(rest.starts_with('.') && rest.bytes().skip(1).take(6).filter(u8::is_ascii_digit).count() == 6)
    {
        return Err((rest, ".000000"));
    }
    let zone = rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    if Timestamp::parse(&format!("2006-01-02T15:04:05{zone}")).is_none() {
        return Err((zone, "Z07:00"));
    }
    let number =
        |range: std::ops::Range<usize>| text.get(range).and_then(|digits| digits.parse::<u32>().ok());
    Ok(match (number(5..7), number(11..13), number(14..16), number(17..19)) {
        (Some(month), ..) if !(1..=12).contains(&month) => "month",
        (_, Some(hour), ..) if hour > 23 => "hour",
        (_, _, Some(minute), _) if minute > 59 => "minute",
        (_, _, _, Some(second)) if second > 59 => "second",
        _ => "day",
    })
}
