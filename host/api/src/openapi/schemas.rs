//! Component schemas: one for every type that the operations of a document mention.

use std::collections::BTreeSet;

use berth_json::{Map, Value, json};

use crate::schema::{Field, ListType, Schema, Shape, Type, ValueKind};

/// The schemas of `roots` and of all types they are made of.
pub(super) fn components(schema: &Schema, roots: BTreeSet<&str>) -> Map {
    let mut components = Map::new();
    let mut waiting: Vec<&Type> = roots.into_iter().filter_map(|name| schema.named(name)).collect();
    while let Some(next) = waiting.pop() {
        let name = component(&next.name);
        if components.contains_key(&name) {
            continue;
        }
        components.insert(name, object(schema, next));
        let inner = schema.json_fields(next).filter_map(|field| match field.kind {
            ValueKind::Struct(id) => Some(schema.get(id)),
            _ => None,
        });
        waiting.extend(inner);
    }
    for (name, scalar) in scalars() {
        components.insert(name.to_owned(), scalar);
    }
    components
}

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const RAW_EXTENSION: &str = "io.k8s.apimachinery.pkg.runtime.RawExtension";

/// Types that are one value in JSON.
fn scalars() -> [(&'static str, Value); 7] {
    [
        ("io.k8s.apimachinery.pkg.apis.meta.v1.Time", json!({ "type": "string", "format": "date-time" })),
        (
            "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
            json!({ "type": "string", "format": "date-time" }),
        ),
        ("io.k8s.apimachinery.pkg.apis.meta.v1.Duration", json!({ "type": "string" })),
        ("io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1", json!({ "type": "object" })),
        (QUANTITY, json!({ "oneOf": [{ "type": "string" }, { "type": "number" }] })),
        (
            INT_OR_STRING,
            json!({ "format": "int-or-string", "oneOf": [{ "type": "integer" }, { "type": "string" }] }),
        ),
        (RAW_EXTENSION, json!({ "type": "object" })),
    ]
}

/// The name of a type's component: `io.k8s.api.core.v1.Pod` for `core.v1.Pod`.
pub(super) fn component(name: &str) -> String {
    if let Some(rest) = name.strip_prefix("meta.v1.") {
        return format!("{META}.{rest}");
    }
    match name.split('.').next() {
        Some("api" | "util" | "runtime") => format!("io.k8s.apimachinery.pkg.{name}"),
        Some("apiextensions-apiserver" | "kube-aggregator" | "metrics") => format!("io.k8s.{name}"),
        Some("berth") => format!("dev.{name}"),
        _ => format!("io.k8s.api.{name}"),
    }
}

pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn object(schema: &Schema, parent: &Type) -> Value {
    let properties: Map =
        schema.json_fields(parent).map(|field| (field.name.to_string(), property(schema, field))).collect();
    let required: Vec<&str> =
        schema.json_fields(parent).filter(|field| field.required).map(|field| &*field.name).collect();
    let mut object = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        object["required"] = required.into();
    }
    if parent.atomic {
        object["x-kubernetes-map-type"] = "atomic".into();
    }
    if !parent.kinds.is_empty() {
        object["x-kubernetes-group-version-kind"] =
            parent.kinds.iter().map(|kind| group_version_kind(kind)).collect();
    }
    object
}

/// `apps/v1/Deployment` or `v1/Pod`.
fn group_version_kind(path: &str) -> Value {
    let mut parts = path.rsplitn(3, '/');
    let (kind, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    json!({ "group": parts.next().unwrap_or_default(), "version": version, "kind": kind })
}

fn property(schema: &Schema, field: &Field) -> Value {
    let mut property = match field.shape {
        Shape::Single => value(schema, field),
        Shape::List => json!({ "type": "array", "items": value(schema, field) }),
        Shape::Map => json!({ "type": "object", "additionalProperties": value(schema, field) }),
    };
    if let Some(default) = &field.default {
        property["default"] = default.clone();
    }
    list_extensions(field, &mut property);
    if field.atomic {
        property["x-kubernetes-map-type"] = "atomic".into();
    }
    let strategies = [
        (field.patch.merge, "merge"),
        (field.patch.retain_keys, "retainKeys"),
        (field.patch.replace, "replace"),
    ];
    let named: Vec<&str> =
        strategies.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name).collect();
    if !named.is_empty() {
        property["x-kubernetes-patch-strategy"] = named.join(",").into();
    }
    if !field.patch.merge_key.is_empty() {
        property["x-kubernetes-patch-merge-key"] = field.patch.merge_key.as_str().into();
    }
    property
}

fn list_extensions(field: &Field, property: &mut Value) {
    let list_type = match &field.list {
        ListType::Undeclared => return,
        ListType::Atomic => "atomic",
        ListType::Set => "set",
        ListType::Map(keys) => {
            property["x-kubernetes-list-map-keys"] = keys.iter().map(|key| &**key).collect();
            "map"
        }
    };
    property["x-kubernetes-list-type"] = list_type.into();
}

/// What a single value is. References stand in `allOf`, because OpenAPI 3.0 ignores what stands beside a reference.
fn value(schema: &Schema, field: &Field) -> Value {
    let referred = |name: &str| json!({ "allOf": [reference(name)] });
    match field.kind {
        ValueKind::String if field.values.is_empty() => json!({ "type": "string" }),
        ValueKind::String => {
            json!({ "type": "string", "enum": field.values.iter().map(|one| &**one).collect::<Vec<_>>() })
        }
        ValueKind::Int32 => json!({ "type": "integer", "format": "int32" }),
        ValueKind::Int64 => json!({ "type": "integer", "format": "int64" }),
        ValueKind::Float64 => json!({ "type": "number", "format": "double" }),
        ValueKind::Bool => json!({ "type": "boolean" }),
        ValueKind::Bytes => json!({ "type": "string", "format": "byte" }),
        ValueKind::Strings => json!({ "type": "array", "items": { "type": "string" } }),
        ValueKind::Quantity => referred(QUANTITY),
        ValueKind::IntOrString => referred(INT_OR_STRING),
        ValueKind::Time => referred("io.k8s.apimachinery.pkg.apis.meta.v1.Time"),
        ValueKind::MicroTime => referred("io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime"),
        ValueKind::Duration => referred("io.k8s.apimachinery.pkg.apis.meta.v1.Duration"),
        ValueKind::AnyObject if &*field.name == "fieldsV1" => {
            referred("io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1")
        }
        ValueKind::AnyObject => referred(RAW_EXTENSION),
        ValueKind::Any | ValueKind::Deduced => json!({}),
        ValueKind::Struct(id) => referred(&component(&schema.get(id).name)),
    }
}
