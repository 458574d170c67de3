//! What Go's encoder prints though nobody set it.

use berth_json::{Map, Value};

use super::scalar;
use super::walk::is_omitted;
use crate::schema::{Field, Schema, Shape, Type, ValueKind};

/// Gives an object the shape in which the API server answers it: structs that are no pointers are there even when they
/// are empty (`status: {}`), fields that are never left out have their zero value, empty optional ones are gone.
///
/// Defaulting and validation are simpler without, so it comes last, before the object is stored.
pub fn complete(schema: &Schema, schema_type: &str, object: &mut Value) {
    if let (Some(root), Value::Object(fields)) = (schema.named(schema_type), object) {
        structure(schema, root, fields);
    }
}

fn structure(schema: &Schema, parent: &Type, fields: &mut Map) {
    fields.retain(|name, value| match schema.field(parent, name) {
        Some(field) if is_omitted(field, value) => false,
        Some(field) => {
            present(schema, field, value);
            true
        }
        None => true,
    });
    for field in schema.printed_unset(parent) {
        if !fields.contains_key(&field.name) {
            fields.insert(field.name.to_string(), unset(schema, field));
        }
    }
}

fn present(schema: &Schema, field: &Field, value: &mut Value) {
    let ValueKind::Struct(id) = field.kind else { return };
    let inner = schema.get(id);
    let visit = |value: &mut Value| {
        if let Value::Object(fields) = value {
            structure(schema, inner, fields);
        }
    };
    match (field.shape, value) {
        (Shape::Single, value) => visit(value),
        (Shape::List, Value::Array(values)) => values.iter_mut().for_each(visit),
        (Shape::Map, Value::Object(entries)) => entries.values_mut().for_each(visit),
        _ => {}
    }
}

/// What Go's encoder prints for a field that nobody set.
fn unset(schema: &Schema, field: &Field) -> Value {
    match (field.shape, field.kind) {
        _ if field.pointer => Value::Null,
        (Shape::Single, ValueKind::Struct(id)) => {
            let mut inner = Map::new();
            structure(schema, schema.get(id), &mut inner);
            inner.into()
        }
        (Shape::Single, kind) => scalar::zero(kind),
        (Shape::List | Shape::Map, _) => Value::Null,
    }
}
