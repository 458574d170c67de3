//! From bytes to a checked object: JSON, YAML or protobuf in, a [`serde_json::Value`] of a schema type out.
//!
//! The value is as Go's types would print it: unknown fields are gone, nulls and empty values of optional fields are
//! gone, structs that are no pointers are there (`status: {}`), quantities and times are canonical.

use serde_json::Value;

use crate::resource::Resource;
use crate::schema::Schema;
use crate::status::Status;

/// How deep a JSON, YAML or protobuf body may nest. Go stops at 10,000; a real object needs less than 30, and a
/// recursive walk of this many levels stays far within a thread's stack.
pub const DEPTH_MAX: usize = 100;

/// How large a request body may be: etcd's limit times two, as the Kubernetes API server has it.
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// The encodings a request body may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

/// What a client asks to be done about unknown and duplicate fields (`fieldValidation`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them with a `Warning` header each; the default.
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

/// The kind that an endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected<'a> {
    /// API group; empty for the core group.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// Kind.
    pub kind: &'a str,
    /// The schema type, e.g. `core.v1.Pod`.
    pub schema_type: &'a str,
}

/// `apiVersion` and `kind` as a body gives them; empty where it does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeMeta {
    /// `v1`, `apps/v1`, …
    pub api_version: String,
    /// `Pod`, …
    pub kind: String,
}

/// Something that strict decoding refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A field that the type does not have, by its path: `spec.containers[0].foo`.
    Unknown(String),
    /// A field that stands twice in one object, by its path.
    Duplicate(String),
    /// A key that stands twice in one YAML mapping, with its line.
    DuplicateYaml {
        /// The line of the second key, counted from 1.
        line: usize,
        /// The key.
        key: String,
    },
}

/// A decoded object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// The object, with the expected `apiVersion` and `kind`.
    pub value: Value,
    /// What strict decoding refuses, in the order in which it stands in the body.
    pub findings: Vec<Finding>,
}

/// Decodes a request's body as the kind that the endpoint takes. A body without `kind` or `apiVersion` is taken as
/// that kind.
///
/// # Errors
/// 400 as the API server words it: syntax, another kind, wrong types.
pub fn decode(
    schema: &Schema,
    expected: Expected<'_>,
    media: MediaType,
    body: &[u8],
) -> Result<Decoded, Status> {
    unimplemented!()
}

/// Checks a value against the type of `expected`: what a patch made, or what the server itself built.
///
/// # Errors
/// One sentence as the API server words it (`json: cannot unmarshal …`, `no kind "…" is registered …`).
pub fn check(schema: &Schema, expected: Expected<'_>, value: Value) -> Result<Decoded, String> {
    unimplemented!()
}

/// Reads only `apiVersion` and `kind`, for endpoints that take several kinds.
///
/// # Errors
/// 400 when the body cannot be read at all.
pub fn read_type_meta(media: MediaType, body: &[u8]) -> Result<TypeMeta, Status> {
    unimplemented!()
}

impl MediaType {
    /// The encoding that a `Content-Type` names; absent or empty means JSON.
    ///
    /// # Errors
    /// 415 for anything else.
    pub fn of_content_type(content_type: &str) -> Result<Self, Status> {
        unimplemented!()
    }
}

impl FieldValidation {
    /// Reads the query parameter; absent or empty means [`FieldValidation::Warn`]. `None` for any other word.
    pub fn parse(word: &str) -> Option<Self> {
        unimplemented!()
    }
}

impl<'a> Expected<'a> {
    /// The kind that a resource's own endpoints take.
    pub fn of(resource: &'a Resource) -> Self {
        Self {
            group: &resource.group,
            version: &resource.version,
            kind: &resource.kind,
            schema_type: &resource.schema_type,
        }
    }

    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        unimplemented!()
    }
}

impl Finding {
    /// The text of the `Warning` header: `unknown field "spec.foo"`.
    pub fn warning(&self) -> String {
        unimplemented!()
    }
}

impl Decoded {
    /// Does with the findings what the client asked for.
    ///
    /// Returns the object and the texts of the warnings.
    ///
    /// # Errors
    /// The sentence `strict decoding error: …` when [`FieldValidation::Strict`] was asked for and there are findings;
    /// [`cannot_handle`] makes the answer to a POST or PUT of it, [`crate::patch::invalid_result`] that to a PATCH.
    pub fn enforce(self, validation: FieldValidation) -> Result<(Value, Vec<String>), String> {
        unimplemented!()
    }
}

/// 400 `Pod in version "v1" cannot be handled as a Pod: …`.
pub fn cannot_handle(expected: Expected<'_>, why: &str) -> Status {
    unimplemented!()
}
