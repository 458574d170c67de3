//! Keys and values of config maps and secrets.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::container::sources::SourceKind;

/// The bytes behind every key.
///
/// # Errors
/// When a value is not base64 where it must be.
pub(crate) fn contents(kind: SourceKind, object: &Value) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut contents = BTreeMap::new();
    let (plain, encoded) = match kind {
        SourceKind::ConfigMap => (&object["data"], &object["binaryData"]),
        SourceKind::Secret => (&Value::Null, &object["data"]),
    };
    for (key, value) in plain.as_object().into_iter().flatten() {
        contents.insert(key.clone(), value.as_str().unwrap_or_default().as_bytes().to_vec());
    }
    for (key, value) in encoded.as_object().into_iter().flatten() {
        let bytes = STANDARD.decode(value.as_str().unwrap_or_default());
        let bytes = bytes.map_err(|error| format!("{} key {key:?} is not base64: {error}", kind.word()))?;
        contents.insert(key.clone(), bytes);
    }
    Ok(contents)
}
