//! From an object to the bytes of an answer in protobuf or YAML.

use serde_json::Value;

use crate::schema::Schema;

/// Encodes an object (or a list of a built-in kind) as `application/vnd.kubernetes.protobuf`: the magic `k8s\0` and a
/// `runtime.Unknown`. `None` when its `apiVersion` and `kind` have no type in the schema (then JSON is the answer).
pub fn protobuf(schema: &Schema, object: &Value) -> Option<Vec<u8>> {
    unimplemented!()
}

/// Encodes a value as one YAML document, keys sorted, as `application/yaml`.
pub fn yaml(value: &Value) -> String {
    unimplemented!()
}
