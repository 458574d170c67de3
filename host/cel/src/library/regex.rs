//! `matches`, `find`, `findAll`

use crate::functions::{Answer, Declaration, Tools};
use crate::regexes::Pattern;
use crate::value::{Str, Value};

pub(crate) const DECLARATIONS: &[Declaration] = &[
    Declaration::global("matches", "matches", "string, string -> bool", matches),
    Declaration::member("matches", "matches_string", "string, string -> bool", matches),
    Declaration::member("find", "string_find_string", "string, string -> string", find),
    Declaration::member("findAll", "string_find_all_string", "string, string -> list(string)", find_all),
    Declaration::member(
        "findAll",
        "string_find_all_string_int",
        "string, string, int -> list(string)",
        find_all,
    ),
];

fn matches<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let text = arguments[0].text()?;
    let pattern = tools.regexes.get(&mut tools.meter, arguments[1].text()?)?;
    is_match(tools, &pattern, text)
}

pub(crate) fn is_match<'v>(tools: &mut Tools, pattern: &Pattern, text: &str) -> Answer<'v> {
    Ok(Value::Bool(pattern.over(&mut tools.meter, text)?.is_match(text)))
}

fn find<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let text = arguments[0].text()?;
    let pattern = tools.regexes.get(&mut tools.meter, arguments[1].text()?)?;
    match pattern.over(&mut tools.meter, text)?.find(text) {
        Some(found) => piece(tools, &arguments[0], found.range()),
        None => Ok(Value::from("")),
    }
}

fn find_all<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let text = arguments[0].text()?;
    let pattern = tools.regexes.get(&mut tools.meter, arguments[1].text()?)?;
    let most = arguments.get(2).map(Value::int).transpose()?;
    let most = most.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
    let mut all = Vec::new();
    for found in pattern.over(&mut tools.meter, text)?.find_iter(text).take(most) {
        tools.meter.elements(1)?;
        all.push(piece(tools, &arguments[0], found.range())?);
    }
    Ok(Value::from(all))
}

fn piece<'v>(tools: &mut Tools, whole: &Value<'v>, range: std::ops::Range<usize>) -> Answer<'v> {
    match whole {
        Value::String(Str::Borrowed(text)) => Ok(Value::from(&text[range])),
        other => {
            tools.meter.memory(range.len())?;
            Ok(Value::from(other.text()?[range].to_owned()))
        }
    }
}
