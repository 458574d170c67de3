//! The types of CEL that a schema declares, with the sizes that costs are estimated by.

use std::sync::Arc;

use berth_cel::{ListKind, ListType, MapType, ObjectType, Type};
use berth_json::{Text, Value};

use crate::formats::{Format, FormatKind, TextFormat};
use crate::structural::{Additional, JsonType, Structural, is_meta_field};

/// The largest body of a request, by which Kubernetes reckons what is not bounded otherwise.
pub(super) const REQUEST_BYTES_MAX: u64 = 3 * 1024 * 1024;

/// The least that values take in JSON.
const TEXT_BYTES_MIN: u64 = 2;
const BOOL_BYTES_MIN: u64 = 4;
const NUMBER_BYTES_MIN: u64 = 1;
const DURATION_BYTES_MIN: u64 = 3;
const DATE_BYTES: u64 = 12;
const DATE_TIME_BYTES_MIN: u64 = 21;
const COLLECTION_BYTES_MIN: u64 = 2;
/// A letter may take four bytes.
const LETTER_BYTES_MAX: u64 = 4;

/// The type of a place, and the least that its values take in JSON; none where nothing is known. `is_root` says that it is
/// a whole object.
pub(super) fn declared(schema: &Structural, is_root: bool) -> Option<(Type, u64)> {
    let checks = schema.checks.as_deref();
    let max_length = checks.and_then(|checks| checks.max_length);
    if schema.int_or_string {
        let max = max_length.map_or(REQUEST_BYTES_MAX - 2, |max| max.saturating_mul(LETTER_BYTES_MAX));
        return Some((Type::Dyn(Some(max)), 1));
    }
    Some(match schema.json_type? {
        JsonType::Boolean => (Type::Bool, BOOL_BYTES_MIN),
        JsonType::Integer => (Type::Int, NUMBER_BYTES_MIN),
        JsonType::Number => (Type::Double, NUMBER_BYTES_MIN),
        JsonType::String => text(schema, max_length),
        JsonType::Array => {
            let items = schema.items.as_ref()?;
            let (element, bytes) = declared(items, items.embedded)?;
            let bounded = checks.and_then(|checks| checks.max_items);
            let max_items = Some(bounded.unwrap_or((REQUEST_BYTES_MAX - 2) / (bytes + 1)));
            let list = ListType { element, max_items, kind: list_kind(schema) };
            (Type::List(Arc::new(list)), COLLECTION_BYTES_MIN)
        }
        JsonType::Object => match &schema.additional {
            Additional::Schema(others) => {
                let (value, bytes) = declared(others, others.embedded)?;
                let bounded = checks.and_then(|checks| checks.max_properties);
                let max_properties = Some(bounded.unwrap_or((REQUEST_BYTES_MAX - 2) / (bytes + 6)));
                let map = MapType { key: Type::STRING, value, max_properties };
                (Type::Map(Arc::new(map)), COLLECTION_BYTES_MIN)
            }
            _ => object(schema, is_root),
        },
    })
}

fn text(schema: &Structural, max_length: Option<u64>) -> (Type, u64) {
    let checks = schema.checks.as_deref();
    let format = match checks.and_then(|checks| checks.format.as_ref()) {
        Some(Format { kind: FormatKind::Text(format), .. }) => Some(*format),
        _ => None,
    };
    let of_any_length = REQUEST_BYTES_MAX - 2;
    match format {
        Some(TextFormat::Byte) => (Type::Bytes(Some(max_length.unwrap_or(of_any_length))), TEXT_BYTES_MIN),
        Some(TextFormat::Duration) => (Type::Duration, DURATION_BYTES_MIN),
        Some(TextFormat::Date) => (Type::Date, DATE_BYTES),
        Some(TextFormat::DateTime) => (Type::Timestamp, DATE_TIME_BYTES_MIN),
        _ => {
            let listed = checks.map(|checks| checks.enumeration.as_slice()).unwrap_or_default();
            let longest = listed.iter().filter_map(Value::as_str).map(str::len).max();
            let max = match max_length {
                Some(max) => max.saturating_mul(LETTER_BYTES_MAX),
                None if listed.is_empty() => of_any_length,
                None => longest.unwrap_or_default() as u64,
            };
            (Type::String(Some(max)), TEXT_BYTES_MIN)
        }
    }
}

fn object(schema: &Structural, is_root: bool) -> (Type, u64) {
    let mut bytes = COLLECTION_BYTES_MIN;
    let mut fields: Vec<(Text, Type)> = Vec::with_capacity(schema.properties.len());
    let required = schema.checks.as_ref().map(|checks| checks.required.as_slice()).unwrap_or_default();
    for (name, field) in schema.properties.iter().filter(|(name, _)| !is_root || !is_meta_field(name)) {
        let Some((declared, least)) = declared(field, field.embedded) else { continue };
        if required.contains(name) && field.default.is_none() {
            bytes += name.len() as u64 + least + 4;
        }
        fields.push((name.clone(), declared));
    }
    if is_root {
        let text = || Type::String(Some(REQUEST_BYTES_MAX - 2));
        let names = [("name".into(), text()), ("generateName".into(), text())];
        fields.push(("apiVersion".into(), text()));
        fields.push(("kind".into(), text()));
        fields.push(("metadata".into(), Type::Object(Arc::new(ObjectType::new("object", names)))));
    }
    (Type::Object(Arc::new(ObjectType::new("object", fields))), bytes)
}

fn list_kind(schema: &Structural) -> ListKind {
    match &schema.list {
        crate::structural::ListType::Atomic => ListKind::Atomic,
        crate::structural::ListType::Set => ListKind::Set,
        crate::structural::ListType::Map(keys) => ListKind::Map(keys.clone()),
    }
}
