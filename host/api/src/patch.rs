//! PATCH: JSON patch, JSON merge patch and strategic merge patch, as the Kubernetes API server understands them, and the
//! configuration of server-side apply.

mod configuration;
mod json;
mod lists;
mod strategic;

use berth_json::{Map, Value};

pub use configuration::Configuration;

use crate::decode::scalar::go_kind;
use crate::decode::{Budget, Finding, Spent, walk};
use crate::schema::Schema;
use crate::status::{Cause, Details, Reason, Status};

/// The kinds of patch, told apart by `Content-Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// `application/json-patch+json` (RFC 6902).
    Json,
    /// `application/merge-patch+json` (RFC 7386).
    Merge,
    /// `application/strategic-merge-patch+json`.
    StrategicMerge,
}

/// How many operations a JSON patch may have, as on the API server.
pub const OPERATIONS_MAX: usize = 10_000;

/// How much of a patch an error quotes, in characters.
const QUOTED_CHARS_MAX: usize = 1000;

/// A patch that was read but not yet applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    kind: PatchType,
    body: Value,
    findings: Vec<Finding>,
}

impl PatchType {
    /// The kind of patch that a `Content-Type` names.
    ///
    /// # Errors
    /// 415 for anything else.
    pub fn of_content_type(content_type: &str) -> Result<Self, Status> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::StrategicMerge),
            _ => Err(bare(Status::new(Reason::UnsupportedMediaType, "415: Unsupported Media Type"))),
        }
    }
}

impl Patch {
    /// Reads a patch.
    ///
    /// # Errors
    /// 400 for a body that is none, 413 for one that becomes too large or has too many operations.
    pub fn parse(kind: PatchType, body: &[u8]) -> Result<Self, Status> {
        let budget = Budget::default();
        let undecodable = |why: String| match budget.is_spent() {
            true => Spent.into(),
            false => Status::bad_request(format!("error decoding patch: {why}")),
        };
        let (body, findings) = walk::untyped(body, &budget).map_err(|why| match kind {
            PatchType::Json | PatchType::Merge if !budget.is_spent() => {
                Status::bad_request("invalid JSON patch")
            }
            _ => undecodable(why),
        })?;
        let found = go_kind(&body);
        match (kind, &body) {
            (PatchType::Json, Value::Array(operations)) => operations_fit(operations)?,
            (PatchType::Json, Value::Null) => {}
            (PatchType::Json, _) => {
                let why =
                    format!("json: cannot unmarshal {found} into Go value of type []handlers.jsonPatchOp");
                return Err(undecodable(why));
            }
            (PatchType::Merge, Value::Null) => return Err(Status::bad_request("Invalid JSON Patch")),
            (_, Value::Object(_) | Value::Null) => {}
            _ => {
                let why =
                    format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}");
                return Err(undecodable(why));
            }
        }
        Ok(Self { kind, body, findings })
    }

    /// Which kind of patch it is.
    pub fn kind(&self) -> PatchType {
        self.kind
    }

    /// The patch's content, e.g. to look for a `resourceVersion` in it.
    pub fn body(&self) -> &Value {
        &self.body
    }

    /// Keys that stand twice in the patch: what strict field validation refuses, before the result is checked.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Applies the patch to an object of the schema type `schema_type` and returns the new object, unchecked:
    /// [`crate::decode::check`] is next.
    ///
    /// # Errors
    /// 422 or 400 as the API server answers, 413 when it makes too much or too much work.
    pub fn apply(&self, schema: &Schema, schema_type: &str, object: &Value) -> Result<Value, Status> {
        let budget = Budget::default();
        let patched = self.apply_within(&budget, schema, schema_type, object);
        if budget.is_spent() { Err(Spent.into()) } else { patched }
    }

    fn apply_within(
        &self,
        budget: &Budget,
        schema: &Schema,
        schema_type: &str,
        object: &Value,
    ) -> Result<Value, Status> {
        match (self.kind, &self.body) {
            (PatchType::Json, Value::Array(operations)) => {
                json::apply(object, operations, budget).map_err(|json::Unpatchable| unpatchable())
            }
            (PatchType::Merge, patch) => {
                let mut object = object.clone();
                merge(&mut object, patch);
                Ok(object)
            }
            (PatchType::StrategicMerge, Value::Object(patch)) => {
                let fields = object.as_object().cloned().unwrap_or_default();
                let merged = strategic::apply(schema, schema_type, fields, patch.clone(), budget);
                merged.map(Value::Object).map_err(|error| Status::bad_request(error.to_string()))
            }
            _ => Ok(object.clone()),
        }
    }
}

fn operations_fit(operations: &[Value]) -> Result<(), Status> {
    if operations.len() > OPERATIONS_MAX {
        let given = operations.len();
        return Err(Status::new(
            Reason::RequestEntityTooLarge,
            format!(
                "Request entity too large: The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {given}"
            ),
        ));
    }
    match operations.iter().find(|operation| !operation.is_object()) {
        None => Ok(()),
        Some(other) => Err(Status::bad_request(format!(
            "error decoding patch: json: cannot unmarshal {} into Go value of type handlers.jsonPatchOp",
            go_kind(other)
        ))),
    }
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Map::new().into();
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.as_str()).or_insert(Value::Null), value);
        }
    }
}

/// What a JSON patch that cannot be applied is told, whatever the reason.
fn unpatchable() -> Status {
    bare(Status::new(Reason::Invalid, "the server rejected our request due to an error in our request"))
}

/// Empty details instead of none: what the API server's generic answers have.
fn bare(status: Status) -> Status {
    Status { details: Some(Box::default()), ..status }
}

/// 422 for a patch whose result is no object of the kind: what [`crate::decode::check`] or
/// [`crate::decode::Decoded::enforce`] said in `why`.
pub fn invalid_result(patch: &Patch, why: &str) -> Status {
    let text = match patch.kind {
        PatchType::Json => berth_json::json!({ "patch": patch.body }).to_string(),
        _ => patch.body.to_string(),
    };
    let quoted = Value::from(text.chars().take(QUOTED_CHARS_MAX).collect::<String>());
    let message = format!("Invalid value: {quoted}: {why}");
    let cause = Cause { reason: "FieldValueInvalid", message: message.clone(), field: "patch".to_owned() };
    let details = Details { causes: vec![cause], ..Details::default() };
    Status {
        details: Some(Box::new(details)),
        ..Status::new(Reason::Invalid, format!(" \"\" is invalid: patch: {message}"))
    }
}

#[cfg(test)]
mod tests;
