//! What each kind makes of what clients send: defaults, refusals, updates and table rows.
//!
//! Every line of `kinds/*.jsonl` is a case: what is sent, and what becomes of it. The expectations agree with what
//! kube-apiserver v1.37 answers. `BERTH_WRITE_FIXTURES=1` writes down what the code does now, to be reviewed as a diff.

#![allow(clippy::unwrap_used)] // a test may

use std::collections::BTreeMap;
use std::path::Path;

use berth_api::decode::{Expected, check, complete};
use berth_api::kinds::{UNOWNED, catalogue};
use berth_api::resource::Selectable;
use berth_api::{Catalogue, FieldSelector, Problems, Resource, Schema, Timestamp};
use berth_json::{Map, Value, json};

/// When the rows of tables are shown; objects are created five minutes before.
const NOW: &str = "2026-01-01T00:05:00Z";
const CREATED: &str = "2026-01-01T00:00:00Z";

#[test]
fn defaults() {
    each_case("defaults", |resource, case| {
        let mut object = decode(resource, &case["object"]);
        let sent = flatten(&object);
        resource.behaviour.prepare_create(&mut object);
        resource.behaviour.default(&mut object);
        complete(Schema::builtin(), &resource.schema_type, &mut object);
        changes(&sent, &flatten(&object))
    });
}

#[test]
fn refusals() {
    each_case("refusals", |resource, case| {
        let mut object = decode(resource, &case["object"]);
        resource.behaviour.prepare_create(&mut object);
        resource.behaviour.default(&mut object);
        name_service_account(resource, &mut object);
        let mut problems = Problems::default();
        resource.behaviour.validate(&object, &mut problems);
        causes(problems)
    });
}

#[test]
fn updates() {
    each_case("updates", |resource, case| {
        let schema = Schema::builtin();
        let mut old = decode(resource, &case["object"]);
        resource.behaviour.prepare_create(&mut old);
        resource.behaviour.default(&mut old);
        name_service_account(resource, &mut old);
        complete(schema, &resource.schema_type, &mut old);
        let mut new = old.clone();
        merge(&mut new, &case["patch"]);
        let mut new = decode(resource, &new);
        resource.behaviour.prepare_update(&mut new, &old);
        resource.behaviour.default(&mut new);
        complete(schema, &resource.schema_type, &mut new);
        let mut problems = Problems::default();
        resource.behaviour.validate_update(&new, &old, &mut problems);
        if problems.is_empty() { changes(&flatten(&old), &flatten(&new)) } else { causes(problems) }
    });
}

#[test]
fn rows() {
    each_case("rows", |resource, case| {
        let object = decode(resource, &case["object"]);
        let columns = resource.behaviour.columns();
        let cells = resource.cells(&columns, &object, Timestamp::parse(NOW).unwrap());
        columns.iter().zip(cells).map(|(column, cell)| format!("{}: {cell}", column.name)).collect()
    });
}

#[test]
fn warnings() {
    each_case("warnings", |resource, case| {
        let mut object = decode(resource, &case["object"]);
        resource.behaviour.default(&mut object);
        resource.behaviour.warnings(&object)
    });
}

#[test]
fn every_kind_names_its_fields_and_schema() {
    for resource in catalogue().iter() {
        assert!(Schema::builtin().named(&resource.schema_type).is_some(), "{}", resource.schema_type);
        let of_nothing = resource.behaviour.fields(&Value::Null);
        let of_object = resource.behaviour.fields(&json!({ "metadata": { "name": "x" } }));
        let names = |fields: &[Selectable]| fields.iter().map(|field| field.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&of_nothing), names(&of_object), "selectable fields do not depend on the object");
    }
}

#[test]
fn what_controllers_find_objects_by_is_no_field_to_clients() {
    let catalogue = catalogue();
    for name in ["pods", "replicasets.apps"] {
        let resource = catalogue.named(name).unwrap();
        let selector = FieldSelector::parse(&format!("{UNOWNED}=default")).unwrap();
        let refused = resource.select(selector).unwrap_err();
        assert_eq!(refused, format!("field label not supported: {UNOWNED}"));
        let owned_by = |controller: bool| {
            let owners = json!([{"uid": "u", "controller": controller}]);
            let object = json!({"metadata": {"name": "x", "namespace": "ns", "ownerReferences": owners}});
            let fields = resource.behaviour.fields(&object);
            fields
                .into_iter()
                .find(|field| field.name == UNOWNED)
                .map(|field| (field.value, field.is_indexed))
        };
        assert_eq!(owned_by(true), Some((String::new(), true)), "{name}");
        assert_eq!(owned_by(false), Some(("ns".to_owned(), true)), "{name}");
    }
}

/// Admission gives every pod an account before it is validated.
fn name_service_account(resource: &Resource, object: &mut Value) {
    if &*resource.id == "pods" && object["spec"].get("serviceAccountName").is_none() {
        object["spec"]["serviceAccountName"] = "default".into();
        object["spec"]["serviceAccount"] = "default".into();
    }
}

fn each_case(file: &str, run: impl Fn(&Resource, &Value) -> Vec<String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/kinds/{file}.jsonl"));
    let text = std::fs::read_to_string(&path).unwrap();
    let catalogue: Catalogue = catalogue();
    let mut written = String::new();
    let mut wrong = Vec::new();
    for line in text.lines() {
        let mut case: Value = serde_json::from_str(line).unwrap();
        let name = case["case"].as_str().unwrap().to_owned();
        let resource = catalogue.named(case["resource"].as_str().unwrap()).unwrap();
        let got: Value = run(resource, &case).into();
        if got != case["want"] {
            wrong.push(format!("{file}: {name}\n  want {:#}\n  got {got:#}", case["want"]));
        }
        case["want"] = got;
        written.push_str(&format!("{case}\n"));
    }
    if std::env::var_os("BERTH_WRITE_FIXTURES").is_some() {
        std::fs::write(&path, &written).unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!written.is_empty(), "{file} has no case");
}

/// The object as the pipeline has it before it asks the kind.
fn decode(resource: &Resource, object: &Value) -> Value {
    let expected = Expected::of(resource);
    let mut object = check(Schema::builtin(), expected, object.clone()).unwrap().value;
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.entry("creationTimestamp").or_insert_with(|| CREATED.into());
    if resource.scope == berth_api::Scope::Namespaced {
        metadata.entry("namespace").or_insert_with(|| "default".into());
    }
    object
}

/// Every leaf of a value by its path.
fn flatten(value: &Value) -> BTreeMap<String, String> {
    fn visit(path: String, value: &Value, leaves: &mut BTreeMap<String, String>) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (key, value) in fields {
                    let dot = if path.is_empty() { "" } else { "." };
                    visit(format!("{path}{dot}{key}"), value, leaves);
                }
            }
            Value::Array(items) if !items.is_empty() => {
                for (index, value) in items.iter().enumerate() {
                    visit(format!("{path}[{index}]"), value, leaves);
                }
            }
            _ => {
                leaves.insert(path, value.to_string());
            }
        }
    }
    let mut leaves = BTreeMap::new();
    visit(String::new(), value, &mut leaves);
    leaves
}

fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let removed = before.keys().filter(|path| !after.contains_key(*path)).map(|path| format!("- {path}"));
    let set = after
        .iter()
        .filter(|(path, value)| before.get(*path) != Some(value))
        .map(|(path, value)| format!("{path}: {value}"));
    removed.chain(set).collect()
}

fn causes(problems: Problems) -> Vec<String> {
    problems
        .causes
        .into_iter()
        .map(|cause| format!("{}: {} ({})", cause.field, cause.message, cause.reason))
        .collect()
}

/// Applies a JSON merge patch.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Map::new().into();
    }
    for (key, value) in fields {
        match value {
            Value::Null => {
                target.as_object_mut().unwrap().remove(key);
            }
            _ => merge(&mut target[key], value),
        }
    }
}
