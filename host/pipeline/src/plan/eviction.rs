//! `pods/<name>/eviction`: a delete that a disruption budget could refuse. There are no budgets yet, so none does.

use berth_api::Status;
use berth_api::kinds::view::str_at;
use berth_json::json;
use berth_state::Commit;

use super::Plan;
use super::context::{Context, success};
use super::delete::{delete, op_of};

/// Plans the eviction of a pod.
pub(super) async fn plan(context: &mut Context<'_, '_>) -> Result<Plan, Status> {
    context.authorize()?;
    let expected = context.expected_at_subresource("policy.v1.Eviction");
    let (eviction, warnings) = context.decode_object(expected)?;
    let name = str_at(&eviction, "metadata.name");
    if !name.is_empty() && name != context.request.name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let wishes = eviction.get("deleteOptions").cloned().unwrap_or_else(|| json!({}));
    let options = context.delete_options_of(&wishes)?;
    let old = context.found()?;
    let deletion = delete(context, old, &options).await?;
    let op = op_of(context, old, &deletion)?.filter(|_| !options.dry_run);
    let commit = op.map(|op| Commit { ops: vec![op], ..Commit::default() });
    Ok(Plan::answering(commit, 201, success(201, None), warnings))
}
