//! Strings: CEL's own functions and cel-go's string extension, version 2. Positions count characters.

use std::fmt::Write as _;

use crate::error::EvalError;
use crate::functions::{Answer, Declaration, Tools};
use crate::value::{Str, Value};

use super::template;

pub(crate) const DECLARATIONS: &[Declaration] = &[
    Declaration::member("contains", "contains_string", "string, string -> bool", contains),
    Declaration::member("endsWith", "ends_with_string", "string, string -> bool", ends_with),
    Declaration::member("startsWith", "starts_with_string", "string, string -> bool", starts_with),
    Declaration::member("charAt", "string_char_at_int", "string, int -> string", char_at),
    Declaration::member("indexOf", "string_index_of_string", "string, string -> int", index_of),
    Declaration::member("indexOf", "string_index_of_string_int", "string, string, int -> int", index_of),
    Declaration::member("lastIndexOf", "string_last_index_of_string", "string, string -> int", last_index_of),
    Declaration::member(
        "lastIndexOf",
        "string_last_index_of_string_int",
        "string, string, int -> int",
        last_index_of,
    ),
    Declaration::member("lowerAscii", "string_lower_ascii", "string -> string", lower),
    Declaration::member("upperAscii", "string_upper_ascii", "string -> string", upper),
    Declaration::member(
        "replace",
        "string_replace_string_string",
        "string, string, string -> string",
        replace,
    ),
    Declaration::member(
        "replace",
        "string_replace_string_string_int",
        "string, string, string, int -> string",
        replace,
    ),
    Declaration::member("split", "string_split_string", "string, string -> list(string)", split),
    Declaration::member("split", "string_split_string_int", "string, string, int -> list(string)", split),
    Declaration::member("substring", "string_substring_int", "string, int -> string", substring),
    Declaration::member("substring", "string_substring_int_int", "string, int, int -> string", substring),
    Declaration::member("trim", "string_trim", "string -> string", trim),
    Declaration::member("format", "string_format", "string, list(dyn) -> string", template::format),
    Declaration::member("join", "list_join", "list(string) -> string", join),
    Declaration::member("join", "list_join_string", "list(string), string -> string", join),
    Declaration::global("strings.quote", "strings_quote", "string -> string", quote),
];

/// The receiver and how long it takes to go through it.
fn subject<'a>(tools: &mut Tools, arguments: &'a [Value<'_>]) -> Result<&'a str, EvalError> {
    let text = arguments[0].text()?;
    tools.meter.work(text.len() as u64 / 8)?;
    Ok(text)
}

fn made<'v>(tools: &mut Tools, text: String) -> Answer<'v> {
    tools.meter.memory(text.len())?;
    Ok(Value::from(text))
}

/// A piece of the receiver, borrowed if that is.
fn piece<'v>(tools: &mut Tools, whole: &Value<'v>, from: usize, to: usize) -> Answer<'v> {
    match whole {
        Value::String(Str::Borrowed(text)) => {
            Ok(Value::from(text.get(from..to).ok_or(EvalError::NO_OVERLOAD)?))
        }
        _ => {
            let text = whole.text()?.get(from..to).ok_or(EvalError::NO_OVERLOAD)?.to_owned();
            made(tools, text)
        }
    }
}

fn out_of_range(at: i64) -> EvalError {
    EvalError::new(format!("index out of range: {at}"))
}

/// The byte where a character starts; the end for the one after the last.
fn byte_at(text: &str, at: i64) -> Option<usize> {
    let at = usize::try_from(at).ok()?;
    text.char_indices().map(|(byte, _)| byte).chain([text.len()]).nth(at)
}

fn contains<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    Ok(Value::Bool(subject(tools, arguments)?.contains(arguments[1].text()?)))
}

fn ends_with<'v>(_: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    Ok(Value::Bool(arguments[0].text()?.ends_with(arguments[1].text()?)))
}

fn starts_with<'v>(_: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    Ok(Value::Bool(arguments[0].text()?.starts_with(arguments[1].text()?)))
}

fn char_at<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let (text, at) = (subject(tools, arguments)?, arguments[1].int()?);
    let from = byte_at(text, at).ok_or_else(|| out_of_range(at))?;
    let to = from + text[from..].chars().next().map_or(0, char::len_utf8);
    piece(tools, &arguments[0], from, to)
}

fn index_of<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let (text, wanted) = (subject(tools, arguments)?, arguments[1].text()?);
    let offset = arguments.get(2).map_or(Ok(0), Value::int)?;
    if offset < 0 {
        return Err(out_of_range(offset));
    }
    let length = text.chars().count() as i64;
    if wanted.is_empty() {
        return Ok(Value::Int(offset.min(length)));
    }
    let Some(from) = byte_at(text, offset) else { return Ok(Value::Int(-1)) };
    let found = text[from..].find(wanted).map(|byte| text[..from + byte].chars().count() as i64);
    Ok(Value::Int(found.unwrap_or(-1)))
}

fn last_index_of<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let (text, wanted) = (subject(tools, arguments)?, arguments[1].text()?);
    let length = text.chars().count() as i64;
    let offset = arguments.get(2).map(Value::int).transpose()?;
    if let Some(offset) = offset.filter(|offset| *offset < 0) {
        return Err(out_of_range(offset));
    }
    if wanted.is_empty() {
        return Ok(Value::Int(offset.unwrap_or(length).min(length)));
    }
    if offset.is_some_and(|offset| offset >= length) {
        return Ok(Value::Int(-1));
    }
    // A match starts at `offset` or before, so it ends that much further on at the latest.
    let end = match offset {
        Some(offset) => byte_at(text, offset + wanted.chars().count() as i64).unwrap_or(text.len()),
        None => text.len(),
    };
    let found = text[..end].rfind(wanted).map(|byte| text[..byte].chars().count() as i64);
    Ok(Value::Int(found.unwrap_or(-1)))
}

fn lower<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let text = subject(tools, arguments)?.to_ascii_lowercase();
    made(tools, text)
}

fn upper<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let text = subject(tools, arguments)?.to_ascii_uppercase();
    made(tools, text)
}

fn replace<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let text = subject(tools, arguments)?;
    let (from, to) = (arguments[1].text()?, arguments[2].text()?);
    let most = match arguments.get(3).map(Value::int).transpose()? {
        Some(count) => usize::try_from(count).unwrap_or(usize::MAX),
        None => usize::MAX,
    };
    let times = if from.is_empty() { text.chars().count() + 1 } else { text.len() / from.len() }.min(most);
    tools.meter.memory(text.len().saturating_add(times.saturating_mul(to.len())))?;
    Ok(Value::from(text.replacen(from, to, most)))
}

fn split<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let (text, separator) = (subject(tools, arguments)?, arguments[1].text()?);
    let most = match arguments.get(2).map(Value::int).transpose()? {
        Some(count) => usize::try_from(count).unwrap_or(usize::MAX),
        None => usize::MAX,
    };
    tools.meter.elements(
        if separator.is_empty() { text.len() } else { text.matches(separator).count() + 1 }.min(most),
    )?;
    let mut pieces = Vec::new();
    let mut at = 0;
    while most > 0 && pieces.len() + 1 < most {
        let rest = &text[at..];
        let (length, step) = if separator.is_empty() {
            let Some(first) = rest.chars().next().filter(|first| first.len_utf8() < rest.len()) else {
                break;
            };
            (first.len_utf8(), first.len_utf8())
        } else {
            let Some(found) = rest.find(separator) else { break };
            (found, found + separator.len())
        };
        pieces.push(piece(tools, &arguments[0], at, at + length)?);
        at += step;
    }
    if most > 0 && !(separator.is_empty() && text.is_empty()) {
        pieces.push(piece(tools, &arguments[0], at, text.len())?);
    }
    Ok(Value::from(pieces))
}

fn substring<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let (text, start) = (subject(tools, arguments)?, arguments[1].int()?);
    let Some(end) = arguments.get(2) else {
        let from = byte_at(text, start).ok_or_else(|| out_of_range(start))?;
        return piece(tools, &arguments[0], from, text.len());
    };
    let end = end.int()?;
    if start > end {
        return Err(EvalError::new(format!("invalid substring range. start: {start}, end: {end}")));
    }
    let from = byte_at(text, start).ok_or_else(|| out_of_range(start))?;
    let to = byte_at(text, end).ok_or_else(|| out_of_range(end))?;
    piece(tools, &arguments[0], from, to)
}

fn trim<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let text = subject(tools, arguments)?;
    let from = text.len() - text.trim_start().len();
    let to = from + text.trim().len();
    piece(tools, &arguments[0], from, to)
}

fn join<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let separator = arguments.get(1).map_or(Ok(""), Value::text)?;
    let mut joined = String::new();
    for (at, element) in arguments[0].list()?.iter().enumerate() {
        let element = element?;
        let text = element.text()?;
        tools.meter.memory(text.len() + separator.len())?;
        if at > 0 {
            joined.push_str(separator);
        }
        joined.push_str(text);
    }
    Ok(Value::from(joined))
}

fn quote<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let text = subject(tools, arguments)?;
    let mut quoted = String::from('"');
    for c in text.chars() {
        let written = match c {
            '\u{7}' => quoted.write_str("\\a"),
            '\u{8}' => quoted.write_str("\\b"),
            '\u{c}' => quoted.write_str("\\f"),
            '\n' => quoted.write_str("\\n"),
            '\r' => quoted.write_str("\\r"),
            '\t' => quoted.write_str("\\t"),
            '\u{b}' => quoted.write_str("\\v"),
            '\\' => quoted.write_str("\\\\"),
            '"' => quoted.write_str("\\\""),
            other => quoted.write_char(other),
        };
        written.map_err(|_| EvalError::NO_OVERLOAD)?;
    }
    quoted.push('"');
    made(tools, quoted)
}
