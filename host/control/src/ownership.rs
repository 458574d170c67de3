//! What a workload owns, and what it takes in and lets go.

use std::sync::Arc;

use berth_api::kinds::UNOWNED;
use berth_api::select::Selector;
use berth_api::views::Workload;
use berth_state::{State, Stored};

use crate::controller::News;
use crate::outcome::{Outcome, Step};
use crate::requests::{Writer, controller_reference};

/// The objects of a resource that a workload manages.
pub(crate) fn owned<'a>(
    state: &'a State,
    workload: &'a Stored,
    resource: &'static str,
) -> impl Iterator<Item = &'a Arc<Stored>> {
    let uid = &workload.meta().uid;
    let is_mine = move |object: &&Arc<Stored>| {
        &*object.key.resource == resource && object.controller().is_some_and(|owner| owner.uid == *uid)
    };
    state.dependents(uid).filter(is_mine)
}

/// The workloads of a kind that may want the object, which belongs to nobody: those that select it.
pub(crate) fn may_adopt<'a>(
    news: &News<'a>,
    workloads: &'static str,
) -> impl Iterator<Item = &'a Arc<Stored>> + use<'a> {
    let object = news.latest().meta();
    let selects = |workload: &&'a Arc<Stored>| {
        let selector = workload.view::<Workload>().and_then(|view| view.spec.selector.as_ref());
        selector.is_some_and(|selector| selector.matches(object))
    };
    news.state.list(workloads, &news.key().namespace).filter(selects)
}

/// Objects that match and belong to nobody become the workload's; those that no longer match are let go. Of a resource with
/// the index [`UNOWNED`].
pub(crate) fn adopt_and_release(
    writer: &Writer,
    state: &State,
    workload: &Arc<Stored>,
    selector: &Selector,
    resource: &'static str,
    outcome: &mut Outcome,
) {
    let uid = &*workload.meta().uid;
    for object in owned(state, workload, resource).filter(|object| !selector.matches(object.meta())) {
        outcome.push(Step::new(writer.remove_owners(object, |owner| owner == uid)));
    }
    let reference = controller_reference(workload, writer.resource(&workload.key.resource));
    let unowned = state.by_field(resource, UNOWNED, &workload.key.namespace);
    for object in unowned.filter(|object| selector.matches(object.meta()) && may_be_adopted(object)) {
        outcome.push(Step::new(writer.add_owner(object, reference.clone())));
    }
}

/// What goes, or has run, is nobody's business.
fn may_be_adopted(object: &Stored) -> bool {
    let has_run = object.field("status.phase").is_some_and(|phase| matches!(phase, "Succeeded" | "Failed"));
    object.meta().deletion_timestamp.is_none() && !has_run
}
