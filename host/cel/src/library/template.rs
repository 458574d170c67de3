//! `'%s is %d'.format([x, y])`

use crate::collection::{List, Map};
use crate::error::EvalError;
use crate::functions::{Answer, Tools};
use crate::value::Value;

use super::convert;

/// The digits after the point when none are asked for.
const PRECISION: usize = 6;
/// The most digits after the point: a number has no more that mean anything.
const PRECISION_MAX: usize = 1_000;

pub(crate) fn format<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let template = arguments[0].text()?;
    let values = arguments[1].list()?;
    tools.meter.memory(template.len())?;
    let mut text = String::new();
    let mut used = 0;
    let mut rest = template;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            text.push('%');
            rest = after;
            continue;
        }
        let value = values.get(used).ok_or_else(|| EvalError::new(format!("index {used} out of range")))??;
        if rest.is_empty() {
            return Err(EvalError::new("unexpected end of string"));
        }
        let (precision, after) = precision(rest)?;
        let verb = after.chars().next().ok_or_else(|| clause("could not find end of precision specifier"))?;
        rest = &after[verb.len_utf8()..];
        let written = write(tools, &value, verb, precision)?;
        tools.meter.memory(written.len())?;
        text.push_str(&written);
        used += 1;
    }
    text.push_str(rest);
    Ok(Value::from(text))
}

fn clause(problem: &str) -> EvalError {
    EvalError::new(format!("could not parse formatting clause: error while parsing precision: {problem}"))
}

fn precision(text: &str) -> Result<(usize, &str), EvalError> {
    let Some(rest) = text.strip_prefix('.') else { return Ok((PRECISION, text)) };
    let length = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number = rest[..length].parse().ok().filter(|number| *number <= PRECISION_MAX);
    let number = number.ok_or_else(|| clause("error while converting precision to integer"))?;
    Ok((number, &rest[length..]))
}

fn write(tools: &mut Tools, value: &Value<'_>, verb: char, precision: usize) -> Result<String, EvalError> {
    let only = |what: &str| {
        let got = value.type_name();
        EvalError::new(format!("error during formatting: {what}, was given {got}"))
    };
    Ok(match verb {
        's' => return show(tools, value),
        'd' => match value {
            Value::Int(number) => number.to_string(),
            Value::Uint(number) => number.to_string(),
            _ => return Err(only("decimal clause can only be used on integers")),
        },
        'f' => match double(value) {
            Some(number) => grouped(number, precision),
            None => return Err(only("fixed-point clause can only be used on doubles")),
        },
        'e' => match double(value) {
            Some(number) => scientific(number, precision),
            None => return Err(only("scientific clause can only be used on doubles")),
        },
        'b' => match value {
            Value::Int(number) => signed(*number, |number| format!("{number:b}")),
            Value::Uint(number) => format!("{number:b}"),
            Value::Bool(truth) => u8::from(*truth).to_string(),
            _ => return Err(only("only integers and bools can be formatted as binary")),
        },
        'x' | 'X' => {
            let lower = match value {
                Value::Int(number) => signed(*number, |number| format!("{number:x}")),
                Value::Uint(number) => format!("{number:x}"),
                Value::String(text) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
                Value::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
                _ => return Err(only("only integers, byte buffers, and strings can be formatted as hex")),
            };
            if verb == 'X' { lower.to_uppercase() } else { lower }
        }
        'o' => match value {
            Value::Int(number) => signed(*number, |number| format!("{number:o}")),
            Value::Uint(number) => format!("{number:o}"),
            _ => return Err(only("octal clause can only be used on integers")),
        },
        other => {
            let message = format!("could not parse formatting clause: unrecognized formatting clause \"{other}\"");
            return Err(EvalError::new(message));
        }
    })
}

fn double(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(number) => Some(*number),
        Value::String(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn signed(number: i64, show: impl Fn(u64) -> String) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}", show(number.unsigned_abs()))
}

fn infinite(number: f64) -> Option<String> {
    match number {
        _ if number.is_nan() => Some("NaN".into()),
        _ if number.is_infinite() => Some(if number > 0.0 { "∞".into() } else { "-∞".into() }),
        _ => None,
    }
}

/// As English writes it: `1,234.500000`.
fn grouped(number: f64, precision: usize) -> String {
    if let Some(text) = infinite(number) {
        return text;
    }
    let plain = format!("{:.precision$}", number.abs());
    let (whole, fraction) = plain.split_once('.').map_or((&*plain, None), |(whole, rest)| (whole, Some(rest)));
    let mut text = String::from(if number.is_sign_negative() { "-" } else { "" });
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if let Some(fraction) = fraction {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

/// As English writes it: `1.234500×10⁰³`.
fn scientific(number: f64, precision: usize) -> String {
    const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    if let Some(text) = infinite(number) {
        return text;
    }
    let plain = format!("{number:.precision$e}");
    let (digits, power) = plain.split_once('e').unwrap_or((&plain, "0"));
    let sign = if power.starts_with('-') { "⁻" } else { "" };
    let digit = |c: char| c.to_digit(10).map(|digit| RAISED[digit as usize]);
    let padded = format!("{:0>2}", power.trim_start_matches('-'));
    format!("{digits}×10{sign}{}", padded.chars().filter_map(digit).collect::<String>())
}

/// What `%s` makes of a value.
fn show(tools: &mut Tools, value: &Value<'_>) -> Result<String, EvalError> {
    Ok(match value {
        Value::List(list) => show_list(tools, list)?,
        Value::Map(map) => show_map(tools, map)?,
        Value::Null => "null".into(),
        Value::Optional(_) | Value::Foreign(_) => {
            let got = value.type_name();
            return Err(EvalError::new(format!(
                "error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given {got}"
            )));
        }
        other => convert::show(tools, other)?.text()?.to_owned(),
    })
}

/// A value as it stands in a list or a map.
fn inner(tools: &mut Tools, value: &Value<'_>) -> Result<String, EvalError> {
    tools.meter.work(1)?;
    let plain = show(tools, value)?;
    tools.meter.memory(plain.len())?;
    Ok(match value {
        Value::String(_) => format!("{plain:?}"),
        Value::Bytes(_) => format!("b{plain:?}"),
        Value::Timestamp(_) => format!("timestamp({plain:?})"),
        Value::Duration(_) => format!("duration({plain:?})"),
        Value::Double(number) if number.is_finite() => format!("{number:.PRECISION$}"),
        Value::Double(_) => format!("{plain:?}"),
        _ => plain,
    })
}

fn show_list(tools: &mut Tools, list: &List<'_>) -> Result<String, EvalError> {
    let elements = list.iter().map(|element| inner(tools, &element?)).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("[{}]", elements.join(", ")))
}

fn show_map(tools: &mut Tools, map: &Map<'_>) -> Result<String, EvalError> {
    let mut entries = Vec::new();
    for key in map.keys() {
        if let Some(value) = map.get(&key)? {
            entries.push(format!("{}:{}", inner(tools, &key)?, inner(tools, &value)?));
        }
    }
    entries.sort_unstable();
    Ok(format!("{{{}}}", entries.join(", ")))
}
