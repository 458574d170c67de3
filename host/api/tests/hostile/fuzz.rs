//! Bodies, patches and selectors put together from the pieces that their readers look for.
//!
//! `BERTH_FUZZ_ITERATIONS` says how many of each are tried; `cargo bolero test` looks for new ones by coverage.

use berth_api::decode::{Expected, check, decode};
use berth_api::kinds::catalogue;
use berth_api::patch::Patch;
use berth_api::{FieldSelector, MediaType, PatchType, Schema, Selector, encode};
use berth_json::{Value, json};

use crate::measure::bounded;

/// How many inputs a target is given: few enough for every run of the tests.
const ITERATIONS: usize = 2000;
/// How many pieces an input is made of.
const PIECES_MAX: usize = 200;

pub(crate) fn fuzz(target: impl Fn(&[u8]) + std::panic::RefUnwindSafe) {
    let iterations = std::env::var("BERTH_FUZZ_ITERATIONS").ok().and_then(|text| text.parse().ok());
    bolero::check!()
        .with_iterations(iterations.unwrap_or(ITERATIONS))
        .with_max_len(PIECES_MAX)
        .with_type::<Vec<u8>>()
        .for_each(|bytes| target(bytes));
}

/// A text of pieces: a byte chooses one, or is a character itself.
fn text(pieces: &[&str], bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match pieces.get(usize::from(*byte) % (pieces.len() + 4)) {
            Some(piece) => text.push_str(piece),
            None => text.push(char::from(*byte)),
        }
    }
    text
}

/// Decodes a pod: what comes out reads back as itself.
fn read_pod(media: MediaType, body: &[u8]) {
    let catalogue = catalogue();
    let pods = catalogue.named("pods").unwrap();
    let read = |media, body: &[u8]| decode(Schema::builtin(), Expected::of(pods), media, body);
    let Ok(decoded) = bounded("decoding", || read(media, body)) else { return };
    let value = decoded.value;
    let json = read(MediaType::Json, value.to_string().as_bytes()).expect("what was written is read");
    assert_eq!(json.value, value);
    assert_eq!(json.findings, [], "{value}");
    let yaml = encode::yaml(&value);
    let again = read(MediaType::Yaml, yaml.as_bytes()).unwrap_or_else(|status| panic!("{status}\n{yaml}"));
    assert_eq!(again.value, value);
}

const JSON: [&str; 36] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\"a\"",
    "null",
    "true",
    "1",
    "-7e2",
    " ",
    "\\u0000",
    "\\ud800",
    "\"1Gi\"",
    "\"2026-01-01T00:00:00Z\"",
    "{\"spec\":{",
    "\"containers\":[{",
    "\"name\":\"c\"",
    "}]}}",
    "{\"metadata\":{",
    "\"labels\":{",
    "\"a\":\"b\"",
    "}}",
    "\"kind\":\"Pod\"",
    "\"apiVersion\":\"v1\"",
    "\"env\":[{",
    "\"limits\":{",
    "\"resources\":{",
    "\"finalizers\":[",
    "\"managedFields\":[{\"fieldsV1\":{",
    "\"creationTimestamp\":",
    "\"httpGet\":{\"port\":",
    "\"spec\":",
    "\"livenessProbe\":{",
];

#[test]
fn json_bodies() {
    fuzz(|bytes| read_pod(MediaType::Json, text(&JSON, bytes).as_bytes()));
}

const YAML: [&str; 44] = [
    "metadata:\n",
    "  name: a\n",
    "spec:\n",
    "  containers:\n",
    "  - name: c\n",
    "    command: [a, 'b', \"c\"]\n",
    "    env:\n",
    "  labels:\n",
    "    a: b\n",
    "\n",
    " ",
    "  ",
    "- ",
    ": ",
    "? ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "&a ",
    "*a",
    "*b ",
    "&b ",
    "<<: ",
    "!!str ",
    "!!binary ",
    "!x ",
    "|\n",
    ">-\n",
    "---\n",
    "...\n",
    "%YAML 1.1\n",
    "#",
    "\"",
    "'",
    "\\x41",
    "0x1F",
    "1e3",
    "~",
    "y",
    "\t",
    "a: &a {x: [",
    "managedFields: [{fieldsV1: ",
];

#[test]
fn yaml_bodies() {
    fuzz(|bytes| read_pod(MediaType::Yaml, text(&YAML, bytes).as_bytes()));
}

/// What is both JSON and YAML 1.2 of a kind that YAML 1.1 takes the same way reads as with another crate.
#[test]
fn flow_mappings_read_as_with_another_parser() {
    const PIECES: [&str; 12] =
        ["{", "}", "[", "]", ", ", ": ", "\"a\"", "\"b c\"", "1", "true", "null", "{\"k\": "];
    let catalogue = catalogue();
    let deployments = catalogue.named("pods").unwrap();
    fuzz(|bytes| {
        let flow = text(&PIECES, &bytes[..bytes.len().min(12)]);
        if !flow.is_ascii() || flow.contains(|c: char| c.is_control()) {
            return;
        }
        let body = format!("{{\"metadata\": {{\"managedFields\": [{{\"fieldsV1\": {{\"x\": {flow}}}}}]}}}}");
        let Ok(theirs) = serde_json::from_str::<Value>(&body) else { return };
        let read = |media| decode(Schema::builtin(), Expected::of(deployments), media, body.as_bytes());
        let (json, yaml) = (read(MediaType::Json).unwrap().value, read(MediaType::Yaml).unwrap().value);
        assert_eq!(json, yaml, "{body}");
        assert_eq!(
            json.pointer("/metadata/managedFields/0/fieldsV1"),
            theirs.pointer("/metadata/managedFields/0/fieldsV1")
        );
    });
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "labels": {"a": "b"}, "finalizers": ["f/a", "f/b"],
            "managedFields": [{"manager": "m", "operation": "Update", "fieldsV1": {"f:spec": {}}}]},
        "spec": {
            "containers": [
                {"name": "c", "image": "i", "args": ["x", "y"], "env": [{"name": "A", "value": "1"}],
                    "resources": {"limits": {"cpu": "1"}}, "livenessProbe": {"httpGet": {"port": 80}}},
                {"name": "d", "image": "i", "ports": [{"containerPort": 80}]},
            ],
            "volumes": [{"name": "v", "emptyDir": {}}],
            "nodeSelector": {"x": "y"},
            "terminationGracePeriodSeconds": 30,
        },
    })
}

#[test]
fn protobuf_bodies() {
    let sound = encode::protobuf(Schema::builtin(), &pod()).unwrap();
    read_pod(MediaType::Protobuf, &sound);
    fuzz(|bytes| {
        let mut body = sound.clone();
        for edit in bytes.chunks_exact(3) {
            let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % body.len();
            match edit[2] {
                0..32 => drop(body.remove(at)),
                32..64 => body.insert(at, edit[2]),
                byte => body[at] = byte,
            }
            if body.is_empty() {
                return;
            }
        }
        read_pod(MediaType::Protobuf, &body);
    });
}

const PATCH: [&str; 44] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    "\"",
    "null",
    "1",
    "{\"spec\":{",
    "\"containers\":[",
    "{\"name\":\"c\"",
    "}]",
    "}}",
    "\"env\":[{\"name\":\"A\"",
    "\"$patch\":\"delete\"",
    "\"$patch\":\"replace\"",
    "\"$retainKeys\":[\"name\"]",
    "\"$setElementOrder/containers\":[{\"name\":\"d\"}]",
    "\"$deleteFromPrimitiveList/finalizers\":[\"f/a\"]",
    "\"metadata\":{",
    "\"finalizers\":[\"f/c\"]",
    "\"volumes\":[{\"name\":\"v\"",
    "\"emptyDir\":null",
    "{\"op\":\"add\",\"path\":\"",
    "{\"op\":\"remove\",\"path\":\"",
    "{\"op\":\"replace\",\"path\":\"",
    "{\"op\":\"move\",\"path\":\"",
    "{\"op\":\"copy\",\"path\":\"",
    "{\"op\":\"test\",\"path\":\"",
    "/spec",
    "/containers",
    "/0",
    "/-",
    "/-1",
    "/env",
    "/metadata",
    "/finalizers",
    "/a~1b",
    "\",\"value\":",
    "\",\"from\":\"",
    "\"}",
    "{\"a\":[{}]}",
    "},",
    "[{\"op\":\"copy\",\"from\":\"/spec\",\"path\":\"/x\"},",
];

#[test]
fn patches() {
    let catalogue = catalogue();
    let pods = catalogue.named("pods").unwrap();
    let (schema, object) = (Schema::builtin(), pod());
    fuzz(|bytes| {
        let body = text(&PATCH, bytes);
        for (kind, body) in [
            (PatchType::Merge, body.clone()),
            (PatchType::StrategicMerge, body.clone()),
            (PatchType::Json, format!("[{body}]")),
            (PatchType::Json, body),
        ] {
            let Ok(patch) = bounded("reading a patch", || Patch::parse(kind, body.as_bytes())) else {
                continue;
            };
            let patched = bounded("a patch", || patch.apply(schema, &pods.schema_type, &object));
            if let Ok(patched) = patched {
                // Nothing is nested deeper than a body may be, or it could not be read again.
                assert!(serde_json::from_str::<Value>(&patched.to_string()).is_ok(), "{body}");
                let _ = bounded("checking", || check(schema, Expected::of(pods), patched));
            }
        }
    });
}

const SELECTOR: [&str; 20] = [
    "a",
    "b/c",
    "=",
    "==",
    "!=",
    "!",
    ",",
    " in ",
    " notin ",
    "(",
    ")",
    ">",
    "<",
    "1",
    "metadata.name",
    "\\",
    "\\,",
    "\\=",
    " ",
    "exists",
];

#[test]
fn selectors() {
    fuzz(|bytes| {
        let text = text(&SELECTOR, bytes);
        let _ = bounded("a label selector", || Selector::parse(&text).map(drop));
        let _ = bounded("a field selector", || FieldSelector::parse(&text).map(drop));
    });
}
