//! What a custom kind is: its schema, applied where the pipeline asks.

use std::borrow::Cow;
use std::sync::Arc;

use berth_api::Problems;
use berth_api::column::Column;
use berth_api::decode::Finding;
use berth_api::kinds::meta::{validate_meta, validate_meta_update};
use berth_api::kinds::names::subdomain_1123;
use berth_api::kinds::view::copy_field;
use berth_api::resource::{Kind, ScalePaths, Scope, Selectable};
use berth_json::{Map, Value};

use crate::json_path::JsonPath;
use crate::passes;
use crate::path::NOWHERE;
use crate::rules::{self, Rules};
use crate::scale;
use crate::structural::Structural;

/// What can be done with custom resources, in the order in which discovery lists it.
pub(crate) const VERBS: [&str; 8] =
    ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];

/// One version of a custom kind.
pub(crate) struct CustomKind {
    pub(crate) scope: Scope,
    pub(crate) schema: Structural,
    /// The schema of the version that is stored, where there are several.
    pub(crate) stored: Option<Arc<Structural>>,
    /// Whether a schema says anywhere what stands where nothing does.
    pub(crate) has_defaults: bool,
    /// What OpenAPI says of this version.
    pub(crate) components: Vec<(String, Value)>,
    pub(crate) rules: Option<Rules>,
    pub(crate) has_status: bool,
    pub(crate) scale: Option<ScalePaths>,
    pub(crate) columns: Vec<Column>,
    /// The fields of all versions: an object is found by them in whatever version it is asked for.
    pub(crate) fields: Vec<(Cow<'static, str>, JsonPath)>,
    /// Those of this one.
    pub(crate) selectable: Vec<Cow<'static, str>>,
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

    /// What the stored version does not know is lost, also where this one does.
    fn to_stored(&self, object: &mut Value) {
        if let Some(stored) = &self.stored {
            passes::prune(stored, object);
            passes::default(stored, object);
        }
    }

    /// Defaults are those of the stored version: what this one adds to it was never there. What another version stored
    /// before this one did is pruned as well.
    fn to_served(&self, object: &mut Value) {
        passes::default(self.stored.as_deref().unwrap_or(&self.schema), object);
        if self.stored.is_some() {
            passes::prune(&self.schema, object);
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
        if let Some(paths) = &self.scale {
            scale::validate_spec(paths, object, &mut found);
            scale::validate_status(paths, object, &mut found);
        }
        self.validate_insides(object, None, &mut found);
        problems.extend(found);
    }

    fn validate_update(&self, new: &Value, old: &Value, problems: &mut Problems) {
        let mut found = Problems::default();
        validate_meta_update(new, old, &mut found);
        passes::validate_fields(&self.schema, new, Some(old), &mut found);
        if let Some(paths) = &self.scale {
            scale::validate_spec(paths, new, &mut found);
            scale::validate_status(paths, new, &mut found);
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
        if let Some(paths) = &self.scale {
            scale::validate_status(paths, new, &mut found);
        }
        self.validate_insides(new, Some(old), &mut found);
        problems.extend(found);
    }

    fn fields(&self, object: &Value) -> Vec<Selectable> {
        let fields = self.fields.iter().map(|(name, path)| {
            let value = match path.first(object) {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.to_string(),
                Some(other) => other.to_string(),
            };
            Selectable::new(name.clone(), value)
        });
        fields.collect()
    }

    fn selectable(&self) -> Vec<Cow<'static, str>> {
        self.selectable.clone()
    }

    fn converts(&self) -> bool {
        self.stored.is_some() || self.has_defaults
    }

    fn components(&self) -> Vec<(String, Value)> {
        self.components.clone()
    }

    fn columns(&self) -> Vec<Column> {
        self.columns.clone()
    }
}

impl CustomKind {
    /// What is judged besides the keywords.
    fn validate_insides(&self, new: &Value, old: Option<&Value>, problems: &mut Problems) {
        passes::validate_embedded(&self.schema, new, problems);
        passes::validate_lists(&self.schema, new, old, problems);
        self.validate_rules(new, old, problems);
    }

    /// Rules are for objects of the right shape.
    fn validate_rules(&self, new: &Value, old: Option<&Value>, problems: &mut Problems) {
        const BLOCKING: [&str; 5] = [
            "FieldValueNotSupported",
            "FieldValueRequired",
            "FieldValueTooLong",
            "FieldValueTooMany",
            "FieldValueTypeInvalid",
        ];
        let Some(rules) = &self.rules else { return };
        if problems.causes.iter().any(|cause| BLOCKING.contains(&cause.reason)) {
            let detail = "some validation rules were not checked because the object was invalid; correct the existing \
                          errors to complete validation";
            problems.invalid(NOWHERE, &Value::Null, detail);
        } else {
            problems.extend(rules::judge(rules, &self.schema, new, old, ""));
        }
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
