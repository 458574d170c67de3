//! POST of an object, and PUT of one that is not there yet.

use std::sync::Arc;

use berth_api::decode::{Expected, complete};
use berth_api::honour::{self, Action};
use berth_api::kinds::view::str_at;
use berth_api::managed_fields::{ManagedFields, Managers, Writer, record_update};
use berth_api::{Problems, Reason, Status};
use berth_json::Value;
use berth_state::{Expect, Key};

use super::Plan;
use super::allocate;
use super::context::{Context, Reply};
use super::metadata::metadata_of;
use crate::admission::{self, Admission, BUILT_IN, Review};
use crate::identity::Verb;
use crate::kinds::DEFINITIONS;

/// Who wrote, when the client does not say.
const UNKNOWN_MANAGER: &str = "unknown";

/// Plans the creation of the object in the body.
pub(super) async fn plan(context: &mut Context<'_, '_>) -> Result<Plan, Status> {
    context.authorize()?;
    let resource = context.request.resource.clone();
    let (object, warnings) = context.decode_object(Expected::of(&resource))?;
    create(context, object, warnings, None).await
}

/// Plans the creation of an object that was decoded; `managers` are those that an apply led to.
pub(super) async fn create(
    context: &mut Context<'_, '_>,
    mut object: Value,
    mut warnings: Vec<String>,
    managers: Option<Managers>,
) -> Result<Plan, Status> {
    let resource = context.request.resource.clone();
    let behaviour = &resource.behaviour;
    context.prepare_new_metadata(&mut object)?;
    admission::check_namespace(context.state, &resource, &context.request.namespace, &object)?;
    refuse_terminating(context)?;
    behaviour.prepare_create(&mut object);
    behaviour.default(&mut object);
    context.admit(Verb::Create, &mut object, None, &mut warnings).await?;

    let mut problems = Problems::default();
    behaviour.validate(&object, &mut problems);
    context.refuse_unhonoured(&object, &mut problems, &mut warnings);
    let name = str_at(&object, "metadata.name").to_owned();
    refuse(context, &name, problems)?;
    warnings.extend(behaviour.warnings(&object));
    refuse_taken(context, &name)?;
    let mut problems = Problems::default();
    allocate::allocate(context, &mut object, None, &mut problems);
    refuse(context, &name, problems)?;

    let (uid, now) = (context.env.ids.uid(), context.env.now.rfc3339());
    let metadata = metadata_of(&mut object);
    metadata.insert("uid".to_owned(), uid.into());
    metadata.insert("creationTimestamp".to_owned(), now.into());
    complete(&resource.schema, &resource.schema_type, &mut object);
    let managers = match managers {
        Some(managers) => managers.encode(),
        None => context.record_managers(&mut object, None),
    };

    let key = context.key(&name);
    context.write(key, Expect::Absent, object, managers, Reply { code: 201, warnings, shown: None })
}

/// 405 for an object of a kind whose definition is being deleted, as the API server has it.
fn refuse_terminating(context: &Context<'_, '_>) -> Result<(), Status> {
    let resource = &context.request.resource;
    let definition = Key::new(DEFINITIONS, "", &*resource.id);
    let found = if resource.is_custom { context.state.get(&definition) } else { None };
    if found.is_none_or(|definition| definition.meta().deletion_timestamp.is_none()) {
        return Ok(());
    }
    let message = "create not allowed while custom resource definition is terminating";
    Err(Status::new(Reason::MethodNotAllowed, message))
}

/// 409 when there is an object of that name.
fn refuse_taken(context: &Context<'_, '_>, name: &str) -> Result<(), Status> {
    let Some(there) = context.state.get(&context.key(name)) else { return Ok(()) };
    let mut status = Status::already_exists(&context.request.resource, name);
    if there.meta().deletion_timestamp.is_some() {
        status.message = format!("object is being deleted: {}", status.message);
    }
    Err(status)
}

/// 422 with all problems, if there are any.
pub(super) fn refuse(context: &Context<'_, '_>, name: &str, problems: Problems) -> Result<(), Status> {
    if problems.is_empty() { Ok(()) } else { Err(Status::invalid(&context.request.resource, name, problems)) }
}

impl Context<'_, '_> {
    /// Admission: all plugins mutate, then all validate.
    pub(super) async fn admit(
        &mut self,
        verb: Verb,
        object: &mut Value,
        old: Option<&Value>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Status> {
        let name = str_at(object, "metadata.name").to_owned();
        let suffix = match (verb, &*self.request.resource.id) {
            (Verb::Create, "pods") => self.env.ids.suffix(),
            _ => String::new(),
        };
        let review = self.review(verb, &name, old, &suffix);
        let plugins = self.plugins(&review);
        for plugin in &plugins {
            warnings.extend(plugin.mutate(&review, object).await?);
        }
        // A configured plugin's object is a client's object: it may lack defaults. A Scale has none.
        let is_own = matches!(self.request.subresource, "" | "status");
        if is_own && self.env.admission.iter().any(|plugin| plugin.concerns(&review)) {
            self.request.resource.behaviour.default(object);
        }
        for plugin in &plugins {
            warnings.extend(plugin.validate(&review, object).await?);
        }
        Ok(())
    }

    /// The plugins that have something to say about a write, in their order.
    pub(super) fn plugins(&self, review: &Review<'_>) -> Vec<&dyn Admission> {
        let configured = self.env.admission.iter().map(Arc::as_ref);
        BUILT_IN.into_iter().chain(configured).filter(|plugin| plugin.concerns(review)).collect()
    }

    /// Nothing that is accepted is silently ignored: what Berth does not do yet is a warning, or a refusal. An object
    /// that is wrong everywhere is told that alone.
    pub(super) fn refuse_unhonoured(
        &self,
        object: &Value,
        problems: &mut Problems,
        warnings: &mut Vec<String>,
    ) {
        if !problems.is_empty() {
            return;
        }
        for unhonoured in honour::unhonoured(&self.request.resource, object) {
            match unhonoured.action {
                Action::Warn => warnings.push(unhonoured.warning()),
                Action::Refuse => problems.forbidden(unhonoured.field, unhonoured.reason),
            }
        }
    }

    /// Who manages which fields of `new`, which loses its own word on that.
    pub(super) fn record_managers(&self, new: &mut Value, old: Option<&Value>) -> Option<ManagedFields> {
        let resource = &self.request.resource;
        let api_version = resource.api_version();
        record_update(&resource.schema, &resource.fields_type, new, old, self.writer(&api_version))
    }

    /// Who writes.
    pub(super) fn writer<'w>(&'w self, api_version: &'w str) -> Writer<'w> {
        let manager = match self.request.options.field_manager.as_str() {
            "" => UNKNOWN_MANAGER,
            manager => manager,
        };
        Writer { manager, api_version, subresource: self.request.subresource, now: self.env.now }
    }
}

/// 404 for a PUT of what is not there, unless the kind is made by PUT.
pub(super) async fn create_by_update(
    context: &mut Context<'_, '_>,
    mut object: Value,
    warnings: Vec<String>,
) -> Result<Plan, Status> {
    let resource = &context.request.resource;
    if !resource.create_on_update || !context.request.subresource.is_empty() {
        return Err(Status::not_found(resource, &context.request.name));
    }
    context.authorize_as(Verb::Create)?;
    metadata_of(&mut object).remove("resourceVersion");
    create(context, object, warnings, None).await.map_err(|status| match status.reason {
        // The name was free when the PUT was planned: the other writer's object is what it should have built on.
        Reason::AlreadyExists => context.conflict(berth_api::status::MODIFIED),
        _ => status,
    })
}
