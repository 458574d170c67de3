//! PUT of an object or of one of its subresources, and what a patch leads to.

use berth_api::decode::{Expected, complete};
use berth_api::kinds::view::{copy_field, str_at};
use berth_api::managed_fields::{Managers, says_more};
use berth_api::{Problems, Status};
use berth_json::Value;
use berth_state::{Action, Commit, Expect, Op, Stored};

use super::context::{Context, Reply};
use super::create::{create_by_update, refuse};
use super::metadata::{
    is_released, keep_servers_own, names_managers, raise_generation, same_but_managers, with_metadata_first,
};
use super::{Plan, allocate};
use crate::identity::Verb;

/// Plans a PUT.
pub(super) async fn plan(context: &mut Context<'_, '_>) -> Result<Plan, Status> {
    context.authorize()?;
    let resource = context.request.resource.clone();
    let (mut object, warnings) = context.decode_object(Expected::of(&resource))?;
    context.check_name(&object)?;
    context.place_in_namespace(&mut object)?;
    match context.stored() {
        Some(old) => {
            context.check_version(&object, old)?;
            let value = old.to_value(&resource);
            replace(context, object, old, value, warnings, None).await
        }
        None => create_by_update(context, object, warnings).await,
    }
}

/// Plans the replacement of the stored `old` (whose value is `before`) by `new`, as far as the endpoint changes it.
/// `managers` are those that an apply led to.
pub(super) async fn replace(
    context: &mut Context<'_, '_>,
    mut new: Value,
    old: &Stored,
    before: Value,
    mut warnings: Vec<String>,
    managers: Option<Managers>,
) -> Result<Plan, Status> {
    let resource = context.request.resource.clone();
    let behaviour = &resource.behaviour;
    keep_servers_own(&mut new, &before);
    let mut problems = Problems::default();
    match context.request.subresource {
        "" => {
            behaviour.prepare_update(&mut new, &before);
            behaviour.default(&mut new);
            context.admit(Verb::Update, &mut new, Some(&before), &mut warnings).await?;
            complete(&resource.schema, &resource.schema_type, &mut new);
            behaviour.validate_update(&new, &before, &mut problems);
            if new.get("spec") != before.get("spec") {
                context.refuse_unhonoured(&new, &mut problems, &mut warnings);
            }
            warnings.extend(behaviour.update_warnings(&new, &before));
        }
        "finalize" => keep_all_but_finalizers(&mut new, &before),
        _ => {
            behaviour.prepare_status(&mut new, &before);
            context.admit(Verb::Update, &mut new, Some(&before), &mut warnings).await?;
            complete(&resource.schema, &resource.schema_type, &mut new);
            behaviour.validate_status(&new, &before, &mut problems);
        }
    }
    let name = str_at(&before, "metadata.name");
    warnings.append(&mut problems.warnings);
    refuse(context, name, with_metadata_first(&new, &before, problems))?;
    finish(context, new, old, &before, managers, Reply { code: 200, warnings, shown: None })
}

/// Accounts for the change, and writes it, or removes an object that nothing holds any more, or does nothing.
pub(super) fn finish(
    context: &mut Context<'_, '_>,
    mut new: Value,
    old: &Stored,
    before: &Value,
    managers: Option<Managers>,
    mut reply: Reply,
) -> Result<Plan, Status> {
    let mut problems = Problems::default();
    allocate::allocate(context, &mut new, Some(before), &mut problems);
    refuse(context, &old.key.name, problems)?;
    if context.request.resource.has_generation {
        raise_generation(&mut new, before);
    }
    let is_removal = is_released(&new, old);
    let is_same = same_but_managers(&new, before) && !is_removal;
    let (managers, is_news) = match managers {
        Some(managers) => {
            let is_news = managers.is_changed;
            (managers.encode(), is_news)
        }
        None if is_same && !names_managers(&new, before) => (None, false),
        None => {
            let managers = context.record_managers(&mut new, Some(before));
            let is_news = !is_same || says_more(managers.as_ref(), before);
            (managers, is_news)
        }
    };
    if is_same && !is_news {
        let shown = reply.shown.take().unwrap_or_else(|| before.clone());
        return Ok(Plan::answering(None, reply.code, shown, reply.warnings));
    }
    let expect = Expect::At(old.revision);
    if is_removal {
        if let Some(managers) = managers {
            managers.put_into(&mut new);
        }
        return Ok(remove(context, new, old, reply));
    }
    context.write(old.key.clone(), expect, new, managers, reply)
}

/// The last finalizer is gone: the object goes, and is answered as it was last.
fn remove(context: &Context<'_, '_>, new: Value, old: &Stored, reply: Reply) -> Plan {
    let op = Op { key: old.key.clone(), expect: Expect::At(old.revision), action: Action::Delete };
    let commit = Commit { ops: vec![op], ..Commit::default() };
    let commit = (!context.request.options.dry_run).then_some(commit);
    Plan::answering(commit, reply.code, reply.shown.unwrap_or(new), reply.warnings)
}

/// `/finalize` changes the finalizers in a namespace's spec, and nothing else.
fn keep_all_but_finalizers(new: &mut Value, before: &Value) {
    for key in ["metadata", "status"] {
        copy_field(new, before, key);
    }
}
