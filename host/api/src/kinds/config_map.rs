//! `ConfigMap`.

use berth_json::Value;

use super::cursor::Cursor;
use super::meta::{validate_meta, validate_meta_update};
use super::{Names, names};
use crate::column::Column;
use crate::resource::{Kind, Resource, Scope};
use crate::status::Problems;

const NAMES: Names =
    Names { group: "", version: "v1", kind: "ConfigMap", plural: "configmaps", short: &["cm"] };

/// The most bytes the values of a ConfigMap or Secret may have together: what fits into one stored row with room for
/// the rest of the object.
pub(super) const DATA_BYTES_MAX: usize = 1024 * 1024;

pub(super) fn resource() -> Resource {
    super::resource(&NAMES, Scope::Namespaced, ConfigMap)
}

struct ConfigMap;

impl Kind for ConfigMap {
    fn validate(&self, object: &Value, problems: &mut Problems) {
        validate_meta(object, Scope::Namespaced, names::subdomain_1123, problems);
        let (data, binary) = (Cursor::top(object, "data"), Cursor::top(object, "binaryData"));
        let mut bytes = 0;
        for (key, value) in data.entries() {
            validate_key(&value, key, problems);
            if binary.key(key).exists() {
                problems.invalid(value, &key.into(), "duplicate of key present in binaryData");
            }
            bytes += value.text().len();
        }
        for (key, value) in binary.entries() {
            validate_key(&value, key, problems);
            bytes += decoded_length(value.text());
        }
        if bytes > DATA_BYTES_MAX {
            problems.too_long("data", &too_long_detail());
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, problems: &mut Problems) {
        validate_meta_update(new, old, problems);
        validate_immutable(new, old, &["data", "binaryData"], problems);
        self.validate(new, problems);
    }

    fn columns(&self) -> Vec<Column> {
        let entries = |object: &Value, _| count(object, &["data", "binaryData"]).into();
        let data = Column::new("Data", "string", 0, "How many entries the object holds.", entries);
        vec![Column::of_name(), data, Column::of_age()]
    }
}

/// A ConfigMap or Secret marked `immutable` keeps the mark and the `fields`.
pub(super) fn validate_immutable(new: &Value, old: &Value, fields: &[&str], problems: &mut Problems) {
    const DETAIL: &str = "field is immutable when `immutable` is set";
    if !Cursor::top(old, "immutable").is_true() {
        return;
    }
    if !Cursor::top(new, "immutable").is_true() {
        problems.forbidden("immutable", DETAIL);
    }
    for &field in fields {
        if Cursor::top(new, field).value() != Cursor::top(old, field).value() {
            problems.forbidden(field, DETAIL);
        }
    }
}

/// Checks a key of `data`; `at` is its value.
pub(super) fn validate_key(at: &Cursor<'_>, key: &str, problems: &mut Problems) {
    for fault in names::config_key(key) {
        problems.invalid(at, &key.into(), &fault);
    }
}

/// How many bytes a base64 text stands for.
pub(super) fn decoded_length(base64: &str) -> usize {
    base64.trim_end_matches('=').len() * 3 / 4
}

pub(super) fn too_long_detail() -> String {
    format!("may not be more than {DATA_BYTES_MAX} bytes")
}

/// How many entries the maps or lists `fields` have together.
pub(super) fn count(object: &Value, fields: &[&str]) -> usize {
    let entries = |field: &&str| match object.get(*field) {
        Some(Value::Object(map)) => map.len(),
        Some(Value::Array(items)) => items.len(),
        _ => 0,
    };
    fields.iter().map(entries).sum()
}

#[cfg(test)]
mod tests {
    use berth_json::json;

    use super::{ConfigMap, DATA_BYTES_MAX};
    use crate::resource::Kind;
    use crate::status::Problems;

    #[test]
    fn too_much_data_is_said_of_the_data() {
        let metadata = json!({"name": "m", "namespace": "ns"});
        for (bytes, expected) in [
            (DATA_BYTES_MAX, "[]"),
            (DATA_BYTES_MAX + 1, "data: Too long: may not be more than 1048576 bytes"),
        ] {
            let mut problems = Problems::default();
            ConfigMap
                .validate(&json!({"metadata": metadata, "data": {"a": "x".repeat(bytes)}}), &mut problems);
            assert_eq!(problems.text(), expected);
        }
    }
}
