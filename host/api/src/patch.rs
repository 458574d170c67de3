//! PATCH: JSON patch, JSON merge patch and strategic merge patch, as the Kubernetes API server understands them.

use serde_json::Value;

use crate::schema::Schema;
use crate::status::Status;

/// The kinds of patch, told apart by `Content-Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// `application/json-patch+json` (RFC 6902).
    Json,
    /// `application/merge-patch+json` (RFC 7386).
    Merge,
    /// `application/strategic-merge-patch+json`.
    StrategicMerge,
    /// `application/apply-patch+yaml`: server-side apply.
    Apply,
}

/// How many operations a JSON patch may have, as on the API server.
pub const OPERATIONS_MAX: usize = 10_000;

/// A patch that was read but not yet applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    kind: PatchType,
    body: Value,
}

impl PatchType {
    /// The kind of patch that a `Content-Type` names.
    ///
    /// # Errors
    /// 415 for anything else.
    pub fn of_content_type(content_type: &str) -> Result<Self, Status> {
        unimplemented!()
    }
}

impl Patch {
    /// Reads a patch.
    ///
    /// # Errors
    /// 400 for a body that is none, 413 for too many operations, and a clear refusal of server-side apply, which
    /// Berth does not do yet.
    pub fn parse(kind: PatchType, body: &[u8]) -> Result<Self, Status> {
        unimplemented!()
    }

    /// Which kind of patch it is.
    pub fn kind(&self) -> PatchType {
        self.kind
    }

    /// The patch's content, e.g. to look for a `resourceVersion` in it.
    pub fn body(&self) -> &Value {
        &self.body
    }

    /// Applies the patch to an object of the schema type `schema_type` and returns the new object, unchecked:
    /// [`crate::decode::check`] is next.
    ///
    /// # Errors
    /// 422 or 400 as the API server answers.
    pub fn apply(&self, schema: &Schema, schema_type: &str, object: &Value) -> Result<Value, Status> {
        unimplemented!()
    }
}

/// 422 for a patch whose result is no object of the kind: what [`crate::decode::check`] or
/// [`crate::decode::Decoded::enforce`] said in `why`.
pub fn invalid_result(patch: &Patch, why: &str) -> Status {
    unimplemented!()
}
