//! What OpenAPI v3 says of a custom kind: the schema as it was written, with what every kind has.

use berth_api::kinds::view::{list_at, str_at};
use berth_json::{Value, json};

const META: &str = "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1";

/// The components of one version of a definition: the kind and its list, each by its name; none when there is no such
/// version, or it has no schema.
pub(crate) fn components(definition: &Value, version: &str) -> Option<[(String, Value); 2]> {
    let said = list_at(definition, "spec.versions").iter().find(|one| str_at(one, "name") == version)?;
    let group = str_at(definition, "spec.group");
    let (kind, list_kind) =
        (str_at(definition, "spec.names.kind"), str_at(definition, "spec.names.listKind"));
    let mut schema = said.pointer("/schema/openAPIV3Schema").filter(|schema| schema.is_object())?.clone();
    with_meta(&mut schema, "ObjectMeta");
    complete_embedded(&mut schema);
    schema["x-kubernetes-group-version-kind"] = json!([{ "group": group, "version": version, "kind": kind }]);
    let selectable = list_at(said, "selectableFields");
    if !selectable.is_empty() {
        let paths = selectable.iter().map(|field| str_at(field, "jsonPath").trim_start_matches('.'));
        let fields = paths.map(|path| json!({ "fieldPath": path }));
        schema["x-kubernetes-selectable-fields"] = fields.collect();
    }
    let name = component_name(group, version, kind);
    let mut list = json!({
        "type": "object", "description": format!("{list_kind} is a list of {kind}"), "required": ["items"],
        "properties": { "items": {
            "type": "array", "description": "The objects.",
            "items": { "allOf": [{ "$ref": format!("#/components/schemas/{name}") }] },
        }},
        "x-kubernetes-group-version-kind": [{ "group": group, "version": version, "kind": list_kind }],
    });
    with_meta(&mut list, "ListMeta");
    Some([(name, schema), (component_name(group, version, list_kind), list)])
}

/// `com.example.stable.v1.CronTab` for a kind of `stable.example.com`.
pub(crate) fn component_name(group: &str, version: &str, kind: &str) -> String {
    let reversed: Vec<&str> = group.split('.').rev().collect();
    format!("{}.{version}.{kind}", reversed.join("."))
}

/// Adds the fields of every object.
fn with_meta(schema: &mut Value, metadata: &str) {
    let text = |description: &str| json!({ "type": "string", "description": description });
    if schema["properties"].as_object().is_none() {
        schema["properties"] = json!({});
    }
    let properties = &mut schema["properties"];
    properties["apiVersion"] = text("Group and version of the kind.");
    properties["kind"] = text("The kind.");
    properties["metadata"] = json!({
        "description": "What every object has: its name, labels and so on.",
        "allOf": [{ "$ref": format!("{META}.{metadata}") }],
    });
}

/// The same for the objects in objects.
fn complete_embedded(schema: &mut Value) {
    let Some(keywords) = schema.as_object_mut() else { return };
    for (keyword, said) in keywords.iter_mut() {
        match (keyword.as_str(), said) {
            ("properties", Value::Object(fields)) => fields.values_mut().for_each(complete_place),
            ("items" | "additionalProperties", place) => complete_place(place),
            _ => {}
        }
    }
}

fn complete_place(schema: &mut Value) {
    complete_embedded(schema);
    if schema.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true)) {
        with_meta(schema, "ObjectMeta");
    }
}

#[cfg(test)]
mod tests {
    use berth_json::json;

    use super::components;

    #[test]
    fn a_kind_and_its_list() {
        let definition = json!({"spec": {
            "group": "stable.example.com", "names": {"kind": "CronTab", "listKind": "CronTabList"},
            "versions": [{"name": "v1", "selectableFields": [{"jsonPath": ".spec.a"}], "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {
                    "a": {"type": "string", "description": "an A"},
                    "pod": {"type": "object", "x-kubernetes-embedded-resource": true},
                }}},
            }}}],
        }});
        let [(name, schema), (list_name, list)] = components(&definition, "v1").unwrap();
        assert_eq!(
            (&*name, &*list_name),
            ("com.example.stable.v1.CronTab", "com.example.stable.v1.CronTabList")
        );
        let spec = &schema["properties"]["spec"]["properties"];
        assert_eq!(spec["a"]["description"], "an A");
        assert_eq!(spec["pod"]["properties"]["kind"]["type"], "string");
        let reference = &schema["properties"]["metadata"]["allOf"][0]["$ref"];
        assert!(reference.as_str().unwrap().ends_with("meta.v1.ObjectMeta"));
        assert_eq!(schema["x-kubernetes-group-version-kind"][0]["kind"], "CronTab");
        assert_eq!(schema["x-kubernetes-selectable-fields"], json!([{"fieldPath": "spec.a"}]));
        assert!(list["properties"]["items"]["items"]["allOf"][0]["$ref"].as_str().unwrap().ends_with(&name));
        assert!(components(&definition, "v2").is_none());
    }
}
