//! What a custom kind is: its schema, applied where the pipeline asks.

use std::borrow::Cow;

use berth_api::decode::Finding;
use berth_api::kinds::meta::{validate_meta, validate_meta_update};
use berth_api::kinds::names::subdomain_1123;
use berth_api::kinds::view::copy_field;
use berth_api::resource::{Column, Kind, Scope, Selectable};
use berth_api::{Problems, Timestamp};
use berth_json::{Map, Value};

use crate::columns::Columns;
use crate::json_path::JsonPath;
use crate::passes;
use crate::scale::Scale;
use crate::structural::Structural;

/// What can be done with custom resources, in the order in which discovery lists it.
pub(crate) const VERBS: [&str; 8] =
    ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];

/// One version of a custom kind.
pub(crate) struct CustomKind {
    pub(crate) scope: Scope,
    pub(crate) schema: Structural,
    pub(crate) has_status: bool,
    pub(crate) scale: Option<Scale>,
    pub(crate) columns: Columns,
    pub(crate) selectable: Vec<(Cow<'static, str>, JsonPath)>,
    pub(crate) deprecation: Option<String>,
}

impl Kind for CustomKind {
    fn prune(&self, object: &mut Value) -> Vec<Finding> {
        passes::prune(&self.schema, object)
    }

    fn default(&self, object: &mut Value) {
        passes::default(&self.schema, object);
    }

    fn prepare_create(&self, object: &mut Value) {
        if let Some(fields) = object.as_object_mut().filter(|_| self.has_status) {
            fields.remove("status");
        }
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        if self.has_status {
            copy_field(new, old, "status");
        } else if new.get("status") != old.get("status") {
            // Where the status is a field like others, its changes count.
            let generation = old["metadata"]["generation"].as_i64().unwrap_or_default();
            if let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.insert("generation", (generation + 1).into());
            }
        }
    }

    /// `/status` changes the status alone.
    fn prepare_status(&self, new: &mut Value, old: &Value) {
        let status = new.get_mut("status").map(Value::take);
        let managers = new.pointer_mut("/metadata/managedFields").map(Value::take);
        *new = old.clone();
        put(new.as_object_mut(), "status", status);
        put(new.get_mut("metadata").and_then(Value::as_object_mut), "managedFields", managers);
        passes::default(&self.schema, new);
    }

    fn validate(&self, object: &Value, problems: &mut Problems) {
        let mut found = Problems::default();
        validate_meta(object, self.scope, subdomain_1123, &mut found);
        passes::validate_fields(&self.schema, object, None, &mut found);
        if let Some(scale) = &self.scale {
            scale.validate_spec(object, &mut found);
            scale.validate_status(object, &mut found);
        }
        self.validate_insides(object, None, &mut found);
        problems.extend(found);
    }

    fn validate_update(&self, new: &Value, old: &Value, problems: &mut Problems) {
        let mut found = Problems::default();
        validate_meta_update(new, old, &mut found);
        passes::validate_fields(&self.schema, new, Some(old), &mut found);
        if let Some(scale) = &self.scale {
            scale.validate_spec(new, &mut found);
            scale.validate_status(new, &mut found);
        }
        self.validate_insides(new, Some(old), &mut found);
        problems.extend(found);
    }

    fn validate_status(&self, new: &Value, old: &Value, problems: &mut Problems) {
        let mut found = Problems::default();
        validate_meta_update(new, old, &mut found);
        if let (Some(schema), Some(status)) = (self.schema.properties.get("status"), new.get("status")) {
            passes::validate_part(schema, status, old.get("status"), "status", &mut found);
        }
        if let Some(scale) = &self.scale {
            scale.validate_status(new, &mut found);
        }
        self.validate_insides(new, Some(old), &mut found);
        problems.extend(found);
    }

    fn fields(&self, object: &Value) -> Vec<Selectable> {
        let fields = self.selectable.iter().map(|(name, path)| {
            let value = match path.first(object) {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.to_string(),
                Some(other) => other.to_string(),
            };
            Selectable::new(name.clone(), value)
        });
        fields.collect()
    }

    fn columns(&self) -> Vec<Column> {
        self.columns.headings()
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        self.columns.cells(object, now)
    }

    fn warnings(&self, _object: &Value) -> Vec<String> {
        self.deprecation.clone().into_iter().collect()
    }
}

impl CustomKind {
    /// What is judged besides the keywords.
    fn validate_insides(&self, new: &Value, old: Option<&Value>, problems: &mut Problems) {
        passes::validate_embedded(&self.schema, new, problems);
        passes::validate_lists(&self.schema, new, old, problems);
    }
}

/// Sets a field, or removes it.
fn put(fields: Option<&mut Map>, name: &str, value: Option<Value>) {
    let Some(fields) = fields else { return };
    match value {
        Some(value) => drop(fields.insert(name, value)),
        None => drop(fields.remove(name)),
    }
}
