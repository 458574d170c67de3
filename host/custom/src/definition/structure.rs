//! What makes a schema structural: every place has a type, and clauses only judge.

use berth_api::Problems;
use berth_api::kinds::cursor::Cursor;
use berth_json::{Value, json};

use crate::pattern;
use crate::structural::is_meta_field;

/// Where a place of a schema stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Tells of everything that is not structural, sorted as the API server sorts it.
pub(super) fn validate(schema: &Cursor<'_>, problems: &mut Problems) {
    let mut found = Problems::default();
    place(schema, Level::Root, &mut found);
    found.causes.sort_by_cached_key(|cause| format!("{}: {}", cause.field, cause.message));
    problems.extend(found);
}

fn is_true(schema: &Cursor<'_>, keyword: &str) -> bool {
    schema.child(keyword).is_true()
}

fn place(schema: &Cursor<'_>, level: Level, problems: &mut Problems) {
    let json_type = schema.child("type");
    let (items, others) = (schema.child("items"), schema.child("additionalProperties"));
    if json_type.text() == "array" && !items.exists() {
        problems.required(items, "must be specified");
    }
    if items.exists() {
        place(&items, Level::Item, problems);
    }
    for (_, field) in schema.child("properties").entries() {
        place(&field, Level::Field, problems);
    }
    if others.exists() && level == Level::Root {
        problems.forbidden(others, "must not be used at the root");
    }
    if others.map().is_some() {
        place(&others, Level::Field, problems);
    }
    extensions(schema, problems);
    let is_int_or_string = |clause: &Value| *clause == json!([{"type": "integer"}, {"type": "string"}]);
    let skips_any = is_int_or_string(schema.child("anyOf").value());
    let skips_first = schema.child("allOf").list().first().is_some_and(|all| is_int_or_string(&all["anyOf"]));
    clauses(schema, skips_any, skips_first, problems);
    type_of(schema, level, problems);
    metadata(schema, level, problems);
    let is_embedded = is_true(schema, "x-kubernetes-embedded-resource");
    if is_embedded
        && !is_true(schema, "x-kubernetes-preserve-unknown-fields")
        && schema.child("properties").is_empty()
    {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without \
                      x-kubernetes-preserve-unknown-fields";
        problems.required(schema.child("properties"), detail);
    }
}

fn extensions(schema: &Cursor<'_>, problems: &mut Problems) {
    if !is_true(schema, "x-kubernetes-int-or-string") {
        return;
    }
    for keyword in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
        if is_true(schema, keyword) {
            let detail = "must be false if x-kubernetes-int-or-string is true";
            problems.invalid(schema.child(keyword), &true.into(), detail);
        }
    }
}

fn type_of(schema: &Cursor<'_>, level: Level, problems: &mut Problems) {
    let json_type = schema.child("type");
    let is_embedded = is_true(schema, "x-kubernetes-embedded-resource");
    let may_lack_type = ["x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"]
        .into_iter()
        .any(|k| is_true(schema, k));
    if is_embedded && json_type.text() != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        if json_type.is_empty() {
            problems.required(json_type, detail);
        } else {
            problems.invalid(json_type, json_type.value(), detail);
        }
    } else if json_type.is_empty() && !may_lack_type {
        let detail = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        problems.required(json_type, detail);
    }
    if is_embedded && schema.child("additionalProperties").exists() {
        let detail = "must not be used if x-kubernetes-embedded-resource is set";
        problems.forbidden(schema.child("additionalProperties"), detail);
    }
    if level == Level::Root && !json_type.is_empty() && json_type.text() != "object" {
        problems.invalid(json_type, json_type.value(), "must be object at the root");
    }
}

/// What may be said of the fields that every object has: next to nothing.
fn metadata(schema: &Cursor<'_>, level: Level, problems: &mut Problems) {
    let is_whole = level == Level::Root || is_true(schema, "x-kubernetes-embedded-resource");
    let properties = schema.child("properties");
    for (name, field) in properties.entries().filter(|(name, _)| is_meta_field(name)) {
        let json_type = field.child("type");
        let wanted = if name == "metadata" { "object" } else { "string" };
        if is_whole && json_type.text() != wanted {
            problems.invalid(json_type, &json_type.text().into(), &format!("must be {wanted}"));
        }
        if level == Level::Root && name == "metadata" && !says_names_only(&field) {
            let detail = "must not specify anything other than name and generateName, but metadata is implicitly \
                          specified";
            problems.forbidden(field, detail);
        }
    }
}

fn says_names_only(metadata: &Cursor<'_>) -> bool {
    let names_only = |properties: &Cursor<'_>| {
        let mut names = properties.entries().map(|(name, _)| name);
        names.all(|name| name == "name" || name == "generateName")
    };
    metadata.entries().all(|(keyword, said)| match keyword {
        "type" | "default" => true,
        "properties" => names_only(&metadata.child("properties")),
        _ => said.is_empty() || *said.value() == false,
    })
}

fn clauses(schema: &Cursor<'_>, skips_any: bool, skips_first_any: bool, problems: &mut Problems) {
    if !skips_any {
        schema.child("anyOf").items().for_each(|clause| nested(&clause, false, problems));
    }
    for (at, clause) in schema.child("allOf").items().enumerate() {
        nested(&clause, skips_first_any && at == 0, problems);
    }
    schema.child("oneOf").items().for_each(|clause| nested(&clause, false, problems));
    if schema.child("not").exists() {
        nested(&schema.child("not"), false, problems);
    }
    let source = schema.child("pattern");
    if let Some(Err(why)) = (!source.is_empty()).then(|| pattern::compile(source.text())) {
        let detail = format!("must be a valid regular expression, but isn't: {why}");
        problems.invalid(source, source.value(), &detail);
    }
}

/// A schema in a clause: it judges values, and says nothing of their structure.
fn nested(schema: &Cursor<'_>, skips_any: bool, problems: &mut Problems) {
    const EMPTY: [&str; 3] = ["type", "title", "description"];
    const FALSE: [&str; 4] = [
        "nullable",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
    ];
    const UNDEFINED: [&str; 4] =
        ["additionalProperties", "default", "x-kubernetes-list-type", "x-kubernetes-map-type"];
    const EMPTY_LISTS: [&str; 2] = ["x-kubernetes-list-map-keys", "x-kubernetes-validations"];
    clauses(schema, skips_any, false, problems);
    if schema.child("items").exists() {
        nested(&schema.child("items"), false, problems);
    }
    for (_, field) in schema.child("properties").entries() {
        nested(&field, false, problems);
    }
    let mut forbid = |keyword: &str, word: &str| {
        problems.forbidden(schema.child(keyword), &format!("must be {word} to be structural"));
    };
    for keyword in EMPTY.into_iter().chain(EMPTY_LISTS).filter(|keyword| !schema.child(keyword).is_empty()) {
        forbid(keyword, "empty");
    }
    FALSE.into_iter().filter(|keyword| is_true(schema, keyword)).for_each(|keyword| forbid(keyword, "false"));
    for keyword in UNDEFINED {
        let said = schema.child(keyword);
        if said.exists() && *said.value() != false {
            forbid(keyword, "undefined");
        }
    }
    let metadata = schema.child("properties");
    if metadata.map().is_some_and(|fields| fields.contains_key("metadata")) {
        problems.forbidden(metadata.key("metadata"), "must not be specified in a nested context");
    }
}
