//! `CustomResourceDefinition` of `apiextensions.k8s.io/v1`.

mod defaults;
mod keywords;
mod names;
mod parts;
mod schema;
mod spec;
mod status;
mod structure;
#[cfg(test)]
mod tests;
mod view;

use berth_api::column::Column;
use berth_api::decode::Finding;
use berth_api::kinds::meta::{validate_meta, validate_meta_update};
use berth_api::kinds::view::{copy_field, list_at, str_at};
use berth_api::kinds::{names as api_names, view as api_view};
use berth_api::resource::{Kind, Resource, Scope, Subresource, kind_of};
use berth_api::{Problems, Schema};
use berth_json::{Map, Value, json};

pub(crate) use parts::COLUMN_TYPES;
pub use status::{conditions, is_established};
pub(crate) use view::has_webhook;

const GROUP: &str = "apiextensions.k8s.io";
/// What can be done with definitions, in the order in which discovery lists it.
const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const KIND: &str = "CustomResourceDefinition";

/// The resource of definitions.
pub fn definitions() -> Resource {
    let schema_type = "apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition".to_owned();
    Resource {
        id: "customresourcedefinitions.apiextensions.k8s.io".into(),
        is_custom: false,
        is_served: true,
        is_storage: true,
        group: GROUP.to_owned(),
        version: "v1".to_owned(),
        kind: KIND.to_owned(),
        list_kind: format!("{KIND}List"),
        scale: None,
        plural: "customresourcedefinitions".to_owned(),
        singular: "customresourcedefinition".to_owned(),
        short_names: vec!["crd".to_owned(), "crds".to_owned()],
        categories: vec!["api-extensions".to_owned()],
        scope: Scope::Cluster,
        verbs: VERBS.to_vec(),
        subresources: vec![Subresource {
            name: "status",
            kind: kind_of(GROUP, "v1", KIND),
            verbs: &["get", "patch", "update"],
        }],
        schema: Schema::builtin().clone(),
        fields_type: schema_type.clone(),
        schema_type,
        has_generation: true,
        create_on_update: false,
        unconditional_update: false,
        deprecation: None,
        behaviour: std::sync::Arc::new(Definition),
    }
}

struct Definition;

impl Kind for Definition {
    fn prune(&self, object: &mut Value) -> Vec<Finding> {
        keywords::prune(object)
    }

    fn default(&self, object: &mut Value) {
        let storage = view::storage_version(object).map(str::to_owned);
        if let Some(spec) = part(object, "spec") {
            default_spec(spec);
        }
        let stored = list_at(object, "status.storedVersions").is_empty();
        if let Some(storage) = storage.filter(|_| stored) {
            object["status"]["storedVersions"] = json!([storage]);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        self.default(object);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        copy_field(new, old, "status");
        let Some(storage) = view::storage_version(new).map(str::to_owned) else { return };
        if !list_at(new, "status.storedVersions").iter().any(|version| *version == storage) {
            let mut stored = list_at(new, "status.storedVersions").to_vec();
            stored.push(storage.into());
            new["status"]["storedVersions"] = stored.into();
        }
    }

    fn prepare_status(&self, new: &mut Value, old: &Value) {
        copy_field(new, old, "spec");
        self.default(new);
    }

    fn validate(&self, object: &Value, problems: &mut Problems) {
        validate_meta(object, Scope::Cluster, api_names::subdomain_1123, problems);
        let required = format!("{}.{}", str_at(object, "spec.names.plural"), str_at(object, "spec.group"));
        let name = api_view::name(object);
        if name != required {
            problems.invalid("metadata.name", &name.into(), "must be spec.names.plural+\".\"+spec.group");
        }
        spec::validate(object, None, problems);
    }

    fn validate_update(&self, new: &Value, old: &Value, problems: &mut Problems) {
        validate_meta_update(new, old, problems);
        spec::validate(new, Some(old), problems);
    }

    fn validate_status(&self, new: &Value, old: &Value, problems: &mut Problems) {
        validate_meta_update(new, old, problems);
        names::validate(new, "status.acceptedNames", problems);
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        keywords::warnings(object)
    }

    /// What was there before is not told again.
    fn update_warnings(&self, new: &Value, old: &Value) -> Vec<String> {
        let before = keywords::warnings(old);
        keywords::warnings(new).into_iter().filter(|warning| !before.contains(warning)).collect()
    }

    fn columns(&self) -> Vec<Column> {
        let name = "Name of the definition: plural and group of its kind.";
        let (versions, short) =
            ("The versions that are served, and which one is stored.", "Shorter names of the resource.");
        vec![
            Column { description: name.to_owned(), ..Column::of_name() },
            Column::text("Scope", 0, "Whether objects live in a namespace.", "spec.scope"),
            Column::new("Versions", "string", 0, versions, |object, _| versions_shown(object).into()),
            Column {
                kind: "date",
                ..Column::text("Created At", 0, "When the definition was made.", "metadata.creationTimestamp")
            },
            Column::text("Group", 1, "Group of the kind.", "spec.group"),
            Column::text("Kind", 1, "The kind.", "spec.names.kind"),
            Column::new("ShortNames", "string", 1, short, |object, _| {
                let names = list_at(object, "spec.names.shortNames").iter().filter_map(Value::as_str);
                names.collect::<Vec<_>>().join(",").into()
            }),
            Column::new("Established", "boolean", 1, "Whether the kind is served.", |object, _| {
                status::is_true(object, "Established").into()
            }),
        ]
    }
}

/// The versions that are served, in the order of their names.
fn versions_shown(object: &Value) -> String {
    let served = list_at(object, "spec.versions").iter().filter(|version| version["served"] == true);
    let mut versions: Vec<String> = served
        .map(|version| {
            let stored = if version["storage"] == true { "(storage)" } else { "" };
            format!("{}{stored}", str_at(version, "name"))
        })
        .collect();
    versions.sort();
    versions.join(",")
}

fn default_spec(spec: &mut Map) {
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        fill_text(names, "singular", kind.to_lowercase());
        if !kind.is_empty() {
            fill_text(names, "listKind", format!("{kind}List"));
        }
    }
    let conversion = spec.entry("conversion").or_insert(Value::Null);
    if conversion.is_null() {
        *conversion = json!({ "strategy": "None" });
    }
    if let Some(service) =
        conversion.pointer_mut("/webhook/clientConfig/service").and_then(Value::as_object_mut)
        && !service.contains_key("port")
    {
        service.insert("port", 443.into());
    }
}

fn fill_text(fields: &mut Map, name: &str, text: String) {
    if fields.get(name).and_then(Value::as_str).is_none_or(str::is_empty) {
        fields.insert(name, text.into());
    }
}

fn part<'v>(object: &'v mut Value, name: &str) -> Option<&'v mut Map> {
    object.get_mut(name).and_then(Value::as_object_mut)
}
