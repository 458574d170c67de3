//! Semantic versions.

use std::cmp::Ordering;

use crate::error::EvalError;
use crate::foreign::{Foreign, Version};
use crate::functions::{Answer, Declaration, Tools};
use crate::value::Value;

pub(crate) const DECLARATIONS: &[Declaration] = &[
    Declaration::global("semver", "string_to_semver", "string -> semver", make),
    Declaration::global("semver", "string_bool_to_semver", "string, bool -> semver", make),
    Declaration::global("isSemver", "is_semver_string", "string -> bool", is_version),
    Declaration::global("isSemver", "is_semver_string_bool", "string, bool -> bool", is_version),
    Declaration::member(
        "isGreaterThan",
        "semver_is_greater_than",
        "semver, semver -> bool",
        |_, arguments| Ok(Value::Bool(order(arguments)? == Ordering::Greater)),
    ),
    Declaration::member("isLessThan", "semver_is_less_than", "semver, semver -> bool", |_, arguments| {
        Ok(Value::Bool(order(arguments)? == Ordering::Less))
    }),
    Declaration::member("compareTo", "semver_compare_to", "semver, semver -> int", |_, arguments| {
        Ok(Value::Int(order(arguments)? as i64))
    }),
    Declaration::member("major", "semver_major", "semver -> int", |_, arguments| number(arguments, 0)),
    Declaration::member("minor", "semver_minor", "semver -> int", |_, arguments| number(arguments, 1)),
    Declaration::member("patch", "semver_patch", "semver -> int", |_, arguments| number(arguments, 2)),
];

fn version<'a>(value: &'a Value<'_>) -> Result<&'a Version, EvalError> {
    if let Foreign::Semver(version) = value.foreign()? { Ok(version) } else { Err(EvalError::NO_OVERLOAD) }
}

fn order(arguments: &[Value<'_>]) -> Result<Ordering, EvalError> {
    Ok(version(&arguments[0])?.order(version(&arguments[1])?))
}

fn number<'v>(arguments: &[Value<'v>], part: usize) -> Answer<'v> {
    Ok(Value::Int(version(&arguments[0])?.numbers[part] as i64))
}

fn read(arguments: &[Value<'_>]) -> Result<Result<Version, String>, EvalError> {
    let text = arguments[0].text()?;
    let is_lenient = match arguments.get(1) {
        Some(flag) => flag.as_bool().ok_or(EvalError::NO_OVERLOAD)?,
        None => false,
    };
    Ok(if is_lenient { complete(text).and_then(|text| parse(&text)) } else { parse(text) })
}

fn make<'v>(_: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    Ok(Foreign::Semver(read(arguments)?.map_err(EvalError::new)?).into())
}

fn is_version<'v>(_: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    Ok(Value::Bool(read(arguments)?.is_ok()))
}

/// `v1.2` as `1.2.0`, without zeros in front.
fn complete(text: &str) -> Result<String, String> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts: Vec<String> = text.splitn(3, '.').map(unpadded).collect();
    if parts.len() < 3 {
        if parts.last().is_some_and(|last| last.contains(['+', '-'])) {
            return Err("short version cannot contain PreRelease/Build meta data".into());
        }
        parts.resize(3, "0".into());
    }
    Ok(parts.join("."))
}

fn unpadded(part: &str) -> String {
    if part.len() < 2 {
        return part.into();
    }
    let rest = part.trim_start_matches('0');
    if rest.starts_with(|c: char| c.is_ascii_digit()) { rest.into() } else { format!("0{rest}") }
}

fn parse(text: &str) -> Result<Version, String> {
    if text.is_empty() {
        return Err("Version string empty".into());
    }
    let mut parts = text.splitn(3, '.');
    let (Some(major), Some(minor), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("No Major.Minor.Patch elements found".into());
    };
    let (rest, build) = rest.split_once('+').map_or((rest, None), |(rest, build)| (rest, Some(build)));
    let (patch, prerelease) = rest.split_once('-').map_or((rest, None), |(patch, rest)| (patch, Some(rest)));
    let numbers = [numeral("Major", major)?, numeral("Minor", minor)?, numeral("Patch", patch)?];
    let identifiers =
        |text: Option<&str>| text.map_or(Vec::new(), |text| text.split('.').map(String::from).collect());
    let (prerelease, build) = (identifiers(prerelease), identifiers(build));
    for identifier in &prerelease {
        check("Prerelease", identifier)?;
        if identifier.bytes().all(|c| c.is_ascii_digit()) {
            if identifier.len() > 1 && identifier.starts_with('0') {
                return Err(format!(
                    "Numeric PreRelease version must not contain leading zeroes {identifier:?}"
                ));
            }
            identifier.parse::<u64>().map_err(|error| error.to_string())?;
        }
    }
    for identifier in &build {
        check("Build meta data", identifier)?;
    }
    Ok(Version { numbers, prerelease })
}

fn check(what: &str, identifier: &str) -> Result<(), String> {
    if identifier.is_empty() {
        return Err(format!("{what} is empty"));
    }
    if !identifier.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') {
        return Err(format!("Invalid character(s) found in {} {identifier:?}", what.to_lowercase()));
    }
    Ok(())
}

fn numeral(what: &str, digits: &str) -> Result<u64, String> {
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return Err(format!("Invalid character(s) found in {} number {digits:?}", what.to_lowercase()));
    }
    if digits.len() > 1 && digits.starts_with('0') {
        return Err(format!("{what} number must not contain leading zeroes {digits:?}"));
    }
    digits.parse().map_err(|_| format!("strconv.ParseUint: parsing {digits:?}: value out of range"))
}
