//! DELETE: at once, with grace (pods), or when the last finalizer goes.

use berth_api::kinds::view::{int_at, list_at, str_at};
use berth_api::status::Details;
use berth_api::{Reason, Status, Timestamp};
use berth_json::{Value, json};
use berth_state::{Action, Commit, Expect, Op, Stored};

use super::context::{Context, success};
use super::metadata::metadata_of;
use super::options::DeleteOptions;
use super::{Outcome, Plan};
use crate::admission;
use crate::identity::Verb;
use crate::kinds::{CLEANUP_FINALIZER, DEFINITIONS};
use crate::request::Propagation;

/// The finalizers by which the garbage collector is told about dependents.
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// How long a pod's containers may take to end when nobody says.
const GRACE_SECONDS_DEFAULT: i64 = 30;

/// Kinds whose deletion is answered with the object instead of a `Status`, as the API server does.
const ANSWERED_WITH_OBJECT: [&str; 3] = ["pods", "serviceaccounts", "services"];

/// What a delete leads to.
pub(super) enum Deletion {
    /// The object goes; as it was last.
    Gone(Value),
    /// The object is marked and waits for its finalizers, or for the node.
    Marked(Value),
    /// It was marked so before.
    Unchanged(Value),
}

/// Plans the deletion of one object.
pub(super) async fn plan(context: &mut Context<'_, '_>) -> Result<Plan, Status> {
    context.authorize()?;
    let options = context.delete_options()?;
    let old = context.found()?;
    let deletion = delete(context, old, &options).await?;
    let op = op_of(context, old, &deletion)?.filter(|_| !options.dry_run);
    let shown = match &op {
        Some(Op { action: Action::Put(_), .. }) => Outcome::Written(context.request.resource.clone()),
        _ => Outcome::Other(answer_of(context, old, deletion)),
    };
    let commit = op.map(|op| Commit { ops: vec![op], ..Commit::default() });
    Ok(Plan { commit, code: 200, warnings: vec![], shown })
}

/// Decides what becomes of a stored object.
pub(super) async fn delete(
    context: &Context<'_, '_>,
    old: &Stored,
    options: &DeleteOptions,
) -> Result<Deletion, Status> {
    check_preconditions(context, old, options)?;
    let before = old.to_value(&context.request.resource);
    admit(context, &before).await?;
    let mut object = before.clone();
    set_propagation(&mut object, options.propagation);
    let now = context.env.now;
    if &*old.key.resource == "namespaces" {
        return Ok(mark_namespace(object, &before, now));
    }
    if &*old.key.resource == DEFINITIONS {
        hold_definition(&mut object, now);
    }
    if &*old.key.resource == "pods" && !shorten_grace(&mut object, &before, options.grace_seconds, now) {
        return Ok(Deletion::Unchanged(before));
    }
    let waits = int_at(&object, "metadata.deletionGracePeriodSeconds").unwrap_or_default() > 0;
    if list_at(&object, "metadata.finalizers").is_empty() && !waits {
        return Ok(Deletion::Gone(object));
    }
    if !waits {
        mark(&mut object, 0, now);
    }
    Ok(if object == before { Deletion::Unchanged(before) } else { Deletion::Marked(object) })
}

/// The write that a deletion needs, if any.
pub(super) fn op_of(
    context: &Context<'_, '_>,
    old: &Stored,
    deletion: &Deletion,
) -> Result<Option<Op>, Status> {
    let action = match deletion {
        Deletion::Gone(_) => Action::Delete,
        Deletion::Marked(object) => Action::Put(context.draft(object, None)?),
        Deletion::Unchanged(_) => return Ok(None),
    };
    Ok(Some(Op { key: old.key.clone(), expect: Expect::At(old.revision), action }))
}

fn answer_of(context: &Context<'_, '_>, old: &Stored, deletion: Deletion) -> Value {
    match deletion {
        Deletion::Gone(object) if ANSWERED_WITH_OBJECT.contains(&&*old.key.resource) => object,
        Deletion::Gone(_) => {
            let resource = &context.request.resource;
            let mut details =
                json!({"name": &*old.key.name, "kind": resource.plural, "uid": &*old.meta().uid});
            if !resource.group.is_empty() {
                details["group"] = resource.group.as_str().into();
            }
            success(200, Some(details))
        }
        Deletion::Marked(object) | Deletion::Unchanged(object) => object,
    }
}

async fn admit(context: &Context<'_, '_>, object: &Value) -> Result<(), Status> {
    let name = str_at(object, "metadata.name");
    admission::check_deletion(&context.request.resource, name)?;
    let review = context.review(Verb::Delete, name, Some(object), "");
    for plugin in context.plugins(&review) {
        plugin.validate(&review, object).await?;
    }
    Ok(())
}

fn check_preconditions(
    context: &Context<'_, '_>,
    old: &Stored,
    options: &DeleteOptions,
) -> Result<(), Status> {
    let (uid, revision) = (&*old.meta().uid, old.revision.to_string());
    let why = if !options.uid.is_empty() && options.uid != uid {
        format!(
            "the UID in the precondition ({}) does not match the UID in record ({uid}). The object might have been \
             deleted and then recreated",
            options.uid
        )
    } else if !options.resource_version.is_empty() && options.resource_version != revision {
        format!(
            "the ResourceVersion in the precondition ({}) does not match the ResourceVersion in record ({revision}). \
             The object might have been modified",
            options.resource_version
        )
    } else {
        return Ok(());
    };
    let (kind, name) = (&context.request.resource.kind, &*old.key.name);
    let message = format!("Operation cannot be fulfilled on {kind} \"{name}\": {why}");
    let details = Details { kind: kind.clone(), ..context.plural_details(name) };
    Err(Status { details: Some(Box::new(details)), ..Status::new(Reason::Conflict, message) })
}

/// Dependents are the garbage collector's: a finalizer tells it what was asked for. Without a wish, what is there
/// stays.
fn set_propagation(object: &mut Value, wish: Option<Propagation>) {
    let Some(wish) = wish else { return };
    let mut finalizers: Vec<Value> = list_at(object, "metadata.finalizers").to_vec();
    finalizers.retain(|finalizer| finalizer != ORPHAN && finalizer != FOREGROUND);
    match wish {
        Propagation::Orphan => finalizers.push(ORPHAN.into()),
        Propagation::Foreground => finalizers.push(FOREGROUND.into()),
        Propagation::Background => {}
    }
    if finalizers.is_empty() {
        metadata_of(object).remove("finalizers");
    } else {
        metadata_of(object).insert("finalizers".to_owned(), finalizers.into());
    }
}

/// Marks the object as being deleted after `grace_seconds`. The first mark counts as a change of what is wanted.
fn mark(object: &mut Value, grace_seconds: i64, now: Timestamp) {
    let generation = int_at(object, "metadata.generation").unwrap_or_default();
    let metadata = metadata_of(object);
    if metadata.contains_key("deletionTimestamp") {
        return;
    }
    let when = now.plus_millis(grace_seconds.saturating_mul(1000));
    metadata.insert("deletionTimestamp".to_owned(), when.rfc3339().into());
    metadata.insert("deletionGracePeriodSeconds".to_owned(), grace_seconds.into());
    if generation > 0 {
        metadata.insert("generation".to_owned(), (generation + 1).into());
    }
}

/// A pod's containers get time to end; a second delete can only shorten it. False when there is nothing to do.
///
/// A pod that no node has, or whose containers have ended, needs none.
fn shorten_grace(pod: &mut Value, before: &Value, wish: Option<i64>, now: Timestamp) -> bool {
    let wish = wish.map(|seconds| if seconds < 0 { 1 } else { seconds });
    let is_idle = str_at(pod, "spec.nodeName").is_empty()
        || matches!(str_at(pod, "status.phase"), "Succeeded" | "Failed");
    let Some(pending) = Timestamp::parse(str_at(before, "metadata.deletionTimestamp")) else {
        let own = int_at(pod, "spec.terminationGracePeriodSeconds").unwrap_or(GRACE_SECONDS_DEFAULT);
        mark(pod, if is_idle { 0 } else { wish.unwrap_or(own.max(1)) }, now);
        return true;
    };
    let present = int_at(before, "metadata.deletionGracePeriodSeconds").unwrap_or_default();
    if present == 0 {
        return true;
    }
    match wish {
        Some(wish) if wish < present => {
            let when = pending.plus_millis((wish - present).saturating_mul(1000));
            let metadata = metadata_of(pod);
            metadata.insert("deletionTimestamp".to_owned(), when.rfc3339().into());
            metadata.insert("deletionGracePeriodSeconds".to_owned(), wish.into());
            true
        }
        _ => pod != before,
    }
}

/// A definition goes when its controller has deleted the objects of its kind and taken the finalizer away.
fn hold_definition(object: &mut Value, now: Timestamp) {
    if !berth_custom::is_established(object) || metadata_of(object).contains_key("deletionTimestamp") {
        return;
    }
    let mut finalizers = list_at(object, "metadata.finalizers").to_vec();
    if !finalizers.iter().any(|finalizer| finalizer == CLEANUP_FINALIZER) {
        finalizers.push(CLEANUP_FINALIZER.into());
    }
    metadata_of(object).insert("finalizers".to_owned(), finalizers.into());
    let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    let terminating = json!({
        "type": "Terminating", "status": "True", "lastTransitionTime": now.rfc3339(),
        "reason": "InstanceDeletionPending", "message": message,
    });
    if let Some(conditions) = object["status"]["conditions"].as_array_mut() {
        conditions.retain(|condition| condition["type"] != "Terminating");
        conditions.push(terminating);
    }
}

/// A namespace goes when the namespace controller has emptied it and taken its finalizer away.
fn mark_namespace(mut object: Value, before: &Value, now: Timestamp) -> Deletion {
    let metadata = metadata_of(&mut object);
    if !metadata.contains_key("deletionTimestamp") {
        metadata.insert("deletionTimestamp".to_owned(), now.rfc3339().into());
        object["status"]["phase"] = "Terminating".into();
    }
    let is_held = !list_at(&object, "spec.finalizers").is_empty()
        || !list_at(&object, "metadata.finalizers").is_empty();
    match (is_held, object == *before) {
        (false, _) => Deletion::Gone(object),
        (true, true) => Deletion::Unchanged(object),
        (true, false) => Deletion::Marked(object),
    }
}
