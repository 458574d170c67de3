//! DELETE of a collection: every object that the selectors pick, up to a limit, in one commit.

use berth_api::{FieldSelector, Resource, Selector, Status};
use berth_json::{Value, json};
use berth_state::{Commit, Stored};

use super::Plan;
use super::context::Context;
use super::delete::{delete, op_of};

/// Plans the deletion of a collection. It is answered with the list of the objects as they were.
pub(super) async fn plan(context: &mut Context<'_, '_>) -> Result<Plan, Status> {
    context.authorize()?;
    let resource = context.request.resource.clone();
    let options = context.delete_options()?;
    let picked = context.pick()?;
    let mut ops = Vec::with_capacity(picked.len());
    let mut items = Vec::with_capacity(picked.len());
    for old in &picked {
        let deletion = delete(context, old, &options).await?;
        ops.extend(op_of(context, old, &deletion)?);
        items.push(item(&resource, old.to_value(&resource)));
    }
    let list = json!({
        "kind": resource.list_kind,
        "apiVersion": resource.api_version(),
        "metadata": {"resourceVersion": context.state.revision().to_string()},
        "items": items,
    });
    let list = if resource.is_custom { with_continue(list) } else { list };
    let commit = (!options.dry_run && !ops.is_empty()).then_some(Commit { ops, ..Commit::default() });
    Ok(Plan::answering(commit, 200, list, vec![]))
}

/// The API server has no type for lists of custom kinds: what others leave out is empty there.
fn with_continue(mut list: Value) -> Value {
    list["metadata"]["continue"] = "".into();
    list
}

/// Items of a list do not repeat what kind they are, unless it is a custom one.
fn item(resource: &Resource, mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut().filter(|_| !resource.is_custom) {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    object
}

impl<'a> Context<'a, '_> {
    fn pick(&self) -> Result<Vec<&'a Stored>, Status> {
        let options = &self.request.options;
        let labels = Selector::parse(&options.label_selector).map_err(Status::bad_request)?;
        let fields = FieldSelector::parse(&options.field_selector).map_err(Status::bad_request)?;
        let fields = self.request.resource.select(fields).map_err(Status::bad_request)?;
        let all = self.state.list(&self.request.resource.id, &self.request.namespace);
        let picked = all.filter(|stored| {
            options.after.as_ref().is_none_or(|after| stored.key > *after)
                && labels.matches(&stored.meta().labels[..])
                && fields.matches(|field| field_of(stored, field))
        });
        Ok(picked.map(AsRef::as_ref).take(options.limit.unwrap_or(usize::MAX)).collect())
    }
}

fn field_of<'s>(stored: &'s Stored, field: &str) -> Option<&'s str> {
    match field {
        "metadata.name" => Some(&stored.key.name),
        "metadata.namespace" => Some(&stored.key.namespace),
        field => stored.field(field),
    }
}
