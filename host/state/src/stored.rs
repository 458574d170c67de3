//! An object at rest: its encoded bytes plus the little that is asked of it all the time.
//!
//! A pod of 4 KB takes several times as much as a `berth_json::Value`, so Values live only inside a request.

use std::borrow::Cow;
use std::cell::RefCell;

use berth_api::Resource;
use berth_api::resource::{Claim, Selectable};
use berth_api::select::Labels;
use berth_api::views::View;
use berth_json::{Map, Value};
use bytes::Bytes;

use crate::viewed::Viewed;
use crate::{Key, Meta, Owner, Revision};

/// What every encoding begins with: metadata stands first, so that the resourceVersion can be put in without parsing.
const HEAD: &[u8] = b"{\"metadata\":{";

/// How much room for encoding a thread keeps: some objects are a hundred times larger than the others.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    /// Where an object is encoded before its size is known, so that what is kept is allocated once, in its size.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A field by which the object is found: what field selectors and indexes use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredField {
    /// Its path.
    pub name: Cow<'static, str>,
    /// Its value.
    pub value: Box<str>,
    /// Whether its kind has an index over it.
    pub is_indexed: bool,
}

/// An object that is about to be written: all of [`Stored`] but the revision, which the commit gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    bytes: Bytes,
    /// What the metadata says.
    pub meta: Meta,
    /// The values that field selectors and indexes use ([`Kind::fields`](berth_api::Kind::fields)).
    pub fields: Vec<StoredField>,
    /// What no other object may have ([`Kind::claims`](berth_api::Kind::claims)); most have none, and nothing is kept then.
    pub claims: Box<[Claim]>,
}

/// One version of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The object's name.
    pub key: Key,
    /// The revision that wrote this version: its `metadata.resourceVersion`.
    pub revision: Revision,
    draft: Draft,
    view: Viewed,
}

/// An object that cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The value has no `metadata` object with a name.
    #[error("the object has no metadata.name")]
    NoName,
    /// A field of the metadata has the wrong type.
    #[error("metadata.{0} has the wrong type")]
    Metadata(&'static str),
    /// The bytes are not an object Berth wrote.
    #[error("the object cannot be read: {0}")]
    Json(#[from] serde_json::Error),
}

impl Draft {
    /// Encodes `object`. `kind`, `apiVersion` and `metadata.resourceVersion` are left out: they are put in when served.
    /// `managers`, encoded, stand in the place of the object's `metadata.managedFields`.
    ///
    /// # Errors
    /// When the metadata has no name or is of a wrong type.
    pub fn encode(resource: &Resource, object: &Value, managers: Option<&str>) -> Result<Self, EncodeError> {
        let converted;
        let object = match resource.behaviour.converts() {
            true => {
                let mut stored = object.clone();
                resource.behaviour.to_stored(&mut stored);
                converted = stored;
                &converted
            }
            false => object,
        };
        let metadata = object.get("metadata").and_then(Value::as_object).ok_or(EncodeError::NoName)?;
        if !metadata.get("name").is_some_and(Value::is_string) {
            return Err(EncodeError::NoName);
        }
        let bytes = SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            let written = write_object(scratch, object, metadata, managers);
            let bytes = written.map(|()| Bytes::copy_from_slice(scratch));
            scratch.shrink_to(SCRATCH_BYTES_MAX);
            bytes
        })?;
        let (fields, claims) = (fields_of(resource, object), claims_of(resource, object));
        Ok(Self { bytes, meta: Meta::read(metadata)?, fields, claims })
    }

    /// Reads back what [`Draft::encode`] made, as a store returns it.
    ///
    /// # Errors
    /// When the bytes were not written by Berth.
    pub fn restore(resource: &Resource, bytes: Bytes) -> Result<Self, EncodeError> {
        if !bytes.starts_with(HEAD) {
            return Err(EncodeError::NoName);
        }
        let object: Value = serde_json::from_slice(&bytes)?;
        let metadata = object.get("metadata").and_then(Value::as_object).ok_or(EncodeError::NoName)?;
        let meta = Meta::read(metadata)?;
        let (fields, claims) = (fields_of(resource, &object), claims_of(resource, &object));
        Ok(Self { bytes, meta, fields, claims })
    }

    /// A draft whose bytes were made from those of an older version, past any `Value`: what binding thousands of pods
    /// a second needs. `meta`, `fields` and `claims` must be what the bytes say.
    ///
    /// # Panics
    /// In debug builds, when the bytes do not begin as [`Draft::encode`] makes them.
    pub fn from_parts(bytes: Bytes, meta: Meta, fields: Vec<StoredField>, claims: Box<[Claim]>) -> Self {
        debug_assert!(bytes.starts_with(HEAD), "metadata stands first");
        Self { bytes, meta, fields, claims }
    }

    /// The encoded object, as it is kept.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl Stored {
    /// `draft`, written at `revision`.
    pub fn new(key: Key, revision: Revision, draft: Draft) -> Self {
        Self { key, revision, draft, view: Viewed::default() }
    }

    /// The encoded object, without kind, apiVersion and resourceVersion.
    pub fn bytes(&self) -> &Bytes {
        &self.draft.bytes
    }

    pub(crate) fn draft(&self) -> &Draft {
        &self.draft
    }

    /// What the server's own parts decide by, read when it is first asked for and kept as long as this version: whoever holds it
    /// shares it. `None` when the view is that of another resource, or the object does not have the form that validation
    /// would have seen to.
    ///
    /// # Panics
    /// When the resource has another view too: a bug in `berth_api::views`.
    pub fn view<V: View>(&self) -> Option<&V> {
        if !V::RESOURCES.contains(&&*self.key.resource) {
            return None;
        }
        self.view.of(&self.draft.bytes)
    }

    /// The parsed metadata.
    pub fn meta(&self) -> &Meta {
        &self.draft.meta
    }

    /// The value of a field by which it is found; `None` when the kind does not have it.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.draft.fields.iter().find(|field| field.name == name).map(|field| field.value.as_ref())
    }

    /// All fields by which it is found.
    pub fn fields(&self) -> &[StoredField] {
        &self.draft.fields
    }

    /// What no other object may have.
    pub fn claims(&self) -> &[Claim] {
        &self.draft.claims
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.draft.meta.label(key)
    }

    /// The owner that manages this object, if any.
    pub fn controller(&self) -> Option<&Owner> {
        self.meta().owner_references.iter().find(|owner| owner.controller)
    }

    /// Appends the object as JSON with its resourceVersion, and `with_kind` with kind and apiVersion (lists of built-in
    /// kinds leave them out).
    pub fn write_json(&self, out: &mut Vec<u8>, resource: &Resource, with_kind: bool) {
        if resource.behaviour.converts() {
            let mut value = self.to_value(resource);
            if let Some(fields) = value.as_object_mut().filter(|_| !with_kind) {
                fields.remove("kind");
                fields.remove("apiVersion");
            }
            serde_json::to_writer(out, &value).expect("a value can always be written");
            return;
        }
        out.reserve(self.draft.bytes.len() + 96);
        out.push(b'{');
        if with_kind {
            out.extend_from_slice(b"\"kind\":\"");
            out.extend_from_slice(resource.kind.as_bytes());
            out.extend_from_slice(b"\",\"apiVersion\":\"");
            out.extend_from_slice(resource.api_version().as_bytes());
            out.extend_from_slice(b"\",");
        }
        out.extend_from_slice(&HEAD[1..]);
        out.extend_from_slice(b"\"resourceVersion\":\"");
        out.extend_from_slice(self.revision.to_string().as_bytes());
        out.extend_from_slice(b"\",");
        out.extend_from_slice(&self.draft.bytes[HEAD.len()..]);
    }

    /// The object as a value, with kind, apiVersion and resourceVersion, as a client sees it.
    pub fn to_value(&self, resource: &Resource) -> Value {
        let mut value: Value = serde_json::from_slice(&self.draft.bytes)
            .expect("encoded by Draft::encode or checked by restore");
        value["kind"] = resource.kind.as_str().into();
        value["apiVersion"] = resource.api_version().into();
        value["metadata"]["resourceVersion"] = self.revision.to_string().into();
        resource.behaviour.to_served(&mut value);
        value
    }
}

fn fields_of(resource: &Resource, object: &Value) -> Vec<StoredField> {
    resource
        .behaviour
        .fields(object)
        .into_iter()
        .map(|Selectable { name, value, is_indexed, .. }| StoredField {
            name,
            value: value.into(),
            is_indexed,
        })
        .collect()
}

fn claims_of(resource: &Resource, object: &Value) -> Box<[Claim]> {
    let mut claims = resource.behaviour.claims(object);
    claims.sort_unstable();
    claims.dedup();
    claims.into()
}

/// The whole encoding: metadata first.
fn write_object(
    out: &mut Vec<u8>,
    object: &Value,
    metadata: &Map,
    managers: Option<&str>,
) -> Result<(), EncodeError> {
    out.extend_from_slice(HEAD);
    match managers {
        None => write_fields(out, metadata, &["resourceVersion"], false)?,
        Some(managers) => {
            write_fields(out, metadata, &["resourceVersion", "managedFields"], false)?;
            out.extend_from_slice(b",\"managedFields\":");
            out.extend_from_slice(managers.as_bytes());
        }
    }
    out.push(b'}');
    if let Some(object) = object.as_object() {
        write_fields(out, object, &["metadata", "kind", "apiVersion"], true)?;
    }
    out.push(b'}');
    Ok(())
}

fn write_fields(
    out: &mut Vec<u8>,
    object: &Map,
    without: &[&str],
    mut comma: bool,
) -> Result<(), EncodeError> {
    for (key, value) in object.iter().filter(|(key, _)| !without.contains(&key.as_str())) {
        if comma {
            out.push(b',');
        }
        comma = true;
        serde_json::to_writer(&mut *out, key)?;
        out.push(b':');
        serde_json::to_writer(&mut *out, value)?;
    }
    Ok(())
}
