//! Filling in what a client left out.

use berth_json::{Map, Value};

/// The object at `key` of `object`, made when absent; `None` when `object` is no object or something else is there.
pub(super) fn object_at<'a>(object: &'a mut Value, key: &str) -> Option<&'a mut Map> {
    let slot = object.as_object_mut()?.entry(key).or_insert(Value::Null);
    if slot.is_null() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut()
}

/// Sets an absent field. For fields whose zero value means something (pointers in Go).
pub(super) fn absent(object: &mut Map, key: &str, value: impl Into<Value>) {
    if object.get(key).is_none_or(Value::is_null) {
        object.insert(key.to_owned(), value.into());
    }
}

/// Sets a field that is absent, `""` or `0`: for these fields the API sees no difference.
pub(super) fn zero(object: &mut Map, key: &str, value: impl Into<Value>) {
    let is_zero = match object.get(key) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        Some(_) => false,
    };
    if is_zero {
        object.insert(key.to_owned(), value.into());
    }
}

/// The objects in the list at `key`.
pub(super) fn each<'a>(object: &'a mut Map, key: &str) -> impl Iterator<Item = &'a mut Map> + use<'a> {
    object.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// The object at `key`, when there is one.
pub(super) fn part<'a>(object: &'a mut Map, key: &str) -> Option<&'a mut Map> {
    object.get_mut(key).and_then(Value::as_object_mut)
}
