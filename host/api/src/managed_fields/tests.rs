//! Cases as a real API server answers them.

use berth_json::{Value, json};
use proptest::prelude::*;

use super::{UPDATE_MANAGERS_MAX, Writer, compare, created, record_update};
use crate::decode::complete;
use crate::schema::{Field, Schema, Shape, Type, ValueKind};
use crate::time::Timestamp;

fn write(schema_type: &str, new: Value, old: Option<&Value>, manager: &str, second: i64) -> Value {
    let mut new = new;
    let writer = Writer { manager, api_version: "v1", subresource: "", now: Timestamp::from_seconds(second) };
    complete(Schema::builtin(), schema_type, &mut new);
    if let Some(managers) = record_update(Schema::builtin(), schema_type, &mut new, old, writer) {
        managers.put_into(&mut new);
    }
    new
}

fn entries(object: &Value) -> &Vec<Value> {
    object["metadata"]["managedFields"].as_array().unwrap()
}

#[test]
fn a_created_deployment() {
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w", "uid": "u"},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "progressDeadlineSeconds": 600,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
            "template": {
                "metadata": {"labels": {"app": "a"}},
                "spec": {
                    "containers": [{"name": "c", "ports": [{"containerPort": 80, "protocol": "TCP"}]}],
                    "securityContext": {},
                },
            },
        },
    });
    let written = write("apps.v1.Deployment", deployment, None, "golden", 0);
    assert_eq!(
        entries(&written),
        json!([{
            "manager": "golden", "operation": "Update", "apiVersion": "v1", "time": "1970-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {
                "f:progressDeadlineSeconds": {}, "f:replicas": {}, "f:selector": {},
                "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}}, "f:type": {}},
                "f:template": {
                    "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                    "f:spec": {
                        "f:containers": {"k:{\"name\":\"c\"}": {
                            ".": {}, "f:name": {},
                            "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {
                                ".": {}, "f:containerPort": {}, "f:protocol": {},
                            }},
                            "f:resources": {},
                        }},
                        "f:securityContext": {},
                    },
                },
            }},
        }])
        .as_array()
        .unwrap()
    );
}

fn config_map(metadata: Value, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
}

#[test]
fn ownership_moves_with_the_value() {
    let metadata = json!({"name": "m", "labels": {"x": "1"}, "finalizers": ["f/a"]});
    let first = write("core.v1.ConfigMap", config_map(metadata, json!({"a": "1", "b": "2"})), None, "one", 0);
    assert_eq!(
        entries(&first)[0]["fieldsV1"],
        json!({
            "f:data": {".": {}, "f:a": {}, "f:b": {}},
            "f:metadata": {"f:finalizers": {".": {}, "v:\"f/a\"": {}}, "f:labels": {".": {}, "f:x": {}}},
        })
    );
    let mut changed = first.clone();
    changed["data"] = json!({"a": "1", "b": "9", "c": "3"});
    changed["metadata"]["labels"] = json!(null);
    let second = write("core.v1.ConfigMap", changed, Some(&first), "two", 5);
    let sets: Vec<(&Value, &Value)> =
        entries(&second).iter().map(|entry| (&entry["manager"], &entry["fieldsV1"])).collect();
    assert_eq!(
        sets,
        [
            (
                &json!("one"),
                &json!({"f:data": {".": {}, "f:a": {}}, "f:metadata": {"f:finalizers": {".": {}, "v:\"f/a\"": {}}}})
            ),
            (&json!("two"), &json!({"f:data": {"f:b": {}, "f:c": {}}})),
        ]
    );
    let unchanged = write("core.v1.ConfigMap", second.clone(), Some(&second), "three", 9);
    assert_eq!(unchanged, second);
}

#[test]
fn what_clients_send() {
    let first =
        write("core.v1.ConfigMap", config_map(json!({"name": "m"}), json!({"a": "1"})), None, "one", 0);
    let mut forgotten = first.clone();
    forgotten["metadata"]["managedFields"].take();
    assert_eq!(write("core.v1.ConfigMap", forgotten, Some(&first), "two", 1), first);
    for cleared in [json!([]), json!([{}])] {
        let mut object = first.clone();
        object["metadata"]["managedFields"] = cleared;
        let written = write("core.v1.ConfigMap", object, Some(&first), "two", 1);
        assert_eq!(written["metadata"].get("managedFields"), None);
    }
    let own = json!([{
        "manager": "golden-m", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {}},
    }]);
    let sent = config_map(json!({"name": "m", "managedFields": own}), json!(null));
    assert_eq!(entries(&write("core.v1.ConfigMap", sent, None, "one", 0)), own.as_array().unwrap());
    let wrong = config_map(
        json!({"name": "m", "managedFields": [{"manager": "x", "operation": "Bogus"}]}),
        json!(null),
    );
    assert_eq!(write("core.v1.ConfigMap", wrong, None, "one", 0)["metadata"].get("managedFields"), None);
}

#[test]
fn the_list_is_bounded() {
    let mut object =
        write("core.v1.ConfigMap", config_map(json!({"name": "m"}), json!({"k": "v"})), None, "manager", -1);
    for at in 0..30 {
        let mut next = object.clone();
        next["data"][format!("k{at}")] = "v".into();
        object = write("core.v1.ConfigMap", next, Some(&object), &format!("manager-{at}"), at);
    }
    assert_eq!(entries(&object).len(), UPDATE_MANAGERS_MAX);
    assert_eq!(entries(&object)[0]["manager"], "ancient-changes");
    assert_eq!(entries(&object)[0]["fieldsV1"]["f:data"]["f:k20"], json!({}));
    assert_eq!(entries(&object)[9]["manager"], "manager-29");
}

/// An object of a type with some of its fields, chosen by `dice`.
fn some_object(parent: &Type, depth: usize, dice: &mut impl FnMut(u64) -> u64) -> Value {
    let schema = Schema::builtin();
    let fields = schema.json_fields(parent).filter(|_| depth < 7 && dice(3) == 0).collect::<Vec<_>>();
    fields.into_iter().map(|field| (field.name.to_string(), some_field(field, depth, dice))).collect()
}

fn some_field(field: &Field, depth: usize, dice: &mut impl FnMut(u64) -> u64) -> Value {
    let one = |dice: &mut _| some_value(field.kind, depth + 1, dice);
    match field.shape {
        Shape::Single => one(dice),
        Shape::List => (0..dice(3)).map(|_| one(dice)).collect(),
        Shape::Map => (0..dice(3)).map(|_| (format!("k\"{}", dice(4)), one(dice))).collect(),
    }
}

fn some_value(kind: ValueKind, depth: usize, dice: &mut impl FnMut(u64) -> u64) -> Value {
    match kind {
        ValueKind::Struct(id) => some_object(Schema::builtin().get(id), depth, dice),
        ValueKind::Int32 | ValueKind::Int64 | ValueKind::Float64 => dice(3).into(),
        ValueKind::Bool => (dice(2) == 0).into(),
        ValueKind::AnyObject | ValueKind::Any => json!({"any": dice(2)}),
        _ => ["", "0", "a", "b"][dice(4) as usize].into(),
    }
}

proptest! {
    #[test]
    fn creating_is_changing_nothing_into_something(kind in 0..5_usize, mut seed in 1..u64::MAX) {
        let schema = Schema::builtin();
        let root = ["core.v1.Pod", "core.v1.Service", "core.v1.Node", "apps.v1.Deployment", "core.v1.ConfigMap"][kind];
        let root = schema.named(root).unwrap();
        // Xorshift: proptest draws the seed, this the many small choices.
        let mut dice = |sides: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 11) % sides
        };
        let object = some_object(root, 0, &mut dice);
        let mut text = String::new();
        let is_owned = created::fields(schema, root, &object, &mut text);
        let (taken, gone) = compare::objects(schema, root, None, &object);
        prop_assert_eq!(text, serde_json::to_string(&taken).unwrap());
        prop_assert_eq!((is_owned, gone.is_empty()), (!taken.is_empty(), true));
    }

    #[test]
    fn every_key_has_one_owner(
        old in proptest::collection::btree_map("[a-d]", "[xy]", 1..4),
        new in proptest::collection::btree_map("[a-d]", "[xy]", 1..4),
    ) {
        let first = write("core.v1.ConfigMap", config_map(json!({"name": "m"}), json!(old)), None, "one", 0);
        let mut next = first.clone();
        next["data"] = json!(new);
        let second = write("core.v1.ConfigMap", next, Some(&first), "two", 1);
        for key in new.keys() {
            let owners = entries(&second).iter().filter(|entry| !entry["fieldsV1"]["f:data"][format!("f:{key}")].is_null());
            prop_assert_eq!(owners.count(), 1, "{}", key);
        }
    }
}
