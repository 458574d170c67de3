//! What the schema of a version must satisfy.

use berth_api::Problems;
use berth_api::kinds::cursor::Cursor;
use berth_api::kinds::meta::as_go;
use berth_json::Value;

use super::{defaults, structure};
use crate::rules::Estimates;
use crate::structural::{Additional, JsonType, SchemaError, Structural, is_meta_field};

mod lists;
mod rules;

/// Keywords of the root beside which a status of its own can be judged.
const ROOT_KEYWORDS: [&str; 22] = [
    "description",
    "type",
    "format",
    "title",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "multipleOf",
    "required",
    "items",
    "properties",
    "externalDocs",
    "example",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
];
const ROOT_KEYWORDS_AS_GO: &str = "[Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum \
    MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example \
    XPreserveUnknownFields XValidations]";

/// Judges a schema, which stands at `schema`.
pub(super) fn validate(schema: &Cursor<'_>, has_status: bool, problems: &mut Problems) {
    let mut found = Problems::default();
    if has_status {
        root_keywords(schema, &mut found);
    }
    if is_set(&schema.child("nullable")) {
        found.forbidden(format!("{schema}.nullable"), "nullable cannot be true at the root");
    }
    let parsed = Structural::parse(schema.value());
    // A pattern that cannot be read is told of at its place.
    if matches!(parsed, Ok(_) | Err(SchemaError::Pattern { .. })) {
        let before = found.causes.len();
        structure::validate(schema, &mut found);
        if let (Ok(parsed), true) = (&parsed, found.causes.len() == before) {
            defaults::validate(schema, parsed, &mut found);
        }
    }
    place(schema, parsed.as_ref().ok(), &Around::default(), &mut found);
    // What rules mean is asked of a schema that has no other fault: theirs might follow from it.
    if let (Ok(parsed), true) = (&parsed, found.is_empty()) {
        Estimates::judge(schema, parsed, &mut found);
    }
    if let Err(why) = parsed
        && found.is_empty()
    {
        found.invalid(schema, &"".into(), &why.to_string());
    }
    problems.extend(found);
}

/// Whether a schema says anywhere what stands where nothing does.
pub(super) fn has_default(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => {
            fields.get("default").is_some_and(|default| !default.is_null())
                || fields.iter().filter(|(keyword, _)| leads_down(keyword)).any(|(keyword, below)| {
                    let each = |schemas: &Value| match schemas {
                        Value::Object(map) if keyword == "properties" => map.values().any(has_default),
                        other => has_default(other),
                    };
                    each(below)
                })
        }
        Value::Array(schemas) => schemas.iter().any(has_default),
        _ => false,
    }
}

/// Whether a keyword holds a schema, or several.
pub(super) fn leads_down(keyword: &str) -> bool {
    matches!(keyword, "properties" | "items" | "additionalProperties" | "allOf" | "anyOf" | "oneOf" | "not")
}

/// Whether a keyword says something: Go sees no difference between an absent and an empty one.
fn is_set(at: &Cursor<'_>) -> bool {
    !at.is_empty() && *at.value() != false
}

fn root_keywords(schema: &Cursor<'_>, problems: &mut Problems) {
    for (keyword, said) in schema.entries().filter(|(_, said)| is_set(said)) {
        if keyword == "type" && said.text() != "object" {
            let detail = "only \"object\" is allowed as the type at the root of the schema if the status subresource \
                          is enabled";
            problems.invalid(format!("{schema}.type"), said.value(), detail);
            return;
        }
        if !ROOT_KEYWORDS.contains(&keyword) {
            let detail = format!(
                "only {ROOT_KEYWORDS_AS_GO} fields are allowed at the root of the schema if the status subresource \
                 is enabled"
            );
            problems.invalid(schema, &as_go(schema.value()), &detail);
            return;
        }
    }
}

/// What the places above say of this one.
#[derive(Clone, Copy, Default)]
struct Around {
    is_below_root: bool,
    is_inside_metadata: bool,
    /// Why there may be no default; none where there may.
    no_default: Option<NoDefault>,
}

#[derive(Clone, Copy)]
enum NoDefault {
    TopLevel(&'static str),
    KeysOfMetadata,
}

impl NoDefault {
    fn reason(self) -> String {
        match self {
            Self::TopLevel(name) => format!("must not be set in top-level {name}"),
            Self::KeysOfMetadata => {
                "must not be set inside additionalProperties applying to object metadata".to_owned()
            }
        }
    }
}

/// Judges a place; `parsed` is what it means, where that is known.
fn place(schema: &Cursor<'_>, parsed: Option<&Structural>, around: &Around, problems: &mut Problems) {
    keywords(schema, around, problems);
    if schema.child("uniqueItems").is_true() {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        problems.forbidden(schema.child("uniqueItems"), detail);
    }
    let below = Around { is_below_root: true, ..*around };
    others(schema, parsed, &below, problems);
    let is_whole = !around.is_below_root || schema.child("x-kubernetes-embedded-resource").is_true();
    let properties = schema.child("properties");
    for (name, field) in properties.entries() {
        let mut inside = below;
        if is_whole && is_meta_field(name) {
            inside.is_inside_metadata = true;
            if !around.is_below_root {
                let name = ["apiVersion", "kind", "metadata"].into_iter().find(|meta| *meta == name);
                inside.no_default = name.map(NoDefault::TopLevel);
            }
        }
        place(&field, parsed.and_then(|parsed| parsed.properties.get(name)), &inside, problems);
    }
    let not = schema.child("not");
    if not.exists() {
        place(&not, None, &below, problems);
    }
    for clauses in ["allOf", "oneOf", "anyOf"] {
        schema.child(clauses).items().for_each(|clause| place(&clause, None, &below, problems));
    }
    let items = schema.child("items");
    if items.map().is_some() {
        place(&items, parsed.and_then(|parsed| parsed.items.as_deref()), &below, problems);
    }
    let keeps_unknown = schema.child("x-kubernetes-preserve-unknown-fields");
    if *keeps_unknown.value() == false {
        problems.invalid(keeps_unknown, keeps_unknown.value(), "must be true or undefined");
    }
    lists::validate(schema, problems);
    rules::validate(schema, parsed, problems);
}

fn others(schema: &Cursor<'_>, parsed: Option<&Structural>, below: &Around, problems: &mut Problems) {
    let others = schema.child("additionalProperties");
    if !others.exists() {
        return;
    }
    if !schema.child("properties").is_empty() && *others.value() != true {
        problems.forbidden(others, "additionalProperties and properties are mutual exclusive");
    }
    if others.map().is_some() {
        let mut inside = *below;
        if below.is_inside_metadata {
            inside.no_default = Some(NoDefault::KeysOfMetadata);
        }
        let parsed = parsed.and_then(|parsed| match &parsed.additional {
            Additional::Schema(others) => Some(&**others),
            _ => None,
        });
        place(&others, parsed, &inside, problems);
    }
}

/// Keywords that Kubernetes does not have.
fn keywords(schema: &Cursor<'_>, around: &Around, problems: &mut Problems) {
    let json_type = schema.child("type");
    if !json_type.is_empty() && JsonType::named(json_type.text()).is_none() {
        let known = JsonType::ALL.map(JsonType::as_str);
        problems.not_supported(json_type, json_type.value(), &known);
    }
    if let Some(why) = around.no_default.filter(|_| schema.child("default").exists()) {
        problems.forbidden(schema.child("default"), &why.reason());
    }
    for keyword in ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"] {
        if !schema.child(keyword).is_empty() {
            problems.forbidden(schema.child(keyword), &format!("{keyword} is not supported"));
        }
    }
    if json_type.text() == "null" {
        problems.forbidden(json_type, "type cannot be set to null, use nullable as an alternative");
    }
    if schema.child("items").value().is_array() {
        problems.forbidden(schema.child("items"), "items must be a schema object and not an array");
    }
    let embedded = schema.child("x-kubernetes-embedded-resource");
    if around.is_inside_metadata && embedded.is_true() {
        problems.forbidden(embedded, "must not be used inside of resource meta");
    }
}
