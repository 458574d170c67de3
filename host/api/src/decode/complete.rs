//! What Go's encoder prints though nobody set it.

use serde_json::{Map, Value};

use super::scalar;
use super::walk::is_omitted;
use crate::schema::{Field, Kind, Schema, Shape, Type};

/// Gives an object the shape in which the API server answers it: structs that are no pointers are there even when they
/// are empty (`status: {}`), fields that are never left out have their zero value, empty optional ones are gone.
///
/// Defaulting and validation are simpler without, so it comes last, before the object is stored.
pub fn complete(schema: &Schema, schema_type: &str, object: &mut Value) {
    if let (Some(root), Value::Object(fields)) = (schema.named(schema_type), object) {
        structure(schema, root, fields);
    }
}

fn structure(schema: &Schema, parent: &Type, fields: &mut Map<String, Value>) {
    for field in schema.json_fields(parent) {
        match fields.get_mut(&*field.name) {
            None | Some(Value::Null) => absent(schema, parent, field, fields),
            Some(value) if is_omitted(field, value) => {
                fields.remove(&*field.name);
            }
            Some(value) => present(schema, field, value),
        }
    }
}

fn present(schema: &Schema, field: &Field, value: &mut Value) {
    let Kind::Struct(id) = field.kind else { return };
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

fn absent(schema: &Schema, parent: &Type, field: &Field, fields: &mut Map<String, Value>) {
    let value = match (field.shape, field.kind) {
        _ if field.pointer => (!field.omit_empty).then_some(Value::Null),
        (Shape::Single, Kind::Struct(id)) => {
            let mut inner = Map::new();
            structure(schema, schema.get(id), &mut inner);
            Some(inner.into())
        }
        // The one time that Go's encoder leaves out (`omitzero`).
        (Shape::Single, Kind::Time) if &*parent.name == "meta.v1.ObjectMeta" => None,
        (Shape::Single, Kind::Time | Kind::MicroTime) => Some(Value::Null),
        (Shape::Single, Kind::Quantity | Kind::IntOrString | Kind::Duration) => {
            Some(scalar::zero(field.kind))
        }
        (Shape::Single, Kind::AnyObject | Kind::Any) => (!field.omit_empty).then_some(Value::Null),
        _ if field.omit_empty => None,
        (Shape::Single, kind) => Some(scalar::zero(kind)),
        (Shape::List | Shape::Map, _) => Some(Value::Null),
    };
    match value {
        Some(value) => {
            fields.insert(field.name.to_string(), value);
        }
        None => {
            fields.remove(&*field.name);
        }
    }
}
