//! PATCH of an object or of its status: the patched object is then written as by PUT.

use berth_api::decode::{self, Expected};
use berth_api::kinds::view::str_at;
use berth_api::patch::{Patch, invalid_result};
use berth_api::{Status, status};
use berth_json::Value;

use super::context::Context;
use super::{Plan, update};
use crate::request::Body;

/// Plans a patch of the object itself, or of `/status`.
pub(super) async fn plan(context: &mut Context<'_, '_>) -> Result<Plan, Status> {
    context.authorize()?;
    let resource = context.request.resource.clone();
    let patch = context.decode_patch()?;
    let old = context.found()?;
    let before = old.to_value(&resource);
    let (mut new, warnings) = context.apply(&patch, Expected::of(&resource), &before)?;
    context.check_name(&new)?;
    context.place_in_namespace(&mut new)?;
    // The patch starts from the present version, so a version that differs is one the client named.
    if str_at(&new, "metadata.resourceVersion") != str_at(&before, "metadata.resourceVersion")
        && !str_at(&new, "metadata.resourceVersion").is_empty()
    {
        return Err(context.conflict(status::MODIFIED));
    }
    update::replace(context, new, old, before, warnings, None).await
}

impl Context<'_, '_> {
    /// The patch in the body.
    pub(super) fn decode_patch(&self) -> Result<Patch, Status> {
        match &self.request.body {
            Body::Patch(kind, bytes) => Patch::parse((*kind).into(), bytes),
            _ => Err(Status::bad_request("a PATCH needs a patch as its body")),
        }
    }

    /// Applies a patch and checks what came out.
    pub(super) fn apply(
        &self,
        patch: &Patch,
        expected: Expected<'_>,
        before: &Value,
    ) -> Result<(Value, Vec<String>), Status> {
        let schema = self.schema_of(expected);
        let patched = patch.apply(schema, expected.schema_type, before)?;
        let checked = decode::check(schema, expected, patched).map(|decoded| {
            let mut decoded = self.prune(expected, decoded);
            decoded.findings.splice(0..0, patch.findings().iter().cloned());
            decoded
        });
        checked
            .and_then(|decoded| decoded.enforce(self.request.options.field_validation))
            .map_err(|why| invalid_result(patch, &why))
    }
}
