//! `meta.k8s.io` Table and PartialObjectMetadata: the answers kubectl and metadata clients ask for with `Accept`.

use serde_json::Value;

use crate::resource::Resource;
use crate::time::Timestamp;

/// What a table's rows carry of their objects (`includeObject`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// The metadata; the default.
    #[default]
    Metadata,
    /// The whole object.
    Object,
}

impl IncludeObject {
    /// Reads the query parameter; empty means [`IncludeObject::Metadata`].
    ///
    /// # Errors
    /// The sentence of the API server's 400.
    pub fn parse(word: &str) -> Result<Self, String> {
        unimplemented!()
    }
}

/// Builds a Table of `objects`, whole objects with `apiVersion` and `kind`.
///
/// `version` is that of `meta.k8s.io`: `v1` or `v1beta1`; `list_metadata` is the `metadata` of the list (or
/// `{"resourceVersion": …}` of the single object).
pub fn table<'a>(
    resource: &Resource,
    objects: impl IntoIterator<Item = &'a Value>,
    list_metadata: Value,
    include: IncludeObject,
    version: &str,
    now: Timestamp,
) -> Value {
    unimplemented!()
}

/// The object as PartialObjectMetadata of `meta.k8s.io/<version>`: only its metadata.
pub fn partial_object_metadata(object: &Value, version: &str) -> Value {
    unimplemented!()
}

/// A list as PartialObjectMetadataList of `meta.k8s.io/<version>`.
pub fn partial_object_metadata_list<'a>(
    objects: impl IntoIterator<Item = &'a Value>,
    list_metadata: Value,
    version: &str,
) -> Value {
    unimplemented!()
}

/// The age column: how long ago `timestamp` (RFC 3339) was, `<unknown>` when it is absent or no time.
pub fn age(timestamp: Option<&str>, now: Timestamp) -> String {
    unimplemented!()
}

/// A duration as kubectl shows it (`duration.HumanDuration`): `5s`, `3m10s`, `47h`, `2y3d`.
pub fn human_duration(seconds: i64) -> String {
    unimplemented!()
}
