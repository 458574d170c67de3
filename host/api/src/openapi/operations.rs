//! Paths and their operations, from the verbs of a resource.

use std::collections::BTreeSet;

use berth_json::{Map, Value, json};

use super::schemas::{component, reference};
use crate::patch::Configuration;
use crate::resource::{Resource, Scope};
use crate::schema::Schema;

const WRITE_PARAMETERS: [&str; 3] = ["dryRun", "fieldManager", "fieldValidation"];
const LIST_PARAMETERS: [&str; 11] = [
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "shardSelector",
    "timeoutSeconds",
    "watch",
];
const DELETE_PARAMETERS: [&str; 5] = [
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "propagationPolicy",
];
const PATCH_TYPES: [&str; 4] = [
    Configuration::MEDIA_TYPE,
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// How many of them a custom kind takes.
const CUSTOM_PATCH_TYPES: usize = 2;

/// The verbs as OpenAPI words them: method, action, verb.
const OBJECT_METHODS: [(&str, &str, &str); 4] = [
    ("get", "get", "get"),
    ("put", "put", "update"),
    ("delete", "delete", "delete"),
    ("patch", "patch", "patch"),
];
const COLLECTION_METHODS: [(&str, &str, &str); 3] =
    [("get", "list", "list"), ("post", "post", "create"), ("delete", "deletecollection", "deletecollection")];
const SUBRESOURCE_METHODS: [(&str, &str, &str); 4] = [
    ("get", "get", "get"),
    ("put", "put", "update"),
    ("patch", "patch", "patch"),
    ("post", "post", "create"),
];

/// What travels at a path.
struct Endpoint<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
    /// The component of what is sent and answered.
    component: String,
    /// How it may be patched.
    patches: &'static [&'static str],
}

/// Adds the paths of a resource, and to `roots` the types that they mention.
pub(super) fn add<'s>(
    resource: &'s Resource,
    schema: &'s Schema,
    root: &str,
    paths: &mut Map,
    roots: &mut BTreeSet<&'s str>,
) {
    let base = match resource.scope {
        Scope::Namespaced => format!("{root}/namespaces/{{namespace}}/{}", resource.plural),
        Scope::Cluster => format!("{root}/{}", resource.plural),
    };
    // Only kinds of this build know the keys by which lists are merged.
    let patches = if resource.is_custom { &PATCH_TYPES[..CUSTOM_PATCH_TYPES] } else { &PATCH_TYPES };
    let endpoint = Endpoint {
        group: &resource.group,
        version: &resource.version,
        kind: &resource.kind,
        component: own_component(resource),
        patches,
    };
    if resource.is_custom {
        roots.extend(["meta.v1.ListMeta", "meta.v1.ObjectMeta"]);
    } else {
        roots.insert(&resource.schema_type);
    }
    let has = |verb: &str| resource.verbs.contains(&verb);
    let object = format!("{base}/{{name}}");
    let mut add_path = |path: String, item: Value| {
        paths.insert(path, item);
    };
    add_path(base.clone(), endpoint.item(&base, &COLLECTION_METHODS, has));
    if resource.is_stored() {
        add_path(object.clone(), endpoint.item(&object, &OBJECT_METHODS, has));
    }
    if resource.scope == Scope::Namespaced && has("list") {
        let everywhere = format!("{root}/{}", resource.plural);
        add_path(everywhere.clone(), endpoint.item(&everywhere, &COLLECTION_METHODS, |verb| verb == "list"));
    }
    for subresource in &resource.subresources {
        let (group, version, kind) = subresource.kind();
        let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        let known = schema.of_kind(&api_version, kind).map(|found| &*found.name);
        roots.extend(known);
        let component = match known {
            Some(name) => component(name),
            None if resource.is_custom => own_component(resource),
            None => component("meta.v1.Status"),
        };
        let path = format!("{object}/{}", subresource.name);
        let endpoint = Endpoint { group, version, kind, component, patches };
        add_path(
            path.clone(),
            endpoint.item(&path, &SUBRESOURCE_METHODS, |verb| subresource.verbs.contains(&verb)),
        );
    }
}

/// The component of the kind itself.
fn own_component(resource: &Resource) -> String {
    let own = resource.behaviour.components().into_iter().next();
    own.map_or_else(|| component(&resource.schema_type), |(name, _)| name)
}

impl Endpoint<'_> {
    /// A path item with the methods whose verbs are served.
    fn item(&self, path: &str, methods: &[(&str, &str, &str)], has: impl Fn(&str) -> bool) -> Value {
        let mut item = Map::new();
        let in_path = ["name", "namespace"].into_iter().filter(|name| path.contains(&format!("{{{name}}}")));
        let shared: Vec<Value> = in_path.map(path_parameter).chain([query_parameter("pretty")]).collect();
        item.insert("parameters".to_owned(), shared.into());
        for (method, action, _) in methods.iter().filter(|(_, _, verb)| has(verb)) {
            item.insert((*method).to_owned(), self.operation(path, action));
        }
        item.into()
    }

    fn operation(&self, path: &str, action: &str) -> Value {
        let own = &self.component;
        let status = component("meta.v1.Status");
        let (parameters, body): (Vec<&str>, Option<&str>) = match action {
            "list" => (LIST_PARAMETERS.to_vec(), None),
            "post" | "put" => (WRITE_PARAMETERS.to_vec(), Some(own)),
            "patch" => ([&WRITE_PARAMETERS[..], &["force"]].concat(), Some(own)),
            "delete" => {
                (DELETE_PARAMETERS.to_vec(), Some("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"))
            }
            "deletecollection" => (
                [&DELETE_PARAMETERS[..], &LIST_PARAMETERS[1..10]].concat(),
                Some("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"),
            ),
            _ => (Vec::new(), None),
        };
        let answer = if action.starts_with("delete") { status } else { own.clone() };
        let mut operation = json!({
            "operationId": format!("{action}:{path}"),
            "parameters": parameters.into_iter().map(query_parameter).collect::<Vec<_>>(),
            "responses": { "200": { "description": "OK", "content": content(&["application/json"], &answer) } },
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": { "group": self.group, "version": self.version, "kind": self.kind },
        });
        if let Some(body) = body {
            let media = if action == "patch" { self.patches } else { &["*/*"] };
            operation["requestBody"] = json!({ "content": content(media, body) });
        }
        operation
    }
}

fn content(media: &[&str], name: &str) -> Value {
    let entry = |media: &&str| ((*media).to_owned(), json!({ "schema": reference(name) }));
    Value::Object(media.iter().map(entry).collect())
}

fn path_parameter(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "uniqueItems": true } })
}

fn query_parameter(name: &str) -> Value {
    let kind = match name {
        "allowWatchBookmarks" | "force" | "orphanDependents" | "sendInitialEvents" | "watch" => "boolean",
        "ignoreStoreReadErrorWithClusterBreakingPotential" => "boolean",
        "gracePeriodSeconds" | "limit" | "timeoutSeconds" => "integer",
        _ => "string",
    };
    json!({ "name": name, "in": "query", "schema": { "type": kind, "uniqueItems": true } })
}
