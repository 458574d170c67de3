//! The first look into a body: `apiVersion` and `kind`, and nothing else of it is kept.

use std::fmt;

use berth_json::{Text, Value};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{TypeMeta, syntax};

/// The type into which the API server first looks: its errors print it.
const META_STRUCT: &str = "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; \
                           Kind string \"json:\\\"kind,omitempty\\\"\" }";

/// What an object says of itself.
pub(super) fn of(value: &Value) -> TypeMeta {
    let mut meta = TypeMeta::default();
    for (key, value) in value.as_object().into_iter().flatten() {
        if let Some(text) = value.as_str() {
            meta.take(key, text);
        }
    }
    meta
}

/// What a JSON body says of itself.
///
/// # Errors
/// Go's words for what is no JSON, or no object.
pub(super) fn of_json(body: &[u8]) -> Result<TypeMeta, String> {
    if let Some(error) = syntax::error(body) {
        return Err(error);
    }
    let found = match body.trim_ascii_start().first() {
        Some(b'{' | b'n') | None => None,
        Some(b'[') => Some("array"),
        Some(b'"') => Some("string"),
        Some(b't' | b'f') => Some("bool"),
        Some(_) => Some("number"),
    };
    match found {
        Some(found) => Err(no_object(found)),
        None => serde_json::from_slice(body).map_err(|error| error.to_string()),
    }
}

/// What a body of another form is told.
pub(super) fn no_object(found: &str) -> String {
    format!("json: cannot unmarshal {found} into Go value of type {META_STRUCT}")
}

impl TypeMeta {
    fn has(key: &str) -> bool {
        key.eq_ignore_ascii_case("kind") || key.eq_ignore_ascii_case("apiVersion")
    }

    fn take(&mut self, key: &str, text: &str) {
        if key.eq_ignore_ascii_case("kind") {
            text.clone_into(&mut self.kind);
        } else if key.eq_ignore_ascii_case("apiVersion") {
            text.clone_into(&mut self.api_version);
        }
    }
}

impl<'de> Deserialize<'de> for TypeMeta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Words)
    }
}

struct Words;

impl<'de> Visitor<'de> for Words {
    type Value = TypeMeta;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<TypeMeta, E> {
        Ok(TypeMeta::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<TypeMeta, A::Error> {
        let mut meta = TypeMeta::default();
        while let Some(key) = access.next_key::<Text>()? {
            if !TypeMeta::has(&key) {
                access.next_value::<IgnoredAny>()?;
                continue;
            }
            let raw: &RawValue = access.next_value()?;
            // Anything but a string is not told here: reading the object tells it better.
            if let Ok(text) = serde_json::from_str::<String>(raw.get()) {
                meta.take(&key, &text);
            }
        }
        Ok(meta)
    }
}
