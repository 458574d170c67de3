//! `ObjectMeta`: what every kind's metadata must satisfy.

use berth_json::Value;

use super::cursor::Cursor;
use super::names::{self, Faults};
use crate::resource::Scope;
use crate::status::Problems;

/// The most bytes the keys and values of an object's annotations may have together.
pub const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;
/// The longest name of a field manager.
const MANAGER_LENGTH_MAX: usize = 128;
/// The longest name of a subresource in `managedFields`.
const SUBRESOURCE_LENGTH_MAX: usize = 256;

/// Checks the metadata of a new object whose names follow `name_rule`.
pub fn validate_meta(object: &Value, scope: Scope, name_rule: fn(&str) -> Faults, problems: &mut Problems) {
    let meta = Cursor::top(object, "metadata");
    let prefix = meta.child("generateName");
    if !prefix.is_empty() {
        reject(&prefix, name_rule(&names::as_prefix(prefix.text())), problems);
    }
    let name = meta.child("name");
    if name.is_empty() {
        problems.required(name, "name or generateName is required");
    } else {
        reject(&name, name_rule(name.text()), problems);
        reject(&name, names::path_segment(name.text()), problems);
    }
    validate_namespace(&meta.child("namespace"), scope, problems);
    let generation = meta.child("generation");
    if generation.int().is_some_and(|value| value < 0) {
        problems.invalid(generation, generation.value(), NOT_NEGATIVE);
    }
    validate_collections(&meta, problems);
    let finalizers = meta.child("finalizers");
    validate_finalizers(&finalizers, problems);
    validate_managed_fields(&meta.child("managedFields"), problems);
    for finalizer in finalizers.items() {
        validate_finalizer_known(&finalizer, finalizer.text(), problems);
    }
}

/// Checks the metadata of a changed object against what it was. Whether `resourceVersion` may be absent, and whether
/// it is the current one, is the pipeline's affair.
pub fn validate_meta_update(new: &Value, old: &Value, problems: &mut Problems) {
    let (meta, before) = (Cursor::top(new, "metadata"), Cursor::top(old, "metadata"));
    if before.child("deletionTimestamp").exists() {
        refuse_new_finalizers(&meta.child("finalizers"), &before.child("finalizers"), problems);
    }
    for key in IMMUTABLE {
        immutable(&meta.child(key), &before.child(key), problems);
    }
    validate_collections(&meta, problems);
    validate_managed_fields(&meta.child("managedFields"), problems);
}

const IMMUTABLE: [&str; 6] =
    ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"];

pub(super) const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

/// Reports every fault of the value at `at`; an absent one is shown as the empty string it stands for.
pub(super) fn reject(at: &Cursor<'_>, faults: Faults, problems: &mut Problems) {
    for fault in faults {
        problems.invalid(at, &shown(at), &fault);
    }
}

/// A struct as the API server's messages show it: with the names that its fields have in Go.
pub fn as_go(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| (go_name(key), as_go(value))).collect(),
        Value::Array(items) => items.iter().map(as_go).collect::<Vec<_>>().into(),
        value => value.clone(),
    }
}

fn go_name(key: &str) -> String {
    let mut chars = key.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

fn shown(at: &Cursor<'_>) -> Value {
    if at.exists() { at.value().clone() } else { "".into() }
}

/// Reports a value that differs from what it was.
pub(super) fn immutable(new: &Cursor<'_>, old: &Cursor<'_>, problems: &mut Problems) {
    if new.value() != old.value() {
        problems.invalid(new, new.value(), "field is immutable");
    }
}

/// Reports a negative number.
pub(super) fn not_negative(at: &Cursor<'_>, problems: &mut Problems) {
    if at.int().is_some_and(|value| value < 0) {
        problems.invalid(at, at.value(), NOT_NEGATIVE);
    }
}

/// Reports a value outside `supported`, in whose order the message lists them.
pub(super) fn one_of(at: &Cursor<'_>, supported: &[&str], problems: &mut Problems) {
    if !supported.contains(&at.text()) {
        problems.not_supported(at, &shown(at), supported);
    }
}

fn validate_namespace(namespace: &Cursor<'_>, scope: Scope, problems: &mut Problems) {
    match scope {
        Scope::Namespaced if namespace.is_empty() => problems.required(namespace, ""),
        Scope::Namespaced => reject(namespace, names::label_1123(namespace.text()), problems),
        Scope::Cluster if namespace.is_empty() => {}
        Scope::Cluster => problems.forbidden(namespace, "not allowed on this type"),
    }
}

fn validate_collections(meta: &Cursor<'_>, problems: &mut Problems) {
    validate_labels(&meta.child("labels"), problems);
    validate_annotations(&meta.child("annotations"), problems);
    validate_owners(&meta.child("ownerReferences"), problems);
}

/// Checks a map of labels; used for node selectors as well.
pub(super) fn validate_labels(labels: &Cursor<'_>, problems: &mut Problems) {
    for (key, value) in labels.entries() {
        for fault in names::qualified_name(key) {
            problems.invalid(labels, &key.into(), &fault);
        }
        for fault in names::label_value(value.text()) {
            problems.invalid(labels, value.value(), &fault);
        }
    }
}

/// Checks a map of annotations, its size included.
pub(super) fn validate_annotations(annotations: &Cursor<'_>, problems: &mut Problems) {
    let mut bytes = 0;
    for (key, value) in annotations.entries() {
        bytes += key.len() + value.text().len();
        for fault in names::qualified_name(&key.to_lowercase()) {
            problems.invalid(annotations, &key.into(), &fault);
        }
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        problems.too_long(annotations, &format!("may not be more than {ANNOTATIONS_BYTES_MAX} bytes"));
    }
}

fn validate_owners(owners: &Cursor<'_>, problems: &mut Problems) {
    let mut controller: Option<String> = None;
    for owner in owners.items() {
        validate_owner(&owner, problems);
        if !owner.child("controller").is_true() {
            continue;
        }
        let this = format!("{}/{}", owner.child("kind").text(), owner.child("name").text());
        match &controller {
            None => controller = Some(this),
            Some(first) => {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} \
                     and {this}"
                );
                problems.invalid(owners, owners.value(), &detail);
            }
        }
    }
}

fn validate_owner(owner: &Cursor<'_>, problems: &mut Problems) {
    let api_version = owner.child("apiVersion");
    let parts: Vec<&str> = api_version.text().split('/').collect();
    if !api_version.is_empty() && (parts.len() > 2 || parts.last().is_some_and(|version| version.is_empty()))
    {
        problems.invalid(api_version, api_version.value(), "must be <group>/<version> or <version>");
    }
    for key in ["apiVersion", "kind", "name", "uid"] {
        if owner.child(key).is_empty() {
            problems.required(owner.child(key), "must not be empty");
        }
    }
    if api_version.text() == "v1" && owner.child("kind").text() == "Event" {
        problems.invalid(owner, owner.value(), "/v1, Kind=Event is disallowed from being an owner");
    }
}

fn validate_finalizers(finalizers: &Cursor<'_>, problems: &mut Problems) {
    for finalizer in finalizers.items() {
        for fault in names::qualified_name(finalizer.text()) {
            problems.invalid(finalizers, finalizer.value(), &fault);
        }
    }
    let has = |name: &str| finalizers.list().iter().any(|f| f == name);
    if has("orphan") && has("foregroundDeletion") {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        problems.invalid(finalizers, finalizers.value(), detail);
    }
}

/// A finalizer without a domain must be one of the API's own.
pub(super) fn validate_finalizer_known(at: &Cursor<'_>, name: &str, problems: &mut Problems) {
    let known = ["kubernetes", "orphan", "foregroundDeletion"].contains(&name) || name.contains('/');
    if !known {
        let detail = "name is neither a standard finalizer name nor is it fully qualified";
        problems.invalid(at, &name.into(), detail);
    }
}

fn refuse_new_finalizers(new: &Cursor<'_>, old: &Cursor<'_>, problems: &mut Problems) {
    let added: Vec<String> =
        new.list().iter().filter(|f| !old.list().contains(f)).map(Value::to_string).collect();
    if !added.is_empty() {
        let detail = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added.join(", ")
        );
        problems.forbidden(new, &detail);
    }
}

fn validate_managed_fields(entries: &Cursor<'_>, problems: &mut Problems) {
    // One empty entry is a wish: it clears the list.
    if matches!(entries.value().as_array().map(Vec::as_slice), Some([Value::Object(only)]) if only.is_empty())
    {
        return;
    }
    for entry in entries.items() {
        let operation = entry.child("operation");
        match operation.text() {
            "Apply" | "Update" => {}
            "" => problems.required(operation, "must not be empty"),
            _ => problems.not_supported(operation, operation.value(), &["Apply", "Update"]),
        }
        let fields_type = entry.child("fieldsType");
        if !matches!(fields_type.text(), "" | "FieldsV1") {
            problems.invalid(fields_type, fields_type.value(), "must be `FieldsV1`");
        }
        let manager = entry.child("manager");
        if manager.text().len() > MANAGER_LENGTH_MAX {
            problems.too_long(manager, &format!("may not be more than {MANAGER_LENGTH_MAX} bytes"));
        }
        let subresource = entry.child("subresource");
        if subresource.text().len() > SUBRESOURCE_LENGTH_MAX {
            problems.too_long(subresource, &format!("may not be more than {SUBRESOURCE_LENGTH_MAX} bytes"));
        }
    }
}
