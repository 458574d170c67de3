//! Garbage collection by owner references: matched by uid, never by name.

use std::sync::Arc;

use berth_json::json;
use berth_state::{Owner, State, Stored};

use crate::outcome::{Outcome, Step};
use crate::requests::Writer;

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

pub(crate) fn reconcile(writer: &Writer, state: &State, stored: &Arc<Stored>) -> Outcome {
    let meta = stored.meta();
    if meta.deletion_timestamp.is_none() {
        return owned(writer, state, stored);
    }
    let has = |finalizer: &str| meta.finalizers.iter().any(|f| &**f == finalizer);
    if has(ORPHAN) {
        return orphan_dependents(writer, state, stored);
    }
    if has(FOREGROUND) {
        return delete_dependents_first(writer, state, stored);
    }
    Outcome::default()
}

/// An object whose owners are all gone goes; one with some left forgets the others.
fn owned(writer: &Writer, state: &State, stored: &Arc<Stored>) -> Outcome {
    let mut outcome = Outcome::default();
    let owners = &stored.meta().owner_references;
    let (there, gone): (Vec<&Owner>, Vec<&Owner>) = owners.iter().partition(|o| exists(state, stored, o));
    let waiting = |owner: &&&Owner| waits_for_dependents(state, owner);
    if owners.is_empty() {
        return outcome;
    }
    if there.is_empty() {
        outcome.push(Step::new(writer.delete(stored, "Background")).optional());
    } else if there.iter().all(|owner| waiting(&owner)) {
        // The last owners wait for this object in foreground deletion: it goes the same way if it has dependents.
        let has_dependents = state.dependents(&stored.meta().uid).next().is_some();
        let policy = if has_dependents { "Foreground" } else { "Background" };
        outcome.push(Step::new(writer.delete(stored, policy)).optional());
    } else if !gone.is_empty() {
        outcome.push(Step::new(writer.remove_owners(stored, |uid| gone.iter().any(|o| &*o.uid == uid))));
    }
    outcome
}

fn exists(state: &State, dependent: &Stored, owner: &Owner) -> bool {
    state
        .by_uid(&owner.uid)
        .is_some_and(|found| found.key.namespace.is_empty() || found.key.namespace == dependent.key.namespace)
}

fn waits_for_dependents(state: &State, owner: &Owner) -> bool {
    state.by_uid(&owner.uid).is_some_and(|owner| {
        let meta = owner.meta();
        meta.deletion_timestamp.is_some() && meta.finalizers.iter().any(|f| &**f == FOREGROUND)
    })
}

fn orphan_dependents(writer: &Writer, state: &State, stored: &Arc<Stored>) -> Outcome {
    let mut outcome = Outcome::default();
    let uid = &*stored.meta().uid;
    for dependent in state.dependents(uid) {
        outcome.push(Step::new(writer.remove_owners(dependent, |owner| owner == uid)));
    }
    outcome.push(Step::new(without_finalizer(writer, stored, ORPHAN)));
    outcome
}

fn delete_dependents_first(writer: &Writer, state: &State, stored: &Arc<Stored>) -> Outcome {
    let mut outcome = Outcome::default();
    let uid = &*stored.meta().uid;
    let mut blocked = false;
    for dependent in state.dependents(uid) {
        let blocks = |owner: &Owner| &*owner.uid == uid && owner.block_owner_deletion;
        blocked |= dependent.meta().owner_references.iter().any(blocks);
    }
    if !blocked {
        outcome.push(Step::new(without_finalizer(writer, stored, FOREGROUND)));
        return outcome;
    }
    for dependent in state.dependents(uid).filter(|d| d.meta().deletion_timestamp.is_none()) {
        outcome.steps.extend(owned(writer, state, dependent).steps);
    }
    outcome
}

fn without_finalizer(writer: &Writer, stored: &Stored, finalizer: &str) -> berth_pipeline::Request {
    let kept: Vec<&str> = stored.meta().finalizers.iter().map(|f| &**f).filter(|f| *f != finalizer).collect();
    let revision = stored.revision.to_string();
    let patch = json!({"metadata": {"resourceVersion": revision, "finalizers": kept}});
    writer.merge(&stored.key, "", &patch)
}
