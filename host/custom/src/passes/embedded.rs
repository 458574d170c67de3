//! Objects in objects (`x-kubernetes-embedded-resource`): their metadata is as any other object's.

use berth_api::decode::{self, Expected, Finding};
use berth_api::kinds::{meta, names};
use berth_api::resource::Scope;
use berth_api::{Cause, Problems, Schema};
use berth_json::{Map, Value, json};

use super::prune::Unknown;
use crate::names::label_1035;
use crate::path::Path;
use crate::structural::{Additional, Structural};

/// The kind that is nothing but metadata.
const METADATA: Expected<'static> = Expected {
    group: "meta.k8s.io",
    version: "v1",
    kind: "PartialObjectMetadata",
    schema_type: "meta.v1.PartialObjectMetadata",
};

/// Drops what metadata of embedded objects may not have; what is of a wrong type stays, for [`validate`] to refuse.
pub(super) fn coerce(schema: &Structural, object: &mut Value) -> Unknown {
    let mut unknown = Unknown::default();
    walk_mut(schema, object, &Path::Root, &mut unknown);
    unknown
}

fn walk_mut(schema: &Structural, value: &mut Value, path: &Path<'_>, unknown: &mut Unknown) {
    if !schema.within.embedded {
        return;
    }
    match value {
        Value::Object(fields) => {
            if let Some(metadata) = fields.get_mut("metadata").filter(|_| schema.embedded) {
                coerce_metadata(metadata, path, unknown);
            }
            for (name, value) in fields.iter_mut() {
                if let Some(place) = schema.field(name) {
                    walk_mut(place, value, &Path::Field(path, name), unknown);
                }
            }
        }
        Value::Array(elements) => {
            let Some(items) = &schema.items else { return };
            for (at, element) in elements.iter_mut().enumerate() {
                walk_mut(items, element, &Path::Index(path, at), unknown);
            }
        }
        _ => {}
    }
}

fn coerce_metadata(metadata: &mut Value, path: &Path<'_>, unknown: &mut Unknown) {
    let Ok(mut decoded) = decode_metadata(metadata) else { return };
    for finding in decoded.findings {
        if let Finding::Unknown(below) = finding {
            unknown.add(|| Path::Field(path, &below).dotted());
        }
    }
    *metadata = decoded.value.get_mut("metadata").map_or_else(|| Map::new().into(), Value::take);
}

fn decode_metadata(metadata: &Value) -> Result<decode::Decoded, String> {
    decode::check(Schema::builtin(), METADATA, json!({ "metadata": metadata }))
}

/// Judges embedded objects. What is wrong with the whole object's own metadata is told elsewhere.
pub(super) fn validate(schema: &Structural, value: &Value, path: &Path<'_>, problems: &mut Problems) {
    if !schema.within.embedded {
        return;
    }
    match value {
        Value::Object(fields) => {
            if schema.embedded {
                validate_object(fields, path, problems);
            }
            for (name, value) in fields {
                if let Some(place) = schema.properties.get(name) {
                    validate(place, value, &Path::Field(path, name), problems);
                } else if let Additional::Schema(place) = &schema.additional {
                    validate(place, value, &Path::Key(path, name), problems);
                }
            }
        }
        Value::Array(elements) => {
            let Some(items) = &schema.items else { return };
            let at = elements.iter().enumerate();
            at.for_each(|(at, element)| validate(items, element, &Path::Index(path, at), problems));
        }
        _ => {}
    }
}

fn validate_object(fields: &Map, path: &Path<'_>, problems: &mut Problems) {
    for name in ["apiVersion", "kind"] {
        if !fields.contains_key(name) {
            problems.required(Path::Field(path, name).bracketed(), "");
        }
    }
    for (name, value) in fields {
        let here = || Path::Field(path, name).bracketed();
        match (name.as_str(), value.as_str()) {
            ("apiVersion" | "kind", None) => problems.invalid(here(), value, "must be a string"),
            ("apiVersion" | "kind", Some("")) => problems.invalid(here(), value, "must not be empty"),
            ("apiVersion", Some(text)) if text.matches('/').count() > 1 => {
                problems.invalid(here(), value, &format!("unexpected GroupVersion string: {text}"));
            }
            ("kind", Some(text)) => {
                let faults = label_1035(&text.to_lowercase());
                if !faults.is_empty() {
                    let faults = faults.join(",");
                    let detail = format!("may have mixed case, but should otherwise match: {faults}");
                    problems.invalid(here(), value, &detail);
                }
            }
            ("metadata", _) => validate_metadata(value, path, problems),
            _ => {}
        }
    }
}

fn validate_metadata(metadata: &Value, path: &Path<'_>, problems: &mut Problems) {
    if let Err(why) = decode_metadata(metadata) {
        problems.invalid(Path::Field(path, "metadata").bracketed(), metadata, &why);
        return;
    }
    let mut object = json!({ "metadata": metadata });
    let has_text =
        |name: &str| metadata.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if !has_text("name") {
        // An embedded object need not have a name; an empty one would be told of.
        object["metadata"]["name"] = "embedded".into();
    }
    let scope = if has_text("namespace") { Scope::Namespaced } else { Scope::Cluster };
    let mut found = Problems::default();
    meta::validate_meta(&object, scope, names::path_segment, &mut found);
    for Cause { reason, message, field } in found.causes {
        problems.push(Cause { reason, message, field: Path::Field(path, &field).bracketed() });
    }
}
