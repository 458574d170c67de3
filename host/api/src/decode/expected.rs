//! What an endpoint takes, and what a body of another kind is told.

use berth_json::Value;

use super::{Decoded, Finding};
use crate::resource::Resource;
use crate::schema::{Schema, Type};
use crate::status::Status;

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
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `DeleteOptions`, which clients send under the version of whatever they delete.
    pub const DELETE_OPTIONS: Expected<'static> = Expected {
        group: "meta.k8s.io",
        version: "v1",
        kind: "DeleteOptions",
        schema_type: "meta.v1.DeleteOptions",
    };

    /// The catalogue names only types of the table (a test holds that), so a missing one is a bug.
    pub(super) fn root<'s>(&self, schema: &'s Schema) -> &'s Type {
        schema.named(self.schema_type).unwrap_or_else(|| panic!("no schema type {}", self.schema_type))
    }

    /// Whether a body of this kind may come here; if not, why.
    pub(super) fn admits(&self, schema: &Schema, meta: &TypeMeta) -> Result<(), String> {
        let kind = if meta.kind.is_empty() { self.kind } else { &meta.kind };
        let own = self.api_version();
        let api_version = if meta.api_version.is_empty() { &own } else { &meta.api_version };
        if kind == self.kind && (*api_version == own || self.kind == Self::DELETE_OPTIONS.kind) {
            return Ok(());
        }
        Err(match schema.of_kind(api_version, kind) {
            Some(other) => {
                let package = self.schema_type.split('.').next().unwrap_or_default();
                format!("converting ({}) to ({package}.{}): unknown conversion", other.go_name(), self.kind)
            }
            None => format!("no kind \"{kind}\" is registered for version \"{api_version}\""),
        })
    }

    pub(super) fn decoded(&self, mut value: Value, findings: Vec<Finding>) -> Decoded {
        if let Value::Object(fields) = &mut value {
            fields.insert("apiVersion".to_owned(), self.api_version().into());
            fields.insert("kind".to_owned(), self.kind.into());
        }
        Decoded { value, findings }
    }
}

impl TypeMeta {
    pub(super) fn cannot_handle(&self, expected: Expected<'_>, why: &str) -> Status {
        let kind = if self.kind.is_empty() { expected.kind } else { &self.kind };
        let version = self.api_version.rsplit('/').next().filter(|version| !version.is_empty());
        let version = version.unwrap_or(expected.version);
        let into = expected.kind;
        Status::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {into}: {why}"))
    }
}

/// 400 for a body whose kind cannot even be read.
pub(super) fn unrecognised(expected: Expected<'_>, why: &str, body: &[u8]) -> Status {
    /// How much of a body an error quotes.
    const SUMMARY_BYTES_MAX: usize = 30;
    let shown = &body[..body.len().min(SUMMARY_BYTES_MAX)];
    let mut summary = match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(shown).into_owned(),
        Some(_) => shown.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    if body.len() > SUMMARY_BYTES_MAX {
        summary.push_str(" ...");
    }
    let kind = expected.kind;
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): {why} ({summary})"
    ))
}

/// 400 `Pod in version "v1" cannot be handled as a Pod: …`.
pub fn cannot_handle(expected: Expected<'_>, why: &str) -> Status {
    TypeMeta::default().cannot_handle(expected, why)
}
