//! The part of `metadata` that is asked for all the time, read once.

use berth_api::Timestamp;
use berth_api::select::Labels;
use berth_json::{Map, Value};

use crate::EncodeError;

/// The parsed part of `metadata`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    /// Unique in time and space.
    pub uid: Box<str>,
    /// Labels, sorted by key.
    pub labels: Vec<(Box<str>, Box<str>)>,
    /// The objects this one depends on.
    pub owner_references: Vec<Owner>,
    /// What must be done before the object may go.
    pub finalizers: Vec<Box<str>>,
    /// Since when the object is being deleted.
    pub deletion_timestamp: Option<Timestamp>,
    /// When the object was created.
    pub creation_timestamp: Option<Timestamp>,
    /// Counts changes of the spec; 0 for kinds without it.
    pub generation: i64,
}

/// One owner reference (`metav1.OwnerReference`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Owner {
    /// `apps/v1`.
    pub api_version: Box<str>,
    /// `ReplicaSet`.
    pub kind: Box<str>,
    /// The owner's name.
    pub name: Box<str>,
    /// The owner's uid: what counts.
    pub uid: Box<str>,
    /// Whether this owner manages the object.
    pub controller: bool,
    /// Whether the owner's foreground deletion waits for this object.
    pub block_owner_deletion: bool,
}

impl Meta {
    /// Reads `metadata`; what is absent or null has its zero value.
    ///
    /// # Errors
    /// When a field has the wrong type.
    pub fn read(metadata: &Map) -> Result<Self, EncodeError> {
        let labels = match present(metadata, "labels") {
            None => vec![],
            // A map's entries stand sorted by key.
            Some(labels) => labels.as_object().and_then(pairs).ok_or(EncodeError::Metadata("labels"))?,
        };
        Ok(Self {
            uid: text(metadata, "uid")?,
            labels,
            owner_references: list(metadata, "ownerReferences", |owner| {
                Owner::read(owner.as_object()?).ok()
            })?,
            finalizers: list(metadata, "finalizers", |name| name.as_str().map(Box::from))?,
            deletion_timestamp: timestamp(metadata, "deletionTimestamp")?,
            creation_timestamp: timestamp(metadata, "creationTimestamp")?,
            generation: match present(metadata, "generation") {
                None => 0,
                Some(number) => number.as_i64().ok_or(EncodeError::Metadata("generation"))?,
            },
        })
    }
}

impl Owner {
    fn read(owner: &Map) -> Result<Self, EncodeError> {
        let flag = |name| present(owner, name).and_then(Value::as_bool).unwrap_or_default();
        Ok(Self {
            api_version: text(owner, "apiVersion")?,
            kind: text(owner, "kind")?,
            name: text(owner, "name")?,
            uid: text(owner, "uid")?,
            controller: flag("controller"),
            block_owner_deletion: flag("blockOwnerDeletion"),
        })
    }
}

impl Labels for Meta {
    fn label(&self, key: &str) -> Option<&str> {
        self.labels.binary_search_by(|(k, _)| k.as_ref().cmp(key)).ok().map(|at| self.labels[at].1.as_ref())
    }
}

fn present<'v>(fields: &'v Map, name: &str) -> Option<&'v Value> {
    fields.get(name).filter(|value| !value.is_null())
}

fn text(fields: &Map, name: &'static str) -> Result<Box<str>, EncodeError> {
    match present(fields, name) {
        None => Ok(Box::default()),
        Some(value) => value.as_str().map(Box::from).ok_or(EncodeError::Metadata(name)),
    }
}

fn timestamp(fields: &Map, name: &'static str) -> Result<Option<Timestamp>, EncodeError> {
    let Some(value) = present(fields, name) else { return Ok(None) };
    value.as_str().and_then(Timestamp::parse).map(Some).ok_or(EncodeError::Metadata(name))
}

fn list<T>(
    fields: &Map,
    name: &'static str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Vec<T>, EncodeError> {
    let Some(value) = present(fields, name) else { return Ok(vec![]) };
    let items = value.as_array().and_then(|values| values.iter().map(read).collect());
    items.ok_or(EncodeError::Metadata(name))
}

fn pairs(entries: &Map) -> Option<Vec<(Box<str>, Box<str>)>> {
    entries.iter().map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into()))).collect()
}
