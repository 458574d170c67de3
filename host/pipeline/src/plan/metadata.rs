//! The part of `metadata` that is the server's.

use berth_api::kinds::meta::validate_meta_update;
use berth_api::kinds::view::{copy_field, int_at, list_at, str_at};
use berth_api::status::Cause;
use berth_api::{Problems, Reason, Status};
use berth_json::{Map, Text, Value};
use berth_state::{Revision, Stored};

use super::context::Context;
use crate::ids::SUFFIX_LENGTH;

/// The longest name that `generateName` makes.
const GENERATED_NAME_MAX: usize = 63;

/// How often a generated name that is taken is drawn anew: with 14 million ends, twice in a row means a namespace
/// with millions of objects of one prefix.
const DRAWS_MAX: usize = 8;

/// Fields that are the server's: what a client sends there is dropped.
const SERVERS_OWN: [&str; 5] =
    ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"];

impl Context<'_, '_> {
    /// Metadata of an object on its way into being: what the server sets is dropped, the name made up if asked for.
    pub(super) fn prepare_new_metadata(&mut self, object: &mut Value) -> Result<(), Status> {
        if !matches!(str_at(object, "metadata.resourceVersion"), "" | "0") {
            let message = "resourceVersion should not be set on objects to be created";
            return Err(Status::new(Reason::Unknown, message));
        }
        self.place_in_namespace(object)?;
        let metadata = metadata_of(object);
        metadata.remove("resourceVersion");
        for key in SERVERS_OWN {
            metadata.remove(key);
        }
        if self.request.resource.has_generation {
            metadata.insert("generation".to_owned(), 1.into());
        }
        let is_named = metadata.get("name").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
        let prefix = metadata.get("generateName").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !is_named && !prefix.is_empty() {
            let name = self.draw_name(&prefix);
            metadata_of(object).insert("name".to_owned(), name.into());
        }
        Ok(())
    }

    fn draw_name(&mut self, prefix: &str) -> String {
        let base: String = prefix.chars().take(GENERATED_NAME_MAX - SUFFIX_LENGTH).collect();
        let mut name = String::new();
        for _ in 0..DRAWS_MAX {
            name = format!("{base}{}", self.env.ids.suffix());
            if self.state.get(&self.key(&name)).is_none() {
                break;
            }
        }
        name
    }

    /// The namespace of the URL is the object's.
    pub(super) fn place_in_namespace(&self, object: &mut Value) -> Result<(), Status> {
        let namespace = &self.request.namespace;
        let given = str_at(object, "metadata.namespace");
        if !given.is_empty() && !namespace.is_empty() && given != namespace {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        let metadata = metadata_of(object);
        if namespace.is_empty() {
            metadata.remove("namespace");
        } else {
            metadata.insert("namespace".to_owned(), namespace.as_str().into());
        }
        Ok(())
    }

    /// The name of the URL is the object's.
    pub(super) fn check_name(&self, object: &Value) -> Result<(), Status> {
        let url = &self.request.name;
        match str_at(object, "metadata.name") {
            name if name == url => Ok(()),
            "" => Err(Status::bad_request(format!(
                "the name of the object ({url} based on URL) was undeterminable: name must be provided"
            ))),
            name => Err(Status::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({url})"
            ))),
        }
    }

    /// The version a client builds on must be the present one; one that names none takes what is there, where the kind
    /// allows that.
    pub(super) fn check_version(&self, object: &Value, old: &Stored) -> Result<(), Status> {
        // First, as in the API server: who means another object is not to be told to try again with this one's version.
        self.check_uid(object, old)?;
        match parse_version(str_at(object, "metadata.resourceVersion"))? {
            Some(revision) if revision == old.revision => Ok(()),
            Some(_) => Err(self.conflict(berth_api::status::MODIFIED)),
            None if self.request.resource.unconditional_update => Ok(()),
            None => Err(self.version_missing()),
        }
    }

    pub(super) fn check_uid(&self, object: &Value, old: &Stored) -> Result<(), Status> {
        let (given, uid) = (str_at(object, "metadata.uid"), &old.meta().uid);
        if given.is_empty() || given == &**uid {
            return Ok(());
        }
        let key = format!("/registry/{}", old.key);
        Err(self.conflict(&format!(
            "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition \
             failed: UID in precondition: {given}, UID in object meta: {uid}"
        )))
    }

    pub(super) fn conflict(&self, why: &str) -> Status {
        Status::conflict(&self.request.resource, &self.request.name, why)
    }

    fn version_missing(&self) -> Status {
        let field = "metadata.resourceVersion";
        let cause = Cause {
            reason: "FieldValueInvalid",
            message: "Invalid value: 0: must be specified for an update".to_owned(),
            field: field.to_owned(),
        };
        let (resource, name) = (self.request.resource.qualified(), &self.request.name);
        let message = format!("{resource} \"{name}\" is invalid: {field}: {}", cause.message);
        let mut details = self.plural_details(name);
        details.causes.push(cause);
        Status { details: Some(Box::new(details)), ..Status::new(Reason::Invalid, message) }
    }
}

/// Reads a resourceVersion; absent, empty and `0` mean any.
fn parse_version(text: &str) -> Result<Option<Revision>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<u64>() {
        Ok(0) => Ok(None),
        Ok(revision) => Ok(Some(Revision(revision))),
        Err(_) => {
            let message = format!("strconv.ParseUint: parsing {}: invalid syntax", Value::from(text));
            Err(Status::new(Reason::Unknown, message))
        }
    }
}

/// What the server set on the old object stays: what a client says of it is dropped, or, where that would be to
/// ignore a wish (another uid, a mark of deletion), is left for validation to refuse.
pub(super) fn keep_servers_own(new: &mut Value, old: &Value) {
    metadata_of(new);
    let (Some(metadata), Some(before)) = (new.get_mut("metadata"), old.get("metadata")) else { return };
    for key in ["creationTimestamp", "generation", "resourceVersion", "selfLink"] {
        copy_field(metadata, before, key);
    }
    if before.get("deletionTimestamp").is_some() {
        copy_field(metadata, before, "deletionTimestamp");
    }
    for key in ["uid", "deletionGracePeriodSeconds"] {
        if metadata.get(key).is_none_or(|value| value.is_null() || *value == "") {
            copy_field(metadata, before, key);
        }
    }
}

/// The problems of a change, those of the metadata first: the API server checks it before the kind checks the whole.
pub(super) fn with_metadata_first(new: &Value, old: &Value, problems: Problems) -> Problems {
    if problems.is_empty() {
        return problems;
    }
    let mut all = Problems::default();
    validate_meta_update(new, old, &mut all);
    all.extend(problems);
    all
}

/// Counts a change of anything but metadata and status.
pub(super) fn raise_generation(new: &mut Value, old: &Value) {
    if same_without(new, old, &["metadata", "status"]) {
        return;
    }
    let generation = int_at(old, "metadata.generation").unwrap_or_default() + 1;
    metadata_of(new).insert("generation".to_owned(), generation.into());
}

/// Whether two versions are the same but for their managedFields.
pub(super) fn same_but_managers(new: &Value, old: &Value) -> bool {
    same_without(new, old, &["metadata"])
        && same_without(&new["metadata"], &old["metadata"], &["managedFields"])
}

fn same_without(new: &Value, old: &Value, without: &[&str]) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return new == old };
    let counts = |(key, _): &(&Text, &Value)| !without.contains(&key.as_str());
    new.iter().filter(counts).eq(old.iter().filter(counts))
}

/// Whether the client says otherwise than the old object who manages which fields.
pub(super) fn names_managers(new: &Value, old: &Value) -> bool {
    let (new, old) = (&new["metadata"], &old["metadata"]);
    new.get("managedFields").is_some_and(|named| old.get("managedFields") != Some(named))
}

/// Whether nothing holds an object that is being deleted any more.
pub(super) fn is_released(new: &Value, old: &Stored) -> bool {
    old.meta().deletion_timestamp.is_some()
        && int_at(new, "metadata.deletionGracePeriodSeconds").unwrap_or_default() == 0
        && list_at(new, "metadata.finalizers").is_empty()
        && (&*old.key.resource != "namespaces" || list_at(new, "spec.finalizers").is_empty())
}

/// `metadata`, made when absent.
pub(super) fn metadata_of(object: &mut Value) -> &mut Map {
    if !object.get("metadata").is_some_and(Value::is_object) {
        object["metadata"] = Value::Object(Map::new());
    }
    object["metadata"].as_object_mut().expect("made above")
}
