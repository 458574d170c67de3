//! Types from JSON schemas, as Kubernetes sizes them: enough for the tests.

use std::sync::Arc;

use berth_cel::{ListKind, ListType, MapType, ObjectType, Type};
use berth_json::{Text, Value};

/// The most bytes of a request.
const REQUEST_MAX: u64 = 3 << 20;

/// The type of a schema, and the fewest bytes that a value of it has.
pub(crate) fn declared(name: &str, schema: &Value) -> (Type, u64) {
    let number = |key: &str| schema[key].as_u64();
    if schema["x-kubernetes-int-or-string"] == true {
        return (Type::Dyn(Some(number("maxLength").map_or(REQUEST_MAX - 2, |max| max * 4))), 1);
    }
    match schema["type"].as_str().unwrap_or_default() {
        "boolean" => (Type::Bool, 4),
        "integer" => (Type::Int, 1),
        "number" => (Type::Double, 1),
        "array" => {
            let (element, least) = declared(&format!("{name}.@idx"), &schema["items"]);
            let max_items = Some(number("maxItems").unwrap_or((REQUEST_MAX - 2) / (least + 1)));
            let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
            let kind = match schema["x-kubernetes-list-type"].as_str() {
                Some("set") => ListKind::Set,
                Some("map") => ListKind::Map(keys.filter_map(Value::as_str).map(Text::new).collect()),
                _ => ListKind::Atomic,
            };
            (Type::List(Arc::new(ListType { element, max_items, kind })), 2)
        }
        "object" if schema["additionalProperties"].is_object() => {
            let (value, least) = declared(&format!("{name}.@elem"), &schema["additionalProperties"]);
            let max_properties = Some(number("maxProperties").unwrap_or((REQUEST_MAX - 2) / (least + 6)));
            (Type::Map(Arc::new(MapType { key: Type::String(Some(0)), value, max_properties })), 2)
        }
        "object" => {
            let required: Vec<_> = schema["required"].as_array().into_iter().flatten().collect();
            let mut least = 2;
            let mut fields = Vec::new();
            for (key, property) in schema["properties"].as_object().into_iter().flatten() {
                let (value, size) = declared(&format!("{name}.{key}"), property);
                if required.iter().any(|name| **name == key.as_str()) {
                    least += key.len() as u64 + size + 4;
                }
                fields.push((key.clone(), value));
            }
            (Type::Object(Arc::new(ObjectType::new(name, fields))), least)
        }
        _ => match schema["format"].as_str() {
            Some("byte") => (Type::Bytes(Some(number("maxLength").unwrap_or(REQUEST_MAX - 2))), 2),
            Some("duration") => (Type::Duration, 3),
            Some("date") => (Type::Date, 12),
            Some("date-time") => (Type::Timestamp, 21),
            _ => {
                let longest = schema["enum"].as_array().map(|values| {
                    values.iter().filter_map(Value::as_str).map(|text| text.len() as u64).max().unwrap_or(0)
                });
                let max = number("maxLength").map(|max| max * 4).or(longest).unwrap_or(REQUEST_MAX - 2);
                (Type::String(Some(max)), 2)
            }
        },
    }
}
