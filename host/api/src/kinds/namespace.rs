//! `Namespace`.

use berth_json::{Value, json};

use super::cursor::Cursor;
use super::meta::{reject, validate_finalizer_known, validate_meta, validate_meta_update};
use super::view::{copy_field, name, str_at};
use super::{Names, fill, names, status_of};
use crate::column::Column;
use crate::pod_security::{LABELS, Level, Version};
use crate::resource::{Kind, Resource, Scope, Selectable, Subresource, kind_of};
use crate::status::Problems;

const NAMES: Names =
    Names { group: "", version: "v1", kind: "Namespace", plural: "namespaces", short: &["ns"] };

/// The label by which selectors find a namespace by its name; the server sees to it that it is true.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// Keeps a namespace until everything in it is gone.
const FINALIZER: &str = "kubernetes";

/// In which ways the pods of a namespace are held against a Pod Security Standard.
const SECURITY_MODES: [&str; 3] = ["enforce", "audit", "warn"];

pub(super) fn resource() -> Resource {
    Resource {
        verbs: vec!["create", "delete", "get", "list", "patch", "update", "watch"],
        subresources: vec![
            Subresource { name: "finalize", kind: kind_of("", "v1", "Namespace"), verbs: &["update"] },
            status_of("", "v1", "Namespace"),
        ],
        ..super::resource(&NAMES, Scope::Cluster, Namespace)
    }
}

struct Namespace;

impl Kind for Namespace {
    fn default(&self, object: &mut Value) {
        let name = name(object).to_owned();
        if name.is_empty() {
            return;
        }
        let labels = object.get_mut("metadata").and_then(|metadata| fill::object_at(metadata, "labels"));
        if let Some(labels) = labels {
            labels.insert(NAME_LABEL.to_owned(), name.into());
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        if let Some(fields) = object.as_object_mut() {
            fields.insert("status".to_owned(), json!({ "phase": "Active" }));
        }
        let Some(spec) = fill::object_at(object, "spec") else { return };
        let finalizers = spec.entry("finalizers").or_insert_with(|| json!([]));
        if let Some(finalizers) =
            finalizers.as_array_mut().filter(|list| !list.iter().any(|f| f == FINALIZER))
        {
            finalizers.push(FINALIZER.into());
        }
    }

    /// `spec` holds only the finalizers, and these change through `/finalize` alone.
    fn prepare_update(&self, new: &mut Value, old: &Value) {
        copy_field(new, old, "spec");
        copy_field(new, old, "status");
    }

    fn validate(&self, object: &Value, problems: &mut Problems) {
        validate_meta(object, Scope::Cluster, names::label_1123, problems);
        let spec = Cursor::top(object, "spec");
        let finalizers = spec.child("finalizers");
        for finalizer in finalizers.list().iter().filter_map(Value::as_str) {
            for fault in names::qualified_name(finalizer) {
                problems.invalid(finalizers, &finalizer.into(), &fault);
            }
            validate_finalizer_known(&finalizers, finalizer, problems);
        }
        validate_security_levels(object, &Value::Null, problems);
    }

    fn validate_update(&self, new: &Value, old: &Value, problems: &mut Problems) {
        validate_meta_update(new, old, problems);
        validate_security_levels(new, old, problems);
    }

    fn validate_status(&self, new: &Value, old: &Value, problems: &mut Problems) {
        validate_meta_update(new, old, problems);
        let (phase, detail) = match new.pointer("/metadata/deletionTimestamp") {
            None | Some(Value::Null) => ("Active", "may only be 'Active' if `deletionTimestamp` is empty"),
            Some(_) => ("Terminating", "may only be 'Terminating' if `deletionTimestamp` is not empty"),
        };
        let status = Cursor::top(new, "status");
        if status.child("phase").text() != phase {
            reject(&status.child("phase"), vec![detail.to_owned()], problems);
        }
    }

    /// Who asks for a level relies on it.
    fn warnings(&self, object: &Value) -> Vec<String> {
        let metadata = Cursor::top(object, "metadata");
        let labels = metadata.child("labels");
        let key = format!("{LABELS}/audit");
        if !["baseline", "restricted"].contains(&labels.key(&key).text()) {
            return vec![];
        }
        vec![format!(
            "metadata.labels[{key}]: Berth keeps no audit log, so nothing is noted; enforce and warn are honoured"
        )]
    }

    fn fields(&self, object: &Value) -> Vec<Selectable> {
        vec![Selectable::new("status.phase", str_at(object, "status.phase"))]
    }

    fn columns(&self) -> Vec<Column> {
        let status = Column::text("Status", 0, "Active or Terminating.", "status.phase");
        vec![Column::of_name(), status, Column::of_age()]
    }
}

/// A namespace that has a wrong level already can still be changed otherwise.
fn validate_security_levels(new: &Value, old: &Value, problems: &mut Problems) {
    let (metadata, before) = (Cursor::top(new, "metadata"), Cursor::top(old, "metadata"));
    let (labels, before) = (metadata.child("labels"), before.child("labels"));
    for mode in SECURITY_MODES {
        for (part, detail) in [
            ("", "must be one of privileged, baseline, restricted"),
            ("-version", "must be \"latest\" or \"v1.x\""),
        ] {
            let key = format!("{LABELS}/{mode}{part}");
            let label = labels.key(&key);
            let is_valid = match part {
                "" => Level::parse(label.text()).is_some(),
                _ => Version::parse(label.text()).is_some(),
            };
            if label.exists() && label.value() != before.key(&key).value() && !is_valid {
                problems.invalid(label, label.value(), detail);
            }
        }
    }
}
