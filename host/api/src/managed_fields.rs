//! `metadata.managedFields`: which writer set which fields.

use serde_json::Value;

use crate::schema::Schema;
use crate::time::Timestamp;

/// Who writes, and how.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// `fieldManager`, or the user agent up to its first slash.
    pub manager: &'a str,
    /// The version that was written: `v1`, `apps/v1`.
    pub api_version: &'a str,
    /// `status`, `scale`, …; empty for the object itself.
    pub subresource: &'a str,
    /// When.
    pub now: Timestamp,
}

/// Brings `metadata.managedFields` of `new` up to date: `writer` now owns what differs from `old`, and nobody owns what
/// is gone. `old` is `None` on create. A client's own `managedFields` in `new` are ignored, except that an empty list
/// (or one empty entry) clears them, as on the API server.
pub fn record_update(
    schema: &Schema,
    schema_type: &str,
    new: &mut Value,
    old: Option<&Value>,
    writer: Writer<'_>,
) {
    unimplemented!()
}
