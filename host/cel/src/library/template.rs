//! `'%s is %d'.format([x, y])`

use crate::collection::{List, Map};
use crate::error::EvalError;
use crate::functions::{Answer, Tools};
use crate::meter::STEP;
use crate::types::Type;
use crate::value::{Value, runtime_name};

use super::convert;

/// The digits after the point when none are asked for.
const PRECISION: usize = 6;
/// The most digits after the point: a number has no more that mean anything.
const PRECISION_MAX: usize = 1_000;

/// A piece of a template.
pub(crate) enum Piece<'t> {
    Text(&'t str),
    /// Where a value is written.
    Place {
        verb: char,
        precision: usize,
    },
}

/// The pieces of a template, up to the first that is none.
pub(crate) fn pieces(template: &str) -> impl Iterator<Item = Result<Piece<'_>, EvalError>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = piece(rest);
        rest = if piece.is_ok() { after } else { "" };
        Some(piece)
    })
}

fn piece(rest: &str) -> (Result<Piece<'_>, EvalError>, &str) {
    let Some(clause) = rest.strip_prefix('%') else {
        let (text, after) = rest.split_at(rest.find('%').unwrap_or(rest.len()));
        return (Ok(Piece::Text(text)), after);
    };
    if let Some(after) = clause.strip_prefix('%') {
        return (Ok(Piece::Text("%")), after);
    }
    if clause.is_empty() {
        return (Err(EvalError::new("unexpected end of string")), "");
    }
    let wrong = |problem: &str| EvalError::new(format!("could not parse formatting clause: {problem}"));
    let (digits, after) = match clause.strip_prefix('.') {
        Some(precise) => {
            let after = precise.trim_start_matches(|c: char| c.is_ascii_digit());
            (Some(&precise[..precise.len() - after.len()]), after)
        }
        None => (None, clause),
    };
    let Some(verb) = after.chars().next() else {
        return (Err(wrong("error while parsing precision: could not find end of precision specifier")), "");
    };
    let number = digits.map_or(Some(PRECISION), |digits| digits.parse().ok());
    let Some(precision) = number.filter(|number| *number <= PRECISION_MAX) else {
        return (
            Err(wrong("error while parsing precision: error while converting precision to integer")),
            "",
        );
    };
    if !"sdfebxXo".contains(verb) {
        return (Err(wrong(&format!("unrecognized formatting clause \"{verb}\""))), "");
    }
    (Ok(Piece::Place { verb, precision }), &after[verb.len_utf8()..])
}

pub(crate) fn format<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let values = arguments[1].list()?;
    let mut text = String::new();
    let mut used = 0;
    for piece in pieces(arguments[0].text()?) {
        let written = match piece? {
            Piece::Text(text) => text.to_owned(),
            Piece::Place { verb, precision } => {
                let value = values
                    .get(used)
                    .ok_or_else(|| EvalError::new(format!("index {used} out of range")))??;
                used += 1;
                write(tools, &value, verb, precision)?
            }
        };
        tools.meter.memory(written.len())?;
        text.push_str(&written);
    }
    Ok(Value::from(text))
}

/// Why a value of that type cannot be written so.
pub(crate) fn refusal(verb: char, value: &Type) -> Option<EvalError> {
    let (is_right, rule) = match verb {
        _ if value.is_dyn_or_error() => return None,
        'd' => (matches!(value, Type::Int | Type::Uint), "decimal clause can only be used on integers"),
        'f' => (matches!(value, Type::Double), "fixed-point clause can only be used on doubles"),
        'e' => (matches!(value, Type::Double), "scientific clause can only be used on doubles"),
        'b' => (
            matches!(value, Type::Int | Type::Uint | Type::Bool),
            "only integers and bools can be formatted as binary",
        ),
        'x' | 'X' => (
            matches!(value, Type::Int | Type::Uint | Type::String(_) | Type::Bytes(_)),
            "only integers, byte buffers, and strings can be formatted as hex",
        ),
        'o' => (matches!(value, Type::Int | Type::Uint), "octal clause can only be used on integers"),
        _ => (
            !matches!(value, Type::Optional(_) | Type::Opaque(_)),
            "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps",
        ),
    };
    let got = runtime_name(value);
    (!is_right).then(|| EvalError::new(format!("error during formatting: {rule}, was given {got}")))
}

fn write(tools: &mut Tools, value: &Value<'_>, verb: char, precision: usize) -> Result<String, EvalError> {
    let number = double(value).filter(|_| matches!(verb, 'f' | 'e'));
    if let Some(refused) = refusal(verb, &value.type_of()).filter(|_| number.is_none()) {
        return Err(refused);
    }
    let text = match (verb, value) {
        ('s', _) => return show(tools, value),
        ('f', _) => grouped(number.unwrap_or(f64::NAN), precision),
        ('e', _) => scientific(number.unwrap_or(f64::NAN), precision),
        ('b', Value::Bool(truth)) => u8::from(*truth).to_string(),
        ('b', Value::Int(number)) => signed(*number, |number| format!("{number:b}")),
        ('b', Value::Uint(number)) => format!("{number:b}"),
        ('o', Value::Int(number)) => signed(*number, |number| format!("{number:o}")),
        ('o', Value::Uint(number)) => format!("{number:o}"),
        (_, Value::Int(number)) if verb != 'd' => signed(*number, |number| format!("{number:x}")),
        (_, Value::Uint(number)) if verb != 'd' => format!("{number:x}"),
        (_, Value::Int(number)) => number.to_string(),
        (_, Value::Uint(number)) => number.to_string(),
        (_, Value::String(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        (_, Value::Bytes(bytes)) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        _ => return Err(EvalError::NO_OVERLOAD),
    };
    Ok(if verb == 'X' { text.to_uppercase() } else { text })
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
    let (whole, fraction) =
        plain.split_once('.').map_or((&*plain, None), |(whole, rest)| (whole, Some(rest)));
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

/// As English writes it: `1.234500×10⁰³`. What is asked for as precision is the width, as in kube-apiserver.
fn scientific(number: f64, width: usize) -> String {
    const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    if let Some(text) = infinite(number) {
        return text;
    }
    let plain = format!("{number:.PRECISION$e}");
    let (digits, power) = plain.split_once('e').unwrap_or((&plain, "0"));
    let sign = if power.starts_with('-') { "⁻" } else { "" };
    let digit = |c: char| c.to_digit(10).map(|digit| RAISED[digit as usize]);
    let padded = format!("{:0>2}", power.trim_start_matches('-'));
    let text = format!("{digits}×10{sign}{}", padded.chars().filter_map(digit).collect::<String>());
    format!("{text:>width$}")
}

/// What `%s` makes of a value.
fn show(tools: &mut Tools, value: &Value<'_>) -> Result<String, EvalError> {
    if let Some(refused) = refusal('s', &value.type_of()) {
        return Err(refused);
    }
    Ok(match value {
        Value::List(list) => show_list(tools, list)?,
        Value::Map(map) => show_map(tools, map)?,
        Value::Null => "null".into(),
        other => convert::show(tools, other)?.text()?.to_owned(),
    })
}

/// A value as it stands in a list or a map.
fn inner(tools: &mut Tools, value: &Value<'_>) -> Result<String, EvalError> {
    tools.meter.work(STEP)?;
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
