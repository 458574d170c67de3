//! Protobuf answers, driven by the schema table.
//!
//! The bytes are those of Go's generated code: fields in the order of their numbers, and a value that is no pointer is
//! written even when it is zero.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use berth_json::{Map, Value};

use crate::decode::protobuf::MAGIC;
use crate::decode::scalar;
use crate::schema::{Field, Schema, Shape, Type, ValueKind};
use crate::time::Timestamp;

/// Encodes an object (or a list of a built-in kind) as `application/vnd.kubernetes.protobuf`: the magic `k8s\0` and a
/// `runtime.Unknown`.
///
/// `None` when its `apiVersion` and `kind` have no type in the schema that travels in protobuf; JSON is the answer then.
pub fn protobuf(schema: &Schema, object: &Value) -> Option<Vec<u8>> {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let (api_version, kind) = (text("apiVersion")?, text("kind")?);
    let root =
        schema.of_kind(api_version, kind).filter(|root| root.fields.iter().any(|field| field.number > 0))?;
    let mut meta = Message::default();
    meta.bytes(1, api_version.as_bytes());
    meta.bytes(2, kind.as_bytes());
    let mut unknown = Message(MAGIC.to_vec());
    unknown.bytes(1, &meta.0);
    unknown.bytes(2, &message(schema, root, object.as_object()?).0);
    unknown.bytes(3, b"");
    unknown.bytes(4, b"");
    Some(unknown.0)
}

#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn integer(&mut self, number: u32, value: i64) {
        self.varint(u64::from(number) << 3);
        self.varint(value as u64);
    }

    fn double(&mut self, number: u32, value: f64) {
        self.varint(u64::from(number) << 3 | 1);
        self.0.extend(value.to_bits().to_le_bytes());
    }

    fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.varint(u64::from(number) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }
}

fn message(schema: &Schema, parent: &Type, object: &Map) -> Message {
    let mut fields: Vec<&Field> = parent.fields.iter().filter(|field| field.number > 0).collect();
    fields.sort_by_key(|field| field.number);
    let mut out = Message::default();
    for field in fields {
        match (field.inline, field.kind) {
            (true, ValueKind::Struct(id)) => {
                out.bytes(field.number, &message(schema, schema.get(id), object).0)
            }
            _ => write(schema, field, object.get(&field.name).unwrap_or(&Value::Null), &mut out),
        }
    }
    out
}

fn write(schema: &Schema, field: &Field, value: &Value, out: &mut Message) {
    match (field.shape, value) {
        (Shape::List, Value::Array(values)) => {
            values.iter().for_each(|one| single(schema, field, one, field.number, out))
        }
        (Shape::Map, Value::Object(entries)) => {
            for (key, value) in entries {
                let mut entry = Message::default();
                entry.bytes(1, key.as_bytes());
                single(schema, field, value, 2, &mut entry);
                out.bytes(field.number, &entry.0);
            }
        }
        (Shape::Single, Value::Null) if field.pointer => {}
        (Shape::Single, value) => single(schema, field, value, field.number, out),
        (Shape::List | Shape::Map, _) => {}
    }
}

/// One value; null is the zero value.
fn single(schema: &Schema, field: &Field, value: &Value, number: u32, out: &mut Message) {
    let text = value.as_str().unwrap_or_default();
    match field.kind {
        ValueKind::String => out.bytes(number, text.as_bytes()),
        ValueKind::Int32 | ValueKind::Int64 => out.integer(number, value.as_i64().unwrap_or_default()),
        ValueKind::Bool => out.integer(number, i64::from(value.as_bool().unwrap_or_default())),
        ValueKind::Float64 => out.double(number, value.as_f64().unwrap_or_default()),
        // Absent bytes are nil in Go, which it does not write.
        ValueKind::Bytes if value.is_null() => {}
        ValueKind::Bytes => out.bytes(number, &STANDARD.decode(text).unwrap_or_default()),
        ValueKind::Strings => {
            let mut list = Message::default();
            for one in value.as_array().into_iter().flatten() {
                list.bytes(1, one.as_str().unwrap_or_default().as_bytes());
            }
            out.bytes(number, &list.0);
        }
        ValueKind::Quantity => {
            let mut quantity = Message::default();
            quantity.bytes(1, if value.is_null() { "0" } else { text }.as_bytes());
            out.bytes(number, &quantity.0);
        }
        ValueKind::Time | ValueKind::MicroTime => out.bytes(number, &time(text).0),
        ValueKind::Duration => {
            let mut duration = Message::default();
            duration.integer(1, scalar::duration_nanos(text).unwrap_or_default());
            out.bytes(number, &duration.0);
        }
        ValueKind::IntOrString => out.bytes(number, &int_or_string(value).0),
        ValueKind::Any | ValueKind::AnyObject | ValueKind::Deduced => {
            let mut raw = Message::default();
            if !value.is_null() {
                raw.bytes(1, value.to_string().as_bytes());
            }
            out.bytes(number, &raw.0);
        }
        ValueKind::Struct(id) => {
            let empty = Map::new();
            out.bytes(number, &message(schema, schema.get(id), value.as_object().unwrap_or(&empty)).0);
        }
    }
}

/// Seconds and nanoseconds; nothing for Go's zero time.
fn time(text: &str) -> Message {
    let mut out = Message::default();
    if let Some(moment) = Timestamp::parse(text) {
        out.integer(1, moment.seconds());
        out.integer(2, moment.micros().rem_euclid(1_000_000) * 1000);
    }
    out
}

fn int_or_string(value: &Value) -> Message {
    let mut out = Message::default();
    out.integer(1, i64::from(value.is_string()));
    out.integer(2, value.as_i64().unwrap_or_default());
    out.bytes(3, value.as_str().unwrap_or_default().as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use berth_json::{Value, json};
    use proptest::prelude::*;

    use super::protobuf;
    use crate::decode::{Expected, MediaType, decode};
    use crate::schema::Schema;

    fn back(api_version: &str, kind: &str, bytes: &[u8]) -> Value {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let schema_type = &Schema::builtin().of_kind(api_version, kind).unwrap().name;
        let expected = Expected { group, version, kind, schema_type };
        decode(Schema::builtin(), expected, MediaType::Protobuf, bytes).unwrap().value
    }

    #[test]
    fn the_bytes_of_client_go() {
        for body in [
            "azhzAAoPCgJ2MRIJQ29uZmlnTWFwEiwKEQoBbRIAGgAiACoAMgA4AEIAEgYKAWESATESDwoBYhIKw6TDtsO8IOKckxoAIgA=",
            "azhzAAoMCgJ2MRIGU2VjcmV0EicKEwoDc2VjEgAaACIAKgAyADgAQgASCAoBYRIDAAH/GgZPcGFxdWUaACIA",
            "azhzAAofChZjb29yZGluYXRpb24uazhzLmlvL3YxEgVMZWFzZRIlChEKAWwSABoAIgAqADIAOABCABIQCgFoEA8iCQil+s2sBhDYNhoAIgA=",
            "azhzAAoNCgJ2MRIHU2VydmljZRJbChEKAXMSABoAIgAqADIAOABCABJCChQKAWESABhQIgkIARAAGgN3ZWIoAAoSCgFiEgAYUSIHCAAQkT8aACgAEgYKAWESAWIaACIAOgBCAFIAWgBgAGgAGgIKABoAIgA=",
            "azhzAAoVCgdhcHBzL3YxEgpEZXBsb3ltZW50ErMBChEKAXcSABoAIgAqADIAOABCABKPAQgAEgoKCAoDYXBwEgFhGncKGgoAEgAaACIAKgAyADgAQgBaCAoDYXBwEgFhElkSOwoBYxIWcmVnaXN0cnkuZXhhbXBsZS9hcHA6MSoAMgoKABAAGFAiACoAQgBqAHIAgAEAiAEAkAEAogEAGgAyAEIASgBSAFgAYABoAIIBAIoBAJoBAMIBACICCgAoADgAGgwIABAAGAAgACgAOAAaACIA",
        ] {
            let bytes = STANDARD.decode(body).unwrap();
            let kind = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
            let (api_version, kind) = [
                ("v1", "ConfigMap"),
                ("v1", "Secret"),
                ("coordination.k8s.io/v1", "Lease"),
                ("v1", "Service"),
                ("apps/v1", "Deployment"),
            ]
            .into_iter()
            .find(|(_, word)| kind(word))
            .unwrap();
            let object = back(api_version, kind, &bytes);
            assert_eq!(STANDARD.encode(protobuf(Schema::builtin(), &object).unwrap()), body, "{kind}");
        }
    }

    #[test]
    fn kinds_without_numbers_and_lists() {
        let plugin = json!({"apiVersion": "berth.dev/v1alpha1", "kind": "Plugin", "metadata": {"name": "p"}});
        assert_eq!(protobuf(Schema::builtin(), &plugin), None);
        assert_eq!(protobuf(Schema::builtin(), &json!({"apiVersion": "v1", "kind": "Nothing"})), None);
        let list = json!({
            "apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "5"},
            "items": [{"metadata": {"name": "m"}, "data": {"a": "1"}}],
        });
        let bytes = protobuf(Schema::builtin(), &list).unwrap();
        assert_eq!(back("v1", "ConfigMapList", &bytes), list);
        let meta = json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "m"},
        });
        assert_eq!(
            back("meta.k8s.io/v1", "PartialObjectMetadata", &protobuf(Schema::builtin(), &meta).unwrap()),
            meta
        );
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            name in "[a-z]{1,8}", labels in proptest::collection::btree_map("[a-z]{1,4}", "[a-z]{0,4}", 1..4),
            replicas in any::<i32>(), port in 1..65_536_i64, cpu in 1..100_000_i64, probe in proptest::option::of("[a-z]{1,8}"),
        ) {
            let mut container = json!({
                "name": "c", "ports": [{"containerPort": port}],
                "resources": {"limits": {"cpu": crate::Quantity::from_milli(cpu).to_string()}},
            });
            if let Some(path) = probe {
                container["livenessProbe"] = json!({"httpGet": {"path": path, "port": "web"}, "periodSeconds": 3});
            }
            let object = json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels},
                "spec": {
                    "replicas": replicas, "strategy": {},
                    "template": {"metadata": {}, "spec": {"containers": [container], "volumes": [{"name": "v", "emptyDir": {}}]}},
                },
                "status": {},
            });
            let bytes = protobuf(Schema::builtin(), &object).unwrap();
            prop_assert_eq!(back("apps/v1", "Deployment", &bytes), object);
        }
    }
}
