//! From the JSON of a schema to a [`Structural`].

use std::collections::HashMap;
use std::sync::Arc;

use berth_json::{Map, Text, Value};
use regex::Regex;

use super::{Additional, Checks, JsonType, Limit, ListType, Number, Pattern, Rule, Structural, Within};
use crate::formats::Format;
use crate::pattern;

/// How many places a schema may have. The largest in use, the Prometheus operator's, has some 11,000; a place takes some
/// 300 bytes.
const PLACES_MAX: usize = 50_000;
/// How deep places may nest. A body of the API is at most 100 levels deep, and a place takes two of them.
const DEPTH_MAX: usize = 64;
/// How many different patterns a schema may have, and how many of them may be large: the largest in use has fifty small
/// ones.
const PATTERNS_MAX: usize = 256;
const LARGE_PATTERNS_MAX: usize = 16;
/// How many rules a schema may have: each is a program. The Gateway API's largest has some hundred.
const RULES_MAX: usize = 2000;

/// Why something is no structural schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// A keyword's value is of the wrong JSON type.
    #[error("\"{keyword}\" must be {expected}")]
    Keyword {
        /// The keyword.
        keyword: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A keyword that structural schemas do not have.
    #[error("OpenAPIV3Schema '{0}' is not supported")]
    Unsupported(&'static str),
    /// A regular expression that cannot be read, or is too large.
    #[error("pattern \"{pattern}\" cannot be used: {why}")]
    Pattern {
        /// The expression.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// The schema cannot be made types of a table.
    #[error("the schema cannot be compiled: {0}")]
    Rows(String),
    /// More than a server can take.
    #[error("the schema is too large: it has {0}")]
    TooLarge(&'static str),
}

pub(super) fn parse(schema: &Value) -> Result<Structural, SchemaError> {
    Parser::default().place(schema, 0)
}

#[derive(Default)]
struct Parser {
    places: usize,
    rules: usize,
    /// Patterns repeat a lot: each is compiled once.
    patterns: HashMap<Text, Arc<Regex>>,
    large_patterns: usize,
}

const UNSUPPORTED: [&str; 7] =
    ["id", "$schema", "$ref", "patternProperties", "dependencies", "definitions", "additionalItems"];

impl Parser {
    fn place(&mut self, schema: &Value, depth: usize) -> Result<Structural, SchemaError> {
        let Value::Object(fields) = schema else { return Err(keyword("openAPIV3Schema", "an object")) };
        self.places += 1;
        if self.places > PLACES_MAX {
            return Err(SchemaError::TooLarge("more than 50,000 places"));
        }
        if depth > DEPTH_MAX {
            return Err(SchemaError::TooLarge("more than 64 levels"));
        }
        if let Some(word) = UNSUPPORTED.into_iter().find(|word| fields.get(word).is_some_and(is_set)) {
            return Err(SchemaError::Unsupported(word));
        }
        let rules = list(fields, "x-kubernetes-validations")?;
        self.rules += rules.len();
        if self.rules > RULES_MAX {
            return Err(SchemaError::TooLarge("more than 2,000 rules"));
        }
        let items = match fields.get("items") {
            None | Some(Value::Null) => None,
            Some(Value::Array(_)) => return Err(keyword("items", "a schema, but is an array")),
            Some(items) => Some(Box::new(self.place(items, depth + 1)?)),
        };
        let mut place = Structural {
            json_type: JsonType::named(text(fields, "type")?),
            int_or_string: is_true(fields, "x-kubernetes-int-or-string")?,
            nullable: is_true(fields, "nullable")?,
            preserves_unknown: is_true(fields, "x-kubernetes-preserve-unknown-fields")?,
            embedded: is_true(fields, "x-kubernetes-embedded-resource")?,
            default: fields.get("default").filter(|value| !value.is_null()).cloned(),
            properties: self.properties(fields, depth)?,
            additional: self.additional(fields, depth)?,
            items,
            list: list_type(fields)?,
            is_atomic: text(fields, "x-kubernetes-map-type")? == "atomic",
            rules: rules.iter().map(rule).collect::<Result<_, _>>()?,
            checks: self.checks(fields, depth)?.map(Box::new),
            within: Within::default(),
        };
        place.within = within(&place);
        Ok(place)
    }

    fn properties(
        &mut self,
        fields: &Map,
        depth: usize,
    ) -> Result<std::collections::BTreeMap<Text, Structural>, SchemaError> {
        match fields.get("properties") {
            None | Some(Value::Null) => Ok(Default::default()),
            Some(Value::Object(properties)) => properties
                .iter()
                .map(|(name, schema)| Ok((name.clone(), self.place(schema, depth + 1)?)))
                .collect(),
            Some(_) => Err(keyword("properties", "an object")),
        }
    }

    fn additional(&mut self, fields: &Map, depth: usize) -> Result<Additional, SchemaError> {
        Ok(match fields.get("additionalProperties") {
            None | Some(Value::Null) => Additional::None,
            Some(Value::Bool(allowed)) => Additional::Allowed(*allowed),
            Some(schema) => Additional::Schema(Box::new(self.place(schema, depth + 1)?)),
        })
    }

    /// The keywords that judge a value; none when there is not one of them.
    fn checks(&mut self, fields: &Map, depth: usize) -> Result<Option<Checks>, SchemaError> {
        const JUDGING: [&str; 19] = [
            "allOf",
            "anyOf",
            "enum",
            "exclusiveMaximum",
            "exclusiveMinimum",
            "format",
            "maxItems",
            "maxLength",
            "maxProperties",
            "maximum",
            "minItems",
            "minLength",
            "minProperties",
            "minimum",
            "multipleOf",
            "not",
            "oneOf",
            "pattern",
            "required",
        ];
        if !JUDGING.into_iter().any(|word| fields.contains_key(word)) {
            return Ok(None);
        }
        let is_int_or_string = is_true(fields, "x-kubernetes-int-or-string")?;
        let json_type = text(fields, "type")?;
        Ok(Some(Checks {
            format: Format::of(text(fields, "format")?, if is_int_or_string { "" } else { json_type }),
            maximum: limit(fields, "maximum", "exclusiveMaximum")?,
            minimum: limit(fields, "minimum", "exclusiveMinimum")?,
            multiple_of: number(fields, "multipleOf")?,
            max_length: count(fields, "maxLength")?,
            min_length: count(fields, "minLength")?,
            pattern: self.pattern(text(fields, "pattern")?)?,
            max_items: count(fields, "maxItems")?,
            min_items: count(fields, "minItems")?,
            max_properties: count(fields, "maxProperties")?,
            min_properties: count(fields, "minProperties")?,
            enumeration: list(fields, "enum")?.to_vec(),
            required: texts(fields, "required")?,
            all_of: self.clauses(fields, "allOf", depth)?,
            any_of: self.clauses(fields, "anyOf", depth)?,
            one_of: self.clauses(fields, "oneOf", depth)?,
            not: match fields.get("not").filter(|not| !not.is_null()) {
                Some(schema) => Some(Box::new(self.place(schema, depth + 1)?)),
                None => None,
            },
        }))
    }

    fn clauses(&mut self, fields: &Map, word: &str, depth: usize) -> Result<Vec<Structural>, SchemaError> {
        list(fields, word)?.iter().map(|clause| self.place(clause, depth + 1)).collect()
    }

    fn pattern(&mut self, source: &str) -> Result<Option<Pattern>, SchemaError> {
        if source.is_empty() {
            return Ok(None);
        }
        let regex = match self.patterns.get(source) {
            Some(regex) => regex.clone(),
            None if self.patterns.len() == PATTERNS_MAX => {
                return Err(SchemaError::TooLarge("more than 256 different patterns"));
            }
            None => {
                let compiled = pattern::compile(source);
                let (regex, is_large) =
                    compiled.map_err(|why| SchemaError::Pattern { pattern: source.to_owned(), why })?;
                self.large_patterns += usize::from(is_large);
                if self.large_patterns > LARGE_PATTERNS_MAX {
                    return Err(SchemaError::TooLarge("more than 16 large patterns"));
                }
                self.patterns.entry(source.into()).or_insert(Arc::new(regex)).clone()
            }
        };
        Ok(Some(Pattern { source: source.into(), regex }))
    }
}

fn within(place: &Structural) -> Within {
    let others = match &place.additional {
        Additional::Schema(others) => Some(&**others),
        _ => None,
    };
    let below = place.properties.values().chain(place.items.as_deref()).chain(others);
    let own = Within { embedded: place.embedded, told_apart: place.list != ListType::Atomic };
    below.fold(own, |sum, part| Within {
        embedded: sum.embedded || part.within.embedded,
        told_apart: sum.told_apart || part.within.told_apart,
    })
}

fn keyword(keyword: &str, expected: &'static str) -> SchemaError {
    SchemaError::Keyword { keyword: keyword.to_owned(), expected }
}

/// Whether a value says something: Go sees no difference between an absent and an empty one.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    }
}

fn text<'v>(fields: &'v Map, word: &str) -> Result<&'v str, SchemaError> {
    match fields.get(word) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(keyword(word, "a string")),
    }
}

fn flag(fields: &Map, word: &str) -> Result<Option<bool>, SchemaError> {
    match fields.get(word) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(keyword(word, "a boolean")),
    }
}

fn is_true(fields: &Map, word: &str) -> Result<bool, SchemaError> {
    Ok(flag(fields, word)?.unwrap_or_default())
}

fn list<'v>(fields: &'v Map, word: &str) -> Result<&'v [Value], SchemaError> {
    match fields.get(word) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(keyword(word, "a list")),
    }
}

fn texts(fields: &Map, word: &str) -> Result<Vec<Text>, SchemaError> {
    let texts = list(fields, word)?.iter().map(|element| match element {
        Value::String(text) => Ok(text.clone()),
        _ => Err(keyword(word, "a list of strings")),
    });
    texts.collect()
}

fn number(fields: &Map, word: &str) -> Result<Option<Number>, SchemaError> {
    match fields.get(word) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => Number::of(value).map(Some).ok_or_else(|| keyword(word, "a number")),
    }
}

fn limit(fields: &Map, word: &str, exclusive: &str) -> Result<Option<Limit>, SchemaError> {
    let is_exclusive = is_true(fields, exclusive)?;
    Ok(number(fields, word)?.map(|bound| Limit { bound, is_exclusive }))
}

/// A length or a count; a negative one bounds nothing from below and everything from above.
fn count(fields: &Map, word: &str) -> Result<Option<u64>, SchemaError> {
    match fields.get(word) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match Number::of(value) {
            Some(Number::Int(count)) => Ok(Some(u64::try_from(count).unwrap_or_default())),
            _ => Err(keyword(word, "a whole number")),
        },
    }
}

fn list_type(fields: &Map) -> Result<ListType, SchemaError> {
    Ok(match text(fields, "x-kubernetes-list-type")? {
        "set" => ListType::Set,
        "map" => ListType::Map(texts(fields, "x-kubernetes-list-map-keys")?),
        _ => ListType::Atomic,
    })
}

fn rule(value: &Value) -> Result<Rule, SchemaError> {
    let Value::Object(fields) = value else {
        return Err(keyword("x-kubernetes-validations", "a list of rules"));
    };
    Ok(Rule {
        rule: text(fields, "rule")?.to_owned(),
        message: text(fields, "message")?.to_owned(),
        message_expression: text(fields, "messageExpression")?.to_owned(),
        reason: text(fields, "reason")?.to_owned(),
        field_path: text(fields, "fieldPath")?.to_owned(),
        optional_old_self: flag(fields, "optionalOldSelf")?,
    })
}
