//! OpenAPI v3 documents, made from the catalogue and the schema table.
//!
//! kubectl reads them to validate, to apply (merge keys) and to explain. The PATCH operations name the strategic merge
//! patch because the schemas carry `x-kubernetes-patch-merge-key`: without the keys kubectl would send whole lists.
//!
//! A document takes milliseconds to make: a server makes each once and keeps it.

mod operations;
mod schemas;

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use berth_json::{Map, Value, json};

use crate::resource::{Catalogue, Resource};
use crate::schema::Schema;
use crate::version::RELEASE;

/// `GET /openapi/v3`: the index of documents, each with the hash of its content, so that clients can cache it.
pub fn index(catalogue: &Catalogue, schema: &Schema) -> Value {
    let groups: BTreeSet<(&str, &str)> =
        catalogue.iter().map(|resource| (resource.group.as_str(), resource.version.as_str())).collect();
    let mut paths = Map::new();
    for (group, version) in groups {
        let Some(document) = document(catalogue, schema, group, version) else { continue };
        let mut hasher = DefaultHasher::new();
        document.to_string().hash(&mut hasher);
        let path = &root_path(group, version)[1..];
        let url = format!("/openapi/v3/{path}?hash={:016X}", hasher.finish());
        paths.insert(path.to_owned(), json!({ "serverRelativeURL": url }));
    }
    json!({ "paths": paths })
}

/// `GET /openapi/v3/api/v1` and `GET /openapi/v3/apis/<group>/<version>`; `None` when nothing is served there.
pub fn document(catalogue: &Catalogue, schema: &Schema, group: &str, version: &str) -> Option<Value> {
    let served: Vec<&Resource> = catalogue
        .iter()
        .map(|resource| &**resource)
        .filter(|resource| resource.group == group && resource.version == version)
        .collect();
    if served.is_empty() {
        return None;
    }
    let (mut paths, mut roots) = (Map::new(), BTreeSet::from(["meta.v1.DeleteOptions", "meta.v1.Status"]));
    let mut custom = Map::new();
    for resource in served {
        custom.extend(resource.behaviour.components());
        operations::add(resource, schema, &root_path(group, version), &mut paths, &mut roots);
    }
    let mut components = schemas::components(schema, roots);
    components.extend(custom);
    Some(json!({
        "openapi": "3.0.0",
        "info": { "title": "Berth", "version": RELEASE },
        "paths": paths,
        "components": { "schemas": components },
    }))
}

/// `/api/v1` or `/apis/<group>/<version>`.
fn root_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use berth_json::{Value, json};

    use super::{document, index};
    use crate::kinds;
    use crate::schema::Schema;

    fn core() -> Value {
        document(&kinds::catalogue(), Schema::builtin(), "", "v1").unwrap()
    }

    #[test]
    fn operations_as_kubectl_reads_them() {
        let core = core();
        let pod = &core["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"];
        assert_eq!(pod["patch"]["x-kubernetes-action"], "patch");
        assert_eq!(
            pod["patch"]["x-kubernetes-group-version-kind"],
            json!({"group": "", "version": "v1", "kind": "Pod"})
        );
        let accepts: Vec<&str> = pod["patch"]["requestBody"]["content"]
            .as_object()
            .unwrap()
            .keys()
            .map(|key| key.as_str())
            .collect();
        assert_eq!(
            accepts,
            [
                "application/apply-patch+yaml",
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/strategic-merge-patch+json",
            ]
        );
        let names = |operation: &Value| -> Vec<String> {
            let parameters = operation["parameters"].as_array().unwrap().iter();
            parameters.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
        };
        let mut put = names(&pod["put"]);
        put.extend(names(pod));
        put.sort();
        assert_eq!(put, ["dryRun", "fieldManager", "fieldValidation", "name", "namespace", "pretty"]);
        let list = &core["paths"]["/api/v1/namespaces/{namespace}/pods"];
        assert_eq!(list["get"]["x-kubernetes-action"], "list");
        assert_eq!(list["delete"]["x-kubernetes-action"], "deletecollection");
        assert_eq!(core["paths"]["/api/v1/nodes/{name}/status"]["put"]["x-kubernetes-action"], "put");
        let apps = document(&kinds::catalogue(), Schema::builtin(), "apps", "v1").unwrap();
        let scale = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["get"];
        assert_eq!(
            scale["x-kubernetes-group-version-kind"],
            json!({"group": "autoscaling", "version": "v1", "kind": "Scale"})
        );
    }

    #[test]
    fn schemas_as_kubectl_reads_them() {
        let schemas = &core()["components"]["schemas"];
        let container = &schemas["io.k8s.api.core.v1.Container"];
        assert_eq!(container["required"], json!(["name"]));
        let ports = &container["properties"]["ports"];
        assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["containerPort", "protocol"]));
        assert_eq!(ports["x-kubernetes-patch-merge-key"], "containerPort");
        assert_eq!(
            ports["items"]["allOf"][0]["$ref"],
            "#/components/schemas/io.k8s.api.core.v1.ContainerPort"
        );
        let secret = &schemas["io.k8s.api.core.v1.Secret"];
        assert_eq!(
            secret["x-kubernetes-group-version-kind"],
            json!([{"group": "", "version": "v1", "kind": "Secret"}])
        );
        assert_eq!(secret["properties"]["data"]["additionalProperties"]["format"], "byte");
        assert_eq!(secret["properties"]["kind"], json!({"type": "string"}));
        assert_eq!(schemas["io.k8s.api.core.v1.PodTemplateSpec"].get("required"), None);
        let probe = &schemas["io.k8s.api.core.v1.Probe"]["properties"];
        assert!(probe.get("httpGet").is_some() && probe.get("").is_none());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'v>(value: &'v Value, found: &mut HashSet<&'v str>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str));
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(values) => values.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let catalogue = kinds::catalogue();
        for resource in catalogue.iter() {
            let document =
                document(&catalogue, Schema::builtin(), &resource.group, &resource.version).unwrap();
            let mut found = HashSet::new();
            references(&document, &mut found);
            assert!(!found.is_empty());
            for reference in found {
                assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
            }
        }
    }

    #[test]
    fn the_index_names_every_document() {
        let catalogue = kinds::catalogue();
        let index = index(&catalogue, Schema::builtin());
        let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
        assert!(url.starts_with("/openapi/v3/apis/apps/v1?hash="));
        assert!(index["paths"]["apis/berth.dev/v1alpha1"].is_object());
        assert_eq!(document(&catalogue, Schema::builtin(), "nosuch", "v1"), None);
    }
}
