//! Which part of the old object is what a part of the new one was.

use std::collections::HashMap;

use berth_json::{Text, Value};

use super::lists::keys_of;
use crate::structural::{ListType, Structural};

/// The elements of an old list by their keys, to find what an element was.
pub(crate) struct OldElements<'v> {
    by_keys: HashMap<String, &'v Value>,
    keys: &'v [Text],
}

impl<'v> OldElements<'v> {
    /// None when elements of the list cannot be told apart, or there was no list.
    pub(crate) fn of(schema: &'v Structural, old: Option<&'v Value>) -> Option<Self> {
        let (ListType::Map(keys), Some(Value::Array(elements))) = (&schema.list, old) else { return None };
        let mut by_keys = HashMap::with_capacity(elements.len());
        for element in elements.iter().filter(|element| element.is_object()) {
            by_keys.entry(keys_of(keys, element).to_string()).or_insert(element);
        }
        Some(Self { by_keys, keys })
    }

    /// What the element with the same keys was.
    pub(crate) fn what_was(&self, element: &Value) -> Option<&'v Value> {
        element.as_object()?;
        self.by_keys.get(&keys_of(self.keys, element).to_string()).copied()
    }
}

/// Whether a part is what it was: lists of objects with keys may be in another order.
pub(crate) fn is_unchanged(schema: &Structural, new: &Value, old: &Value) -> bool {
    if new == old {
        return true;
    }
    match (new, old) {
        (Value::Object(now), Value::Object(before)) => {
            let is_same = |(name, value): (&Text, &Value)| {
                let (Some(place), Some(before)) = (schema.field(name), before.get(name)) else {
                    return false;
                };
                is_unchanged(place, value, before)
            };
            now.len() == before.len() && now.iter().all(is_same)
        }
        (Value::Array(now), Value::Array(before)) if now.len() == before.len() => {
            let Some(items) = &schema.items else { return false };
            let Some(elements) = OldElements::of(schema, Some(old)) else { return false };
            let is_same = |element: &Value| {
                elements.what_was(element).is_some_and(|before| is_unchanged(items, element, before))
            };
            now.iter().all(is_same)
        }
        _ => false,
    }
}
