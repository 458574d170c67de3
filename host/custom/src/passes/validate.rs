//! Judging a value by the keywords of its schema.
//!
//! Checks come in the order of the API server, and messages are its own: type, clauses (`anyOf`, `oneOf`, `allOf`, `not`),
//! text, format, number, list, enumeration, fields. What an update leaves as it was is not judged again.

use berth_api::Problems;
use berth_json::{Map, Value};

use super::correlate::{OldElements, is_unchanged};
use super::{embedded, lists, numbers};
use crate::faults::{Outcome, What};
use crate::formats::FormatKind;
use crate::path::{NOWHERE, Path};
use crate::structural::{Additional, Checks, JsonType, Number, Structural};
use crate::work::Work;

/// Judges a whole object, against what it was when it is changed. Its own metadata and its rules are judged elsewhere.
pub fn validate(schema: &Structural, new: &Value, old: Option<&Value>, problems: &mut Problems) {
    validate_fields(schema, new, old, problems);
    embedded::validate(schema, new, &Path::Root, problems);
    validate_lists(schema, new, old, problems);
}

/// Judges a whole object by the keywords.
pub(crate) fn validate_fields(
    schema: &Structural,
    new: &Value,
    old: Option<&Value>,
    problems: &mut Problems,
) {
    judge(schema, new, old, "", &Work::default(), problems);
}

/// Judges the part of an object at `place` by the keywords.
pub(crate) fn validate_part(
    schema: &Structural,
    new: &Value,
    old: Option<&Value>,
    place: &str,
    problems: &mut Problems,
) {
    judge(schema, new, old, place, &Work::default(), problems);
}

/// Judges the objects in an object.
pub(crate) fn validate_embedded(schema: &Structural, new: &Value, problems: &mut Problems) {
    embedded::validate(schema, new, &Path::Root, problems);
}

/// Judges sets and lists of objects with keys; where one was wrong before, all may be.
pub(crate) fn validate_lists(schema: &Structural, new: &Value, old: Option<&Value>, problems: &mut Problems) {
    let mut found = Problems::default();
    lists::validate(schema, new, &Path::Root, &mut found);
    if let (Some(old), false) = (old, found.is_empty()) {
        let mut before = Problems::default();
        lists::validate(schema, old, &Path::Root, &mut before);
        if !before.is_empty() {
            return;
        }
    }
    problems.extend(found);
}

/// Judges a value that is an object or a part of one by the keywords alone; `prefix` is the part's place.
pub(crate) fn judge(
    schema: &Structural,
    new: &Value,
    old: Option<&Value>,
    prefix: &str,
    work: &Work,
    problems: &mut Problems,
) {
    let at = At { schema, value: new, old, path: &Path::Root, is_root: prefix.is_empty() };
    Judging { work }.part(&at).report(prefix, problems);
    if work.is_spent() {
        problems.invalid(
            NOWHERE,
            &Value::Null,
            "the object is too large for its schema: judging it takes too long",
        );
    }
}

struct Judging<'w> {
    work: &'w Work,
}

/// A value, what it was, and the schema of its place.
#[derive(Clone, Copy)]
struct At<'a> {
    schema: &'a Structural,
    value: &'a Value,
    /// What the value was, when there was one that can be told to be it.
    old: Option<&'a Value>,
    path: &'a Path<'a>,
    is_root: bool,
}

impl Judging<'_> {
    /// Judges a value; one that is as it was may be as wrong as it was.
    fn part(&self, at: &At<'_>) -> Outcome {
        // Most of an update is as it was: then nothing is judged at all.
        if at.old == Some(at.value) {
            return Outcome { matched: 1, ..Outcome::default() };
        }
        let mut out = self.value(at);
        if out.has_failed && at.old.is_some_and(|old| is_unchanged(at.schema, at.value, old)) {
            out = Outcome { matched: out.matched, ..Outcome::default() };
        }
        out
    }

    fn value(&self, at: &At<'_>) -> Outcome {
        let mut out = Outcome::default();
        if !self.work.pay(1) {
            return out;
        }
        let checks = at.schema.checks.as_deref();
        type_of(at, &mut out);
        if at.value.is_null() {
            enumeration(self, at, checks, &mut out);
            return out;
        }
        if let Some(checks) = checks {
            self.clauses(at, checks, &mut out);
        }
        match at.value {
            Value::String(text) => {
                if let Some(checks) = checks {
                    self.text(at, checks, text, &mut out);
                }
            }
            Value::Array(elements) => self.list(at, checks, elements, &mut out),
            value => {
                if let Some(number) = Number::of(value) {
                    numbers::judge(at.schema, value, number, at.path, &mut out);
                }
            }
        }
        enumeration(self, at, checks, &mut out);
        if let Value::Object(fields) = at.value {
            self.fields(at, checks, fields, &mut out);
        }
        out.matched = out.matched.saturating_add(1);
        let letters = out.faults.last().map_or(0, |fault| fault.place.len());
        self.work.pay(letters);
        out
    }

    fn clauses(&self, at: &At<'_>, checks: &Checks, out: &mut Outcome) {
        let judge = |schema| self.value(&At { schema, ..*at });
        let place = || Value::from(at.path.dotted());
        if !checks.any_of.is_empty() {
            let (valid, outcome) = alternatives(checks.any_of.iter().map(judge), true);
            if valid == 0 {
                let sentence = format!("{} must validate at least one schema (anyOf)", place());
                out.add(at.path, What::General(sentence));
            }
            out.merge(outcome);
        }
        if !checks.one_of.is_empty() {
            let (valid, outcome) = alternatives(checks.one_of.iter().map(judge), false);
            if valid != 1 {
                let found = if valid == 0 {
                    "Found none valid".to_owned()
                } else {
                    format!("Found {valid} valid alternatives")
                };
                let sentence = format!("{} must validate one and only one schema (oneOf). {found}", place());
                out.add(at.path, What::General(sentence));
            }
            if valid < 2 {
                out.merge(outcome);
            }
        }
        if !checks.all_of.is_empty() {
            let mut valid = 0;
            for outcome in checks.all_of.iter().map(judge) {
                valid += usize::from(!outcome.has_failed);
                out.merge(outcome);
            }
            if valid != checks.all_of.len() {
                let none = if valid == 0 { ". None validated" } else { "" };
                let sentence = format!("{} must validate all the schemas (allOf){none}", place());
                out.add(at.path, What::General(sentence));
            }
        }
        if let Some(not) = &checks.not
            && !judge(not).has_failed
        {
            out.add(at.path, What::General(format!("{} must not validate the schema (not)", place())));
        }
    }

    /// Of what is wrong with a text, the first is told; its format is told besides.
    fn text(&self, at: &At<'_>, checks: &Checks, text: &str, out: &mut Outcome) {
        self.work.pay(text.len() / 16);
        let length =
            if checks.max_length.is_some() || checks.min_length.is_some() { text.chars().count() } else { 0 };
        let mut refuse = |sentence| out.add(at.path, What::Invalid { value: at.value.clone(), sentence });
        if let Some(max) = checks.max_length.filter(|max| length as u64 > *max) {
            out.add(at.path, What::TooLong(max));
        } else if let Some(min) = checks.min_length.filter(|min| *min > length as u64) {
            refuse(format!("should be at least {min} chars long"));
        } else if let Some(pattern) = &checks.pattern
            && !pattern.regex.is_match(text)
        {
            refuse(format!("should match '{}'", pattern.source));
        }
        if let Some(format) = &checks.format
            && let FormatKind::Text(kind) = format.kind
            && !kind.matches(text)
        {
            out.add(at.path, What::Type { expected: format.name.clone(), found: text.to_owned() });
        }
    }

    fn list(&self, at: &At<'_>, checks: Option<&Checks>, elements: &[Value], out: &mut Outcome) {
        if let Some(items) = &at.schema.items {
            let before = OldElements::of(at.schema, at.old);
            for (index, value) in elements.iter().enumerate() {
                let old = before.as_ref().and_then(|before| before.what_was(value));
                let path = &Path::Index(at.path, index);
                out.merge(self.part(&At { schema: items, value, old, path, is_root: false }));
            }
        }
        let Some(checks) = checks else { return };
        let count = elements.len();
        if let Some(min) = checks.min_items.filter(|min| *min > count as u64) {
            let sentence = format!("should have at least {min} items");
            out.add(at.path, What::Invalid { value: count.into(), sentence });
        }
        if let Some(max) = checks.max_items.filter(|max| count as u64 > *max) {
            out.add(at.path, What::TooMany { count, max });
        }
    }

    fn fields(&self, at: &At<'_>, checks: Option<&Checks>, fields: &Map, out: &mut Outcome) {
        let count = fields.len();
        if let Some(min) = checks.and_then(|checks| checks.min_properties).filter(|min| *min > count as u64) {
            let sentence = format!("should have at least {min} properties");
            out.add(at.path, What::Invalid { value: count.into(), sentence });
        }
        if let Some(max) = checks.and_then(|checks| checks.max_properties).filter(|max| count as u64 > *max) {
            out.add(at.path, What::TooMany { count, max });
        }
        for (name, value) in fields {
            let path = &Path::Field(at.path, name);
            let Some(schema) = at.schema.field(name) else {
                if matches!(at.schema.additional, Additional::Allowed(false)) {
                    let sentence = format!("{} in body is a forbidden property", path.dotted());
                    out.add(at.path, What::General(sentence));
                }
                continue;
            };
            // What an object is does not change; its kind and version are those of the request.
            let is_type_meta = at.is_root && matches!(name.as_str(), "apiVersion" | "kind");
            let old = at.old.filter(|_| !is_type_meta).and_then(|old| old.get(name));
            out.merge(self.part(&At { schema, value, old, path, is_root: false }));
        }
        for name in checks.map_or(&[][..], |checks| &checks.required) {
            if !fields.contains_key(name) {
                out.add_named(at.path, name, What::Required);
            }
        }
    }
}

/// How many alternatives hold, and what is to be told: of one that holds, or of the one that came furthest. The first that
/// holds ends it where one is enough.
fn alternatives(outcomes: impl Iterator<Item = Outcome>, one_is_enough: bool) -> (usize, Outcome) {
    let (mut valid, mut told): (usize, Option<Outcome>) = (0, None);
    for outcome in outcomes {
        if !outcome.has_failed {
            valid += 1;
            if valid == 1 {
                told = Some(outcome);
            }
            if one_is_enough {
                break;
            }
        } else if valid == 0 && told.as_ref().is_none_or(|best| outcome.matched > best.matched) {
            told = Some(outcome);
        }
    }
    (valid, told.unwrap_or_default())
}

fn type_of(at: &At<'_>, out: &mut Outcome) {
    let schema = at.schema;
    let format = schema.checks.as_ref().and_then(|checks| checks.format.as_ref());
    let expected = match (schema.int_or_string, schema.json_type) {
        (true, _) => "integer,string",
        (false, Some(json_type)) => json_type.as_str(),
        (false, None) => return,
    };
    let found = match at.value {
        Value::Null if schema.nullable => return,
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        value => match Number::of(value) {
            Some(Number::Int(_)) => "integer",
            Some(Number::Float(float))
                if crate::structural::is_whole(float) && expected.starts_with("integer") =>
            {
                "integer"
            }
            _ => "number",
        },
    };
    let is_number = found == "integer" && schema.json_type == Some(JsonType::Number);
    if is_number || expected.split(',').any(|word| word == found) {
        out.matched = out.matched.saturating_add(1);
        return;
    }
    // A format of texts is named instead of the type, and numbers by their Go type, as the API server does.
    let (expected, found) = match (format, found) {
        (Some(format), "integer") => (format.name.clone(), "int64"),
        (Some(format), "number") => (format.name.clone(), "float64"),
        (Some(format), "boolean" | "object") => (format.name.clone(), ""),
        (_, found) => (expected.into(), found),
    };
    out.add(at.path, What::Type { expected, found: found.to_owned() });
}

fn enumeration(judging: &Judging<'_>, at: &At<'_>, checks: Option<&Checks>, out: &mut Outcome) {
    let Some(checks) = checks.filter(|checks| !checks.enumeration.is_empty()) else { return };
    judging.work.pay(checks.enumeration.len());
    if checks.enumeration.iter().any(|listed| is_same(listed, at.value)) {
        return;
    }
    let value = at.value.to_string();
    let listed = checks.enumeration.iter().map(|listed| match listed {
        Value::String(text) => text.to_string(),
        other => other.to_string(),
    });
    let listed: Vec<String> = listed.collect();
    judging.work.pay(value.len() + listed.iter().map(String::len).sum::<usize>());
    out.add(at.path, What::Unlisted { value, listed });
}

/// Whether two values are the same; numbers are by what they count.
fn is_same(mine: &Value, theirs: &Value) -> bool {
    match (Number::of(mine), Number::of(theirs)) {
        (Some(mine), Some(theirs)) => mine.compare(theirs) == Some(std::cmp::Ordering::Equal),
        _ => mine == theirs,
    }
}
