//! Cases as a real API server answers them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{UPDATE_MANAGERS_MAX, Writer, record_update};
use crate::decode::complete;
use crate::schema::Schema;
use crate::time::Timestamp;

fn write(schema_type: &str, new: Value, old: Option<&Value>, manager: &str, second: i64) -> Value {
    let mut new = new;
    let writer = Writer { manager, api_version: "v1", subresource: "", now: Timestamp::from_seconds(second) };
    complete(Schema::builtin(), schema_type, &mut new);
    record_update(Schema::builtin(), schema_type, &mut new, old, writer);
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
    let mut object = config_map(json!({"name": "m"}), json!({}));
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

proptest! {
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
