//! Reading and filling in objects that are `berth_json::Value`s.

use std::collections::BTreeSet;

use berth_json::Value;

use crate::table;
use crate::time::Timestamp;

/// The value at a dotted path of object keys, e.g. `spec.nodeName`; `None` when any step is absent or null.
pub fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(object, |value, key| value.get(key)).filter(|value| !value.is_null())
}

/// The string at a dotted path; empty when absent.
pub fn str_at<'a>(object: &'a Value, path: &str) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}

/// For each item, whether an earlier one has the same key. Lists may be as long as a body, so nothing is compared twice.
pub(super) fn repeats<'a, K: Ord>(items: &'a [Value], key: impl Fn(&'a Value) -> K) -> Vec<bool> {
    let mut seen = BTreeSet::new();
    items.iter().map(|item| !seen.insert(key(item))).collect()
}

/// The integer at a dotted path, when there is one.
pub fn int_at(object: &Value, path: &str) -> Option<i64> {
    at(object, path).and_then(Value::as_i64)
}

/// Whether the value at a dotted path is `true`.
pub fn is_true_at(object: &Value, path: &str) -> bool {
    at(object, path).and_then(Value::as_bool) == Some(true)
}

/// The items of the list at a dotted path; empty when absent.
pub fn list_at<'a>(object: &'a Value, path: &str) -> &'a [Value] {
    at(object, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `metadata.name`.
pub fn name(object: &Value) -> &str {
    str_at(object, "metadata.name")
}

/// How long ago the object was created, as kubectl shows it; `<unknown>` without a creation time.
pub fn age(object: &Value, now: Timestamp) -> String {
    since(str_at(object, "metadata.creationTimestamp"), now)
}

/// How long ago `time` (RFC 3339) was, as kubectl shows it; `<unknown>` when it is empty or no time.
pub fn since(time: &str, now: Timestamp) -> String {
    table::age(Some(time), now)
}

/// Makes field `key` of `new` what it is in `old`, absent included.
pub fn copy_field(new: &mut Value, old: &Value, key: &str) {
    let Some(fields) = new.as_object_mut() else { return };
    match old.get(key) {
        Some(value) => {
            fields.insert(key.to_owned(), value.clone());
        }
        None => {
            fields.remove(key);
        }
    }
}
