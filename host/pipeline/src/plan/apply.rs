//! Server-side apply: PATCH with a configuration.
//!
//! The configuration is merged into the live object by who owns what; what comes of it is then written as by PUT, or made
//! as by POST. Who owns what is settled before admission: what admission changes is nobody's.

use berth_api::decode::{self, Expected};
use berth_api::kinds::view::str_at;
use berth_api::managed_fields::{self, Applied, Applier, Managers, described};
use berth_api::{Configuration, Status, status};
use berth_json::Value;

use super::context::Context;
use super::metadata::metadata_of;
use super::{Plan, create, update};
use crate::identity::Verb;
use crate::request::Body;

/// A configuration that was merged: the object, who manages it, and warnings.
pub(super) struct Merged {
    pub(super) object: Value,
    pub(super) managers: Managers,
    pub(super) warnings: Vec<String>,
}

/// Plans an apply to the object itself, or to `/status`.
pub(super) async fn plan(context: &mut Context<'_, '_>) -> Result<Plan, Status> {
    context.authorize()?;
    let resource = context.request.resource.clone();
    let expected = Expected::of(&resource);
    let Some(old) = context.stored() else {
        return create_by_apply(context, expected).await;
    };
    let before = old.to_value(&resource);
    let Merged { object: mut new, managers, warnings } =
        context.merge_configuration(expected, Some(&before))?;
    context.place_in_namespace(&mut new)?;
    context.check_name(&new)?;
    let version = str_at(&new, "metadata.resourceVersion");
    if !version.is_empty() && version != str_at(&before, "metadata.resourceVersion") {
        return Err(context.conflict(status::MODIFIED));
    }
    update::replace(context, new, old, before, warnings, Some(managers)).await
}

/// What is not there is made, if the applier may do that as well.
async fn create_by_apply(context: &mut Context<'_, '_>, expected: Expected<'_>) -> Result<Plan, Status> {
    if !context.request.subresource.is_empty() {
        return Err(Status::not_found(&context.request.resource, &context.request.name));
    }
    let Merged { mut object, managers, warnings } = context.merge_configuration(expected, None)?;
    let uid = str_at(&object, "metadata.uid");
    if !uid.is_empty() {
        return Err(context.conflict(&format!(
            "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        )));
    }
    context.place_in_namespace(&mut object)?;
    context.check_name(&object)?;
    context.authorize_as(Verb::Create)?;
    metadata_of(&mut object).remove("resourceVersion");
    create::create(context, object, warnings, Some(managers)).await
}

impl Context<'_, '_> {
    /// Merges the configuration in the body into `live`, or into nothing, and checks what came out.
    pub(super) fn merge_configuration(
        &self,
        expected: Expected<'_>,
        live: Option<&Value>,
    ) -> Result<Merged, Status> {
        let Body::Apply(bytes) = &self.request.body else {
            return Err(Status::bad_request("an apply needs a configuration as its body"));
        };
        let config = Configuration::parse(bytes)?;
        config.admit(expected)?;
        let (schema, api_version) = (self.schema_of(expected), self.request.resource.api_version());
        let applier = Applier {
            writer: self.writer(&api_version),
            force: self.request.options.force,
            ignored: self.unwritten_fields(),
        };
        let applied =
            managed_fields::apply(schema, self.fields_type_of(expected), live, config.value(), applier)?;
        let warnings = config.enforce(self.request.options.field_validation)?;
        let Applied { object, managers } = applied;
        let checked = decode::check(schema, expected, object).map_err(|why| {
            let object = described(config.value());
            Status::bad_request(format!("failed to convert new typed object ({object}) to object: {why}"))
        })?;
        let object = self.prune(expected, checked).value;
        Ok(Merged { object, managers, warnings })
    }

    /// The fields that the endpoint does not write, whatever is sent there.
    fn unwritten_fields(&self) -> &'static [&'static [&'static str]] {
        let resource = &self.request.resource;
        match self.request.subresource {
            "" if resource.subresource("status").is_some() => &[&["status"]],
            "status" => resource.behaviour.kept_by_status(),
            _ => &[],
        }
    }
}
