//! How lists and maps say that their elements are told apart.

use std::collections::BTreeSet;

use berth_api::Problems;
use berth_api::kinds::cursor::Cursor;
use berth_json::Value;

const MAP_TYPES: [&str; 2] = ["atomic", "granular"];
const LIST_TYPES: [&str; 3] = ["atomic", "set", "map"];

pub(super) fn validate(schema: &Cursor<'_>, problems: &mut Problems) {
    let (map_type, list_type) =
        (schema.child("x-kubernetes-map-type"), schema.child("x-kubernetes-list-type"));
    if map_type.exists() {
        has_type(schema, "object", "x-kubernetes-map-type", problems);
        if !MAP_TYPES.contains(&map_type.text()) {
            problems.not_supported(map_type, map_type.value(), &MAP_TYPES);
        }
    }
    if list_type.exists() && !has_type(schema, "array", "x-kubernetes-list-type", problems) {
        // Of what the elements are does not matter then.
    } else if list_type.text() == "set" {
        elements_are_values(schema, problems);
    }
    if list_type.exists() && !LIST_TYPES.contains(&list_type.text()) {
        problems.not_supported(list_type, list_type.value(), &LIST_TYPES);
    }
    let keys = schema.child("x-kubernetes-list-map-keys");
    if !keys.is_empty() && list_type.text() != "map" {
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        if list_type.exists() {
            problems.invalid(list_type, list_type.value(), detail);
        } else {
            problems.required(list_type, detail);
        }
    }
    if list_type.text() == "map" {
        map(schema, &keys, problems);
    }
    if matches!(list_type.text(), "map" | "set") {
        elements_are_there(schema, &keys, problems);
    }
}

fn has_type(schema: &Cursor<'_>, wanted: &str, keyword: &str, problems: &mut Problems) -> bool {
    let json_type = schema.child("type");
    if json_type.text() == wanted {
        return true;
    }
    let detail = format!("must be {wanted} if {keyword} is specified");
    if json_type.is_empty() {
        problems.required(json_type, &detail);
    } else {
        problems.invalid(json_type, json_type.value(), &detail);
    }
    false
}

/// What is in a set is compared as a whole.
fn elements_are_values(schema: &Cursor<'_>, problems: &mut Problems) {
    const DETAIL: &str = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let items = schema.child("items");
    let (list_type, map_type) = (items.child("x-kubernetes-list-type"), items.child("x-kubernetes-map-type"));
    match items.child("type").text() {
        "array" if list_type.exists() && list_type.text() != "atomic" => {
            problems.invalid(list_type, list_type.value(), DETAIL);
        }
        "object" if map_type.text() != "atomic" => problems.invalid(map_type, list_type.value(), DETAIL),
        _ => {}
    }
}

fn map(schema: &Cursor<'_>, keys: &Cursor<'_>, problems: &mut Problems) {
    let items = schema.child("items");
    if keys.is_empty() {
        problems.required(keys, "must not be empty if x-kubernetes-list-type is map");
    }
    if !items.exists() {
        problems.required(items, "must have a schema if x-kubernetes-list-type is map");
        return;
    }
    if items.map().is_none() {
        problems.invalid(
            items,
            items.value(),
            "must only have a single schema if x-kubernetes-list-type is map",
        );
        return;
    }
    let json_type = items.child("type");
    if json_type.text() != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        problems.invalid(json_type, &json_type.text().into(), detail);
        return;
    }
    let properties = items.child("properties");
    let mut seen = BTreeSet::new();
    for key in keys.list().iter().filter_map(Value::as_str) {
        let field = properties.key(key);
        if !field.exists() {
            problems.invalid(keys, keys.value(), "entries must all be names of item properties");
        } else if matches!(field.child("type").text(), "array" | "object") {
            let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            problems.invalid(field.child("type"), json_type.value(), detail);
        }
        if !seen.insert(key) {
            problems.invalid(keys, keys.value(), "must not contain duplicate entries");
        }
    }
}

/// Elements of sets and maps are never null, and neither are the keys of the latter, which are always there.
fn elements_are_there(schema: &Cursor<'_>, keys: &Cursor<'_>, problems: &mut Problems) {
    let (items, list_type) = (schema.child("items"), schema.child("x-kubernetes-list-type"));
    let nullable = items.child("nullable");
    if nullable.is_true() {
        let detail = format!("cannot be nullable when x-kubernetes-list-type is {}", list_type.text());
        problems.forbidden(nullable, &detail);
    }
    if list_type.text() != "map" {
        return;
    }
    let (properties, required) = (items.child("properties"), items.child("required"));
    for key in keys.list().iter().filter_map(Value::as_str) {
        let field = properties.key(key);
        if !field.exists() {
            continue;
        }
        if !required.list().iter().any(|name| name == key) && !field.child("default").exists() {
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required \
                          property";
            problems.required(field.child("default"), detail);
        }
        if field.child("nullable").is_true() {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            problems.forbidden(field.child("nullable"), detail);
        }
    }
}
