//! Sets have no value twice, and lists of objects told apart by keys no two with the same ones.

use std::collections::HashMap;

use berth_api::Problems;
use berth_json::{Map, Text, Value};

use crate::path::Path;
use crate::structural::{Additional, ListType, Structural};

/// Tells of each value and each key that stands in a set or a list of objects a second time.
pub(super) fn validate(schema: &Structural, value: &Value, path: &Path<'_>, problems: &mut Problems) {
    if !schema.within.told_apart {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let Some(place) = schema.properties.get(name) {
                    validate(place, value, &Path::Field(path, name), problems);
                } else if let Additional::Schema(place) = &schema.additional {
                    validate(place, value, &Path::Key(path, name), problems);
                }
            }
        }
        Value::Array(elements) => {
            match &schema.list {
                ListType::Atomic => {}
                ListType::Set => twice(elements.iter().cloned(), path, problems),
                ListType::Map(keys) => map(keys, elements, path, problems),
            }
            let Some(items) = &schema.items else { return };
            let at = elements.iter().enumerate();
            at.for_each(|(at, element)| validate(items, element, &Path::Index(path, at), problems));
        }
        _ => {}
    }
}

fn map(keys: &[Text], elements: &[Value], path: &Path<'_>, problems: &mut Problems) {
    let stranger = elements.iter().position(|element| !element.is_null() && !element.is_object());
    if let Some(at) = stranger {
        let detail = "must be an object for an array of list-type map";
        problems.invalid(Path::Index(path, at).bracketed(), &elements[at], detail);
        return;
    }
    twice(elements.iter().map(|element| keys_of(keys, element)), path, problems);
}

/// The keys of an element, with their values; those that it has not are left out.
pub(super) fn keys_of(keys: &[Text], element: &Value) -> Value {
    let found = keys.iter().filter_map(|key| element.get(key).map(|value| (key.clone(), value.clone())));
    Value::Object(found.collect::<Map>())
}

/// Tells of what is there twice, at the second place.
fn twice(values: impl ExactSizeIterator<Item = Value>, path: &Path<'_>, problems: &mut Problems) {
    if values.len() < 2 {
        return;
    }
    let mut times: HashMap<String, usize> = HashMap::new();
    for (at, value) in values.enumerate() {
        let seen = times.entry(value.to_string()).or_default();
        *seen += 1;
        if *seen == 2 {
            problems.duplicate(Path::Index(path, at).bracketed(), &value);
        }
    }
}
