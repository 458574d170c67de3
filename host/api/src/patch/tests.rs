//! Cases as a real API server answers them.

use berth_json::{Value, json};
use proptest::prelude::*;

use super::{Configuration, Patch, PatchType, invalid_result};
use crate::decode::FieldValidation;
use crate::schema::Schema;
use crate::status::Status;

fn patched(kind: PatchType, schema_type: &str, object: &Value, patch: &Value) -> Result<Value, Status> {
    Patch::parse(kind, patch.to_string().as_bytes())?.apply(Schema::builtin(), schema_type, object)
}

fn json_patch(patch: Value) -> Result<Value, u16> {
    let object =
        json!({"data": {"a": "1", "b": "2"}, "list": ["x", "y"], "metadata": {"labels": {"s/l": "2"}}});
    patched(PatchType::Json, "core.v1.ConfigMap", &object, &patch).map_err(|status| status.code)
}

#[test]
fn json_patches() {
    for (patch, pointer, expected) in [
        (json!([{"op": "add", "path": "/data/c", "value": "3"}]), "/data/c", json!("3")),
        (json!([{"op": "add", "path": "/data/a", "value": "3"}]), "/data/a", json!("3")),
        (json!([{"op": "replace", "path": "/data/zz", "value": "3"}]), "/data/zz", json!("3")),
        (json!([{"op": "remove", "path": "/data/a"}]), "/data", json!({"b": "2"})),
        (json!([{"op": "remove", "path": "/data/zz"}]), "/data", json!({"a": "1", "b": "2"})),
        (json!([{"op": "move", "from": "/data/a", "path": "/data/d"}]), "/data", json!({"b": "2", "d": "1"})),
        (json!([{"op": "copy", "from": "/data/a", "path": "/data/d"}]), "/data/d", json!("1")),
        (json!([{"op": "copy", "from": "/data/zz", "path": "/data/d"}]), "/data/d", json!(null)),
        (json!([{"op": "test", "path": "/data/zz", "value": null}]), "/data/a", json!("1")),
        (json!([{"op": "test", "path": "/data/a", "value": "1"}]), "/data/a", json!("1")),
        (json!([{"op": "remove", "path": "/metadata/labels/s~1l"}]), "/metadata/labels", json!({})),
        (json!([{"op": "add", "path": "/list/-", "value": "z"}]), "/list", json!(["x", "y", "z"])),
        (json!([{"op": "add", "path": "/list/0", "value": "z"}]), "/list", json!(["z", "x", "y"])),
        (json!([{"op": "add", "path": "/list/2", "value": "z"}]), "/list", json!(["x", "y", "z"])),
        (json!([{"op": "remove", "path": "/list/-1"}]), "/list", json!(["x"])),
        (json!([{"op": "replace", "path": "", "value": {"n": 1}}]), "", json!({"n": 1})),
        (json!([]), "/data/a", json!("1")),
    ] {
        let result = json_patch(patch.clone()).unwrap();
        assert_eq!(result.pointer(pointer), Some(&expected), "{patch}");
    }
    for patch in [
        json!([{"op": "test", "path": "/data/a", "value": "2"}]),
        json!([{"op": "add", "path": "/nosuch/x", "value": "y"}]),
        json!([{"op": "merge", "path": "/data/a", "value": "y"}]),
        json!([{"op": "remove"}]),
        json!([{"op": "remove", "path": "data"}]),
        json!([{"op": "remove", "path": ""}]),
        json!([{"op": "add", "path": "/list/99", "value": "z"}]),
        json!([{"op": "remove", "path": "/list/2"}]),
        json!([{"op": "remove", "path": "/list/x"}]),
        json!([{"op": "add", "path": "/data/a/b", "value": "z"}]),
        json!([{"op": "move", "from": "/data/a"}]),
    ] {
        assert_eq!(json_patch(patch.clone()), Err(422), "{patch}");
    }
}

#[test]
fn copies_are_bounded() {
    let mut patch = vec![json!({"op": "add", "path": "/data/a", "value": "x".repeat(1000)})];
    patch.extend((0..40).map(|at| json!({"op": "copy", "from": "/data", "path": format!("/data/k{at}")})));
    assert_eq!(json_patch(patch.into()), Err(422));
}

#[test]
fn bodies_that_are_no_patch() {
    for (kind, body, code, message) in [
        (
            PatchType::Json,
            r#"{"op":"remove"}"#,
            400,
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
        ),
        (
            PatchType::Json,
            r#""x""#,
            400,
            "error decoding patch: json: cannot unmarshal string into Go value of type []handlers.jsonPatchOp",
        ),
        (PatchType::Json, r#"[{"op":"#, 400, "invalid JSON patch"),
        (PatchType::Json, "", 400, "invalid JSON patch"),
        (
            PatchType::Merge,
            "[]",
            400,
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
        ),
        (PatchType::Merge, "null", 400, "Invalid JSON Patch"),
        (PatchType::Merge, "{", 400, "invalid JSON patch"),
        (PatchType::StrategicMerge, "{", 400, "error decoding patch: unexpected end of JSON input"),
    ] {
        let status = Patch::parse(kind, body.as_bytes()).unwrap_err();
        assert_eq!((status.code, status.message.as_str()), (code, message), "{body}");
    }
    let many = format!("[{}{{}}]", "{},".repeat(10_000));
    let status = Patch::parse(PatchType::Json, many.as_bytes()).unwrap_err();
    assert_eq!(status.code, 413);
    assert!(status.message.ends_with("The allowed maximum operations in a JSON patch is 10000, got 10001"));
    let status = PatchType::of_content_type("application/json").unwrap_err();
    assert_eq!(status.to_value()["details"], json!({}));
    let twice = Patch::parse(PatchType::Merge, br#"{"data":{"a":"1","a":"2"}}"#).unwrap();
    assert_eq!(twice.findings()[0].warning(), "duplicate field \"data.a\"");
    let status = invalid_result(&twice, "why");
    assert_eq!(status.message, r#" "" is invalid: patch: Invalid value: "{\"data\":{\"a\":\"2\"}}": why"#);
}

#[test]
fn merge_patches() {
    let object =
        json!({"metadata": {"labels": {"x": "1", "y": "2"}, "finalizers": ["f"]}, "data": {"a": "1"}});
    let patch = json!({"data": {"a": null, "c": "3", "z": null}, "metadata": {"labels": {"x": null}, "finalizers": []}});
    let result = patched(PatchType::Merge, "core.v1.ConfigMap", &object, &patch).unwrap();
    assert_eq!(result, json!({"metadata": {"labels": {"y": "2"}, "finalizers": []}, "data": {"c": "3"}}));
    let nested = json!({"data": {"new": {"deep": null, "kept": 1}}});
    let result = patched(PatchType::Merge, "core.v1.ConfigMap", &object, &nested).unwrap();
    assert_eq!(result["data"]["new"], json!({"kept": 1}));
}

fn pod() -> Value {
    json!({"metadata": {"finalizers": ["a", "b"]}, "spec": {
        "containers": [
            {"name": "c", "image": "c:1", "args": ["x", "y"], "env": [{"name": "A", "value": "1"}, {"name": "B"}]},
            {"name": "d", "image": "d:1"},
        ],
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "u", "configMap": {"name": "m"}}],
        "securityContext": {"runAsUser": 1, "fsGroup": 2},
        "nodeSelector": {"x": "1", "y": "2"},
    }})
}

fn strategic(patch: Value) -> Value {
    patched(PatchType::StrategicMerge, "core.v1.Pod", &pod(), &patch).unwrap()
}

fn names(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|element| element["name"].as_str().unwrap()).collect()
}

#[test]
fn strategic_lists_merge_by_key() {
    let merged = strategic(json!({"spec": {"containers": [{"name": "d", "image": "d:2"}]}}));
    assert_eq!(merged["spec"]["containers"][1]["image"], "d:2");
    assert_eq!(names(&merged["spec"]["containers"]), ["c", "d"]);
    let added = strategic(json!({"spec": {"containers": [{"name": "e", "image": "e:1"}]}}));
    assert_eq!(names(&added["spec"]["containers"]), ["e", "c", "d"]);
    let deleted = strategic(json!({"spec": {"containers": [
        {"name": "c", "env": [{"name": "A", "$patch": "delete"}]}, {"name": "d", "$patch": "delete"}]}}));
    assert_eq!(names(&deleted["spec"]["containers"]), ["c"]);
    assert_eq!(names(&deleted["spec"]["containers"][0]["env"]), ["B"]);
    let replaced = strategic(json!({"spec": {"containers": [
        {"name": "c", "args": ["z"], "env": [{"$patch": "replace"}, {"name": "Q"}]}]}}));
    assert_eq!(names(&replaced["spec"]["containers"][0]["env"]), ["Q"]);
    assert_eq!(replaced["spec"]["containers"][0]["args"], json!(["z"]));
}

#[test]
fn strategic_order_and_directives() {
    let ordered = strategic(json!({"spec": {
        "$setElementOrder/containers": [{"name": "d"}, {"name": "c"}], "containers": [{"name": "c", "image": "c:3"}]}}));
    assert_eq!(names(&ordered["spec"]["containers"]), ["d", "c"]);
    let partial = strategic(json!({"spec": {
        "$setElementOrder/containers": [{"name": "d"}], "containers": [{"name": "d", "image": "d:4"}]}}));
    assert_eq!(names(&partial["spec"]["containers"]), ["c", "d"]);
    let retained = strategic(json!({"spec": {
        "volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}}));
    assert_eq!(retained["spec"]["volumes"][0], json!({"name": "v", "hostPath": {"path": "/x"}}));
    let replaced = strategic(json!({"spec": {"securityContext": {"$patch": "replace", "runAsUser": 5}}}));
    assert_eq!(replaced["spec"]["securityContext"], json!({"runAsUser": 5}));
    let deleted = strategic(
        json!({"spec": {"securityContext": {"$patch": "delete"}, "nodeSelector": {"x": null, "z": "3"}}}),
    );
    assert_eq!(deleted["spec"]["securityContext"], json!({}));
    assert_eq!(deleted["spec"]["nodeSelector"], json!({"y": "2", "z": "3"}));
}

#[test]
fn strategic_scalars_are_sets() {
    let added = strategic(json!({"metadata": {"finalizers": ["c"]}}));
    assert_eq!(added["metadata"]["finalizers"], json!(["c", "a", "b"]));
    let deleted = strategic(json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}));
    assert_eq!(deleted["metadata"]["finalizers"], json!(["b"]));
    let dropped = strategic(json!({"metadata": {"finalizers": null}}));
    assert_eq!(dropped["metadata"], json!({}));
}

#[test]
fn strategic_lists_without_keys_are_replaced() {
    let object = json!({"imagePullSecrets": [{"name": "a"}]});
    let patch = json!({"imagePullSecrets": [{"name": "b", "$patch": "delete"}, {"name": "z"}]});
    let result = patched(PatchType::StrategicMerge, "core.v1.ServiceAccount", &object, &patch).unwrap();
    // Strict decoding then names the directive as an unknown field, as on the API server.
    assert_eq!(result, patch);
}

#[test]
fn strategic_refusals() {
    for (patch, message) in [
        (json!({"spec": {"securityContext": {"$patch": "burn"}}}), "unknown patch type: burn in map"),
        (
            json!({"spec": {"containers": [{"image": "x"}]}}),
            "map: map[image:x] does not contain declared merge key: name",
        ),
        (
            json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name"], "hostPath": {}}]}}),
            "invalid patch format of retainKeys",
        ),
        (
            json!({"spec": {"$setElementOrder/containers": [{"name": "d"}], "containers": [{"name": "e", "n": 1}]}}),
            "The order in patch list:\n[map[n:1 name:e]]\n doesn't match $setElementOrder list:\n[map[name:d]]\n",
        ),
        (json!({"metadata": {"$deleteFromPrimitiveList/finalizers": "a"}}), "finalizers takes a list"),
    ] {
        let status = patched(PatchType::StrategicMerge, "core.v1.Pod", &pod(), &patch).unwrap_err();
        assert_eq!((status.code, status.message.as_str()), (400, message), "{patch}");
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("spec".to_owned()),
        Just("containers".to_owned()),
        Just("name".to_owned()),
        Just("metadata".to_owned()),
        Just("finalizers".to_owned()),
        Just("$patch".to_owned()),
        Just("$retainKeys".to_owned()),
        Just("$setElementOrder/containers".to_owned()),
        Just("$deleteFromPrimitiveList/finalizers".to_owned()),
    ];
    let word = prop_oneof![
        Just(json!("replace")),
        Just(json!("delete")),
        Just(json!("a")),
        Just(json!(1)),
        Just(json!(null))
    ];
    word.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::btree_map(key.clone(), inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn hostile_patches_never_panic(patch in json_value(), object in json_value(), kind in 0_usize..3) {
        let kind = [PatchType::Json, PatchType::Merge, PatchType::StrategicMerge][kind];
        let _ = patched(kind, "core.v1.Pod", &object, &patch);
    }
}

#[test]
fn configurations_are_yaml_and_so_is_json() {
    let read = |text: &str| Configuration::parse(text.as_bytes());
    let expected = json!({"kind": "ConfigMap", "data": {"a": null, "b": ""}});
    for text in [
        "kind: ConfigMap\ndata: {a: null, b: ''}\n",
        r#"{"kind": "ConfigMap", "data": {"a": null, "b": ""}}"#,
    ] {
        assert_eq!(read(text).unwrap().value(), &expected);
    }
    assert_eq!(read("").unwrap().value(), &json!({}));
    let twice = read(r#"{"a": 1, "a": 2}"#).unwrap();
    assert_eq!(twice.enforce(FieldValidation::Warn).unwrap(), ["line 1: key \"a\" already set in map"]);
    let refused = |text: &str| read(text).unwrap_err().message;
    assert_eq!(refused("a: ["), "error encoding patch: yaml: line 1: did not find expected node content");
    assert_eq!(
        refused("- a"),
        "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
    );
}
