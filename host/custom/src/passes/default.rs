//! Filling in what a schema says stands where nothing does.

use berth_json::{Map, Value};

use crate::structural::{Additional, Structural};
use crate::work::Work;

/// How many places an object may have, those of its defaults included, before nothing more is filled in: so many of even
/// the smallest are more than can be stored.
const PLACES_MAX: u64 = 1_200_000;

/// Fills in defaults, at all levels. A null where none may stand counts as nothing.
pub fn default(schema: &Structural, value: &mut Value) {
    fill(schema, value, &Work::of(PLACES_MAX));
}

/// Defaults may hold lists whose elements have defaults: what is put in is paid for, so that a small object stays one.
fn fill(schema: &Structural, value: &mut Value, work: &Work) {
    if !work.pay(1) {
        return;
    }
    match value {
        Value::Object(fields) => fill_fields(schema, fields, work),
        Value::Array(elements) => {
            let Some(items) = &schema.items else { return };
            for element in elements {
                replace_null(items, element, work);
                fill(items, element, work);
            }
        }
        _ => {}
    }
}

fn fill_fields(schema: &Structural, fields: &mut Map, work: &Work) {
    for (name, place) in &schema.properties {
        let Some(default) = &place.default else { continue };
        let is_absent = fields.get(name).is_none_or(|value| value.is_null() && !place.nullable);
        if is_absent && work.pay(weight(default)) {
            fields.insert(name.clone(), default.clone());
        }
    }
    for (name, value) in fields.iter_mut() {
        if let Some(place) = schema.properties.get(name) {
            fill(place, value, work);
        } else if let Additional::Schema(place) = &schema.additional {
            replace_null(place, value, work);
            fill(place, value, work);
        }
    }
}

/// A null in a list or a map becomes the default of what stands there, if there is one.
fn replace_null(place: &Structural, value: &mut Value, work: &Work) {
    if let Some(default) = place.default.as_ref().filter(|_| value.is_null() && !place.nullable)
        && work.pay(weight(default))
    {
        *value = default.clone();
    }
}

/// How many places a value has; a default is at most as deep as a body.
fn weight(value: &Value) -> usize {
    match value {
        Value::Object(fields) => 1 + fields.values().map(weight).sum::<usize>(),
        Value::Array(elements) => 1 + elements.iter().map(weight).sum::<usize>(),
        _ => 1,
    }
}
