//! Small bodies that would become large, or would take long.

use std::sync::Arc;

use berth_api::decode::{BODY_BYTES_MAX, Expected, complete, decode};
use berth_api::kinds::catalogue;
use berth_api::patch::Patch;
use berth_api::{MediaType, PatchType, Problems, Resource, Schema};
use berth_json::{Value, json};

use crate::measure::bounded;

fn resource(id: &str) -> Arc<Resource> {
    catalogue().named(id).unwrap().clone()
}

/// What a POST of a body goes through. Returns its code.
fn post(id: &str, media: MediaType, body: &[u8]) -> u16 {
    let resource = resource(id);
    let decoded = match decode(Schema::builtin(), Expected::of(&resource), media, body) {
        Ok(decoded) => decoded,
        Err(status) => return status.to_value()["code"].as_u64().unwrap() as u16,
    };
    let mut object = decoded.value;
    resource.behaviour.prepare_create(&mut object);
    resource.behaviour.default(&mut object);
    let mut problems = Problems::default();
    resource.behaviour.validate(&object, &mut problems);
    berth_api::honour::unhonoured(&resource, &object);
    complete(Schema::builtin(), &resource.schema_type, &mut object);
    if problems.is_empty() {
        return 201;
    }
    berth_api::Status::invalid(&resource, "x", problems).to_value()["code"].as_u64().unwrap() as u16
}

/// As much of `unit` as a body may hold, between `head` and `tail`.
fn full(head: &str, unit: &str, tail: &str) -> String {
    let room = BODY_BYTES_MAX - head.len() - tail.len();
    format!("{head}{}{tail}", unit.repeat(room / unit.len()))
}

/// A protobuf field of bytes.
fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let varint = |mut value: u64| {
        let mut out = vec![];
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
        out
    };
    [varint(number << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

fn envelope(object: &[u8]) -> Vec<u8> {
    [b"k8s\0".to_vec(), field(2, object)].concat()
}

#[test]
fn yaml_bodies() {
    let review = "selfsubjectaccessreviews.authorization.k8s.io";
    let text = "x".repeat(1_000_000);
    let aliases = format!("a: &a {text}\nb: [{}]\n", "*a,".repeat(90_000));
    assert_eq!(
        bounded("aliases of a long scalar", || post(review, MediaType::Yaml, aliases.as_bytes())),
        400
    );
    let anchors: String = (0..90).map(|level| format!("&a{level} [")).collect();
    let nested = format!("{anchors}{text}{}", "]".repeat(90));
    assert_eq!(bounded("anchors within anchors", || post(review, MediaType::Yaml, nested.as_bytes())), 413);
    let merges = format!("a: &a {{k: {text}}}\nb: {{<<: [{}]}}\n", "*a,".repeat(90_000));
    assert_eq!(bounded("merge keys", || post(review, MediaType::Yaml, merges.as_bytes())), 400);
    for (what, unit) in [
        ("lists in lists", "[[[[[[[[[[]]]]]]]]]],"),
        ("short scalars", "a,"),
        ("maps", "{a: b},"),
        ("anchors", "&a b,"),
        ("quotes", "\"\\x41\","),
        ("tags", "!!str a,"),
        ("complex keys", "? a,"),
    ] {
        let body = full("metadata: {managedFields: [", unit, "]}");
        let code = bounded(&format!("yaml {what}"), || post("configmaps", MediaType::Yaml, body.as_bytes()));
        assert!(matches!(code, 400 | 413), "{what}: {code}");
    }
    for (what, head, unit) in [
        ("block list", "metadata:\n", "- a\n"),
        ("nested block list", "metadata:\n", "- - - - - - - - - a\n"),
        ("comments", "", "#\n"),
        ("directives", "", "%A b\n"),
        ("documents", "", "---\n"),
        ("block scalar", "data: {}\nx: |\n", "  \n"),
        ("folded scalar", "x: >\n", "  a\n\n"),
        ("plain scalar of many lines", "x: a\n", " a\n"),
        ("escapes", "x: \"", "\\\n"),
        ("keys", "", "a: b\n"),
        ("question marks", "", "? a\n"),
        ("tabs", "x:", "\t"),
        ("bars", "", "|"),
        ("stars", "", "*a "),
        ("ampersands", "", "&a "),
        ("exclamation marks", "", "! "),
        ("braces", "", "{"),
        ("colons", "", ": "),
        ("digits", "x: ", "9"),
    ] {
        let body = format!("{head}{}", unit.repeat(500_000 / unit.len()));
        bounded(&format!("yaml {what}"), || post("configmaps", MediaType::Yaml, body.as_bytes()));
    }
}

#[test]
fn json_bodies() {
    let any = |value: &str| format!("{{\"metadata\":{{\"managedFields\":[{{\"fieldsV1\":{{\"a\":{value}");
    for (what, head, unit, tail, code) in [
        ("lists in lists", any("["), "[[[[[[[[[[]]]]]]]]]],", "0]}}]}}", 413),
        ("maps in maps", any("["), r#"{"":{"":{"":{"":{}}}}},"#, "0]}}]}}", 413),
        ("numbers", any("["), "0,", "0]}}]}}", 413),
        ("short keys", any("{"), r#""":0,"#, r#""":0}}}]}}"#, 413),
        ("a kind that is a list", r#"{"kind":["#.to_owned(), "[[[[[[[[[[]]]]]]]]]],", "0]}", 413),
        ("an unknown field", r#"{"unknown":["#.to_owned(), "[[[[[[[[[[]]]]]]]]]],", "0]}", 422),
        ("many unknown fields", "{".to_owned(), r#""u":0,"#, r#""u":0}"#, 422),
        ("an unfinished list", any("["), "[[[[[[[[[[]]]]]]]]]],", "0", 413),
    ] {
        let body = full(&head, unit, tail);
        let got = bounded(&format!("json {what}"), || post("secrets", MediaType::Json, body.as_bytes()));
        assert_eq!(got, code, "{what}");
    }
    let long = "k".repeat(1 << 20);
    let body = full(
        &format!("{{\"metadata\":{{\"labels\":{{\"{long}\":\"\"}}}},\"data\":{{\"{long}\":\"\","),
        r#""a":"","#,
        "\"\":\"\"}}",
    );
    bounded("duplicates beside a long key", || post("secrets", MediaType::Json, body.as_bytes()));
    let duplicates = full(&format!("{{\"{long}\":{{"), r#""a":0,"#, r#""a":0}}"#);
    bounded("duplicates below a long key", || {
        Patch::parse(PatchType::Merge, duplicates.as_bytes()).map(drop).unwrap_err()
    });
}

/// Objects of as many parts as a body may have, each another one: nothing compares each with each.
#[test]
fn objects_of_many_parts() {
    let list = |of: &dyn Fn(usize) -> Value| (0..40_000).map(of).collect::<Value>();
    let named = |at: usize| json!({ "name": format!("n{at}") });
    let container =
        |part: &str, value: Value| json!({"spec": {"containers": [{"name": "c", (part): value}]}});
    for (id, what, object) in [
        ("pods", "volumes", json!({"spec": {"volumes": list(&named)}})),
        ("pods", "variables", container("env", list(&named))),
        ("pods", "ports", container("ports", list(&|at| json!({ "hostIP": format!("{at}") })))),
        ("pods", "mounts", container("volumeMounts", list(&|at| json!({ "mountPath": format!("/{at}") })))),
        ("pods", "sysctls", json!({"spec": {"securityContext": {"sysctls": list(&named)}}})),
        (
            "pods",
            "constraints",
            json!({"spec": {"topologySpreadConstraints":
            list(&|at| json!({ "topologyKey": format!("{at}") }))}}),
        ),
        ("pods", "containers", json!({"spec": {"containers": list(&named)}})),
        ("pods", "gates", json!({"spec": {"schedulingGates": list(&named)}})),
        (
            "services",
            "ports",
            json!({"spec": {"ports": list(&|at| json!({"name": format!("p{at}"), "port": at}))}}),
        ),
        ("services", "families", json!({"spec": {"ipFamilies": list(&|at| format!("{at}").into())}})),
        (
            "nodes",
            "taints",
            json!({"spec": {"taints": list(&|at| json!({"key": format!("{at}"), "effect": "x"}))}}),
        ),
        (
            "nodes",
            "addresses",
            json!({"status": {"addresses": list(&|at| json!({"address": format!("{at}")}))}}),
        ),
        (
            "configmaps",
            "finalizers",
            json!({"metadata": {"finalizers": list(&|at| format!("a/{at}").into())}}),
        ),
        (
            "configmaps",
            "owners",
            json!({"metadata": {"ownerReferences":
            list(&|at| json!({"uid": format!("{at}"), "controller": true}))}}),
        ),
    ] {
        let resource = resource(id);
        let what = format!("{id} with {what}");
        bounded(&what, || {
            let body = object.to_string();
            let object = decode(Schema::builtin(), Expected::of(&resource), MediaType::Json, body.as_bytes());
            let mut object = object.expect(&what).value;
            resource.behaviour.default(&mut object);
            let mut problems = Problems::default();
            let mut new = object.clone();
            resource.behaviour.prepare_update(&mut new, &object);
            resource.behaviour.validate(&object, &mut problems);
            resource.behaviour.validate_update(&new, &object, &mut problems);
            resource.behaviour.warnings(&object);
            berth_api::honour::unhonoured(&resource, &object);
            complete(Schema::builtin(), &resource.schema_type, &mut object);
        });
    }
}

#[test]
fn protobuf_bodies() {
    let spec = |unit: &[u8]| envelope(&field(2, &unit.repeat((BODY_BYTES_MAX - 64) / unit.len())));
    for (what, unit) in [
        ("empty containers", field(2, b"")),
        ("empty volumes", field(1, b"")),
        ("node selectors", field(7, b"")),
        ("unknown fields", field(4000, b"")),
        ("no text", field(5, &[0xff; 100])),
    ] {
        let body = spec(&unit);
        bounded(&format!("protobuf {what}"), || post("pods", MediaType::Protobuf, &body));
    }
}

#[test]
fn objects_that_are_wrong_everywhere() {
    for (id, head, unit, tail) in [
        ("pods", r#"{"spec":{"containers":["#, "{},", "{}]}}"),
        ("pods", r#"{"spec":{"containers":[{"env":["#, "{},", "{}]}]}}"),
        ("pods", r#"{"spec":{"containers":[{"ports":["#, "{},", "{}]}]}}"),
        ("pods", r#"{"spec":{"volumes":["#, "{},", "{}]}}"),
        ("pods", r#"{"spec":{"tolerations":["#, "{},", "{}]}}"),
        ("pods", r#"{"spec":{"topologySpreadConstraints":["#, "{},", "{}]}}"),
        ("services", r#"{"spec":{"ports":["#, "{},", "{}]}}"),
        ("configmaps", r#"{"data":{"#, r#""/":"","#, r#""/":""}}"#),
        ("configmaps", r#"{"metadata":{"ownerReferences":["#, "{},", "{}]}}"),
        ("configmaps", r#"{"metadata":{"finalizers":["#, r#""a","#, r#""a"]}}"#),
        ("configmaps", r#"{"metadata":{"managedFields":["#, "{},", "{}]}}"),
        ("nodes", r#"{"spec":{"taints":["#, "{},", "{}]}}"),
        ("namespaces", r#"{"spec":{"finalizers":["#, r#""a","#, r#""a"]}}"#),
    ] {
        for bytes in [BODY_BYTES_MAX, 100_000] {
            let mut body = full(head, unit, tail);
            if bytes < BODY_BYTES_MAX {
                body = format!("{head}{}{tail}", unit.repeat(bytes / unit.len()));
            }
            let what = format!("{id} {head} {bytes}");
            assert!(bounded(&what, || post(id, MediaType::Json, body.as_bytes())) > 400, "{what}");
        }
    }
}

/// What a PATCH of an object goes through. Returns its code.
fn patch(what: &str, kind: PatchType, object: &Value, body: &str) -> u16 {
    bounded(what, || {
        let patched = Patch::parse(kind, body.as_bytes())
            .and_then(|patch| patch.apply(Schema::builtin(), "core.v1.Pod", object));
        patched.map_or_else(|status| status.code, |_| 200)
    })
}

#[test]
fn patches() {
    let long_list: Value = (0..50_000).map(|at| json!({"name": format!("n{at}"), "value": "v"})).collect();
    let pod = json!({
        "metadata": {"finalizers": (0..50_000).map(|at| format!("f{at}")).collect::<Value>()},
        "spec": {"containers": [{"name": "c", "env": long_list}]},
    });
    let list = |unit: &str, count: usize| format!("[{}]", vec![unit; count].join(","));
    let json_patch = |what: &str, unit: &str| patch(what, PatchType::Json, &pod, &list(unit, 10_000));
    let at = "/spec/containers/0/env";
    assert_eq!(json_patch("inserts in front", &format!(r#"{{"op":"add","path":"{at}/0","value":1}}"#)), 413);
    assert_eq!(json_patch("removals in front", &format!(r#"{{"op":"remove","path":"{at}/0"}}"#)), 413);
    let moves =
        format!(r#"{{"op":"move","from":"{at}","path":"/x"}},{{"op":"move","from":"/x","path":"{at}"}}"#);
    let moves = list(&moves, 5_000);
    assert_eq!(patch("moves of a long list", PatchType::Json, &pod, &moves), 413);
    assert_eq!(json_patch("copies", r#"{"op":"copy","from":"/spec","path":"/x"}"#), 413);

    let mut operations = vec![json!({"op": "add", "path": "/a", "value": {"a": {}}})];
    let mut path = String::from("/a");
    for _ in 0..20 {
        operations.push(json!({"op": "copy", "from": "/a", "path": format!("{path}/a")}));
        path.push_str(&path.clone());
    }
    let deeper = Value::from(operations).to_string();
    assert_eq!(patch("copies into themselves", PatchType::Json, &json!({}), &deeper), 422);

    let strategic = |what: &str, body: String| patch(what, PatchType::StrategicMerge, &pod, &body);
    let same = list(r#"{"name":"c","env":[{"name":"x"}]}"#, 50_000);
    assert_eq!(
        strategic("one element again and again", format!(r#"{{"spec":{{"containers":{same}}}}}"#)),
        413
    );
    let same = list(r#"{"name":"c","$setElementOrder/env":[],"env":[{"name":"x"}]}"#, 40_000);
    assert_eq!(strategic("its order again and again", format!(r#"{{"spec":{{"containers":{same}}}}}"#)), 413);
    let kept: String = (0..100_000).map(|at| format!("\"k{at}\",")).collect();
    let keys: String = (0..100_000).map(|at| format!(",\"k{at}\":1")).collect();
    let retained = format!(r#"{{"spec":{{"nodeSelector":{{"$retainKeys":[{kept}"z"]{keys}}}}}}}"#);
    assert_eq!(strategic("kept keys", retained), 200);
    let long = "x".repeat(2_000_000);
    assert_eq!(strategic("a long finalizer", format!(r#"{{"metadata":{{"finalizers":["{long}"]}}}}"#)), 200);
    let ordered =
        format!(r#"{{"metadata":{{"$setElementOrder/finalizers":["{long}"],"finalizers":["{long}"]}}}}"#);
    assert_eq!(strategic("a long finalizer in order", ordered), 200);
    let removed = full(r#"{"metadata":{"$deleteFromPrimitiveList/finalizers":["#, r#""f1","#, r#""f1"]}}"#);
    strategic("removals", removed);
}
