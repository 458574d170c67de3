//! Garbage collection by owner references: matched by uid, never by name.

use std::collections::HashSet;
use std::sync::Arc;

use berth_state::{Owner, State, Stored};

use crate::controller::{Controller, Look, News, Wake};
use crate::outcome::{Outcome, Step};
use crate::requests::Writer;

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// Deletes what has lost its owners; carries out foreground and orphan deletion.
pub(crate) struct Garbage;

impl Controller for Garbage {
    fn name(&self) -> &'static str {
        "garbage-collector-controller"
    }

    fn wake(&mut self, news: &News<'_>, wake: &mut Wake<'_>) {
        let meta = news.latest().meta();
        if !meta.owner_references.is_empty() || meta.deletion_timestamp.is_some() {
            wake.up(news.key());
        }
        // An owner may wait for it to go.
        wake.all(news.owners().filter(|owner| owner.meta().deletion_timestamp.is_some()));
        if news.is_gone() {
            wake.all(news.state.dependents(&meta.uid));
        }
    }

    fn reconcile(&mut self, look: &Look<'_>, stored: &Arc<Stored>) -> Outcome {
        reconcile(look.writer, look.state, stored)
    }
}

fn reconcile(writer: &Writer, state: &State, stored: &Arc<Stored>) -> Outcome {
    if stored.meta().deletion_timestamp.is_none() {
        return owned(writer, state, stored);
    }
    if has_finalizer(stored, ORPHAN) {
        return orphan_dependents(writer, state, stored);
    }
    if has_finalizer(stored, FOREGROUND) {
        return delete_dependents_first(writer, state, stored);
    }
    Outcome::default()
}

/// An object whose owners are all gone, or wait for it to go, goes; one that somebody else owns too forgets those.
fn owned(writer: &Writer, state: &State, stored: &Arc<Stored>) -> Outcome {
    let mut outcome = Outcome::default();
    let owners = &stored.meta().owner_references;
    if owners.is_empty() {
        return outcome;
    }
    let (there, mut lost): (Vec<&Owner>, Vec<&Owner>) = owners.iter().partition(|o| exists(state, stored, o));
    let (waiting, keeping): (Vec<&Owner>, Vec<&Owner>) = there
        .into_iter()
        .partition(|owner| state.by_uid(&owner.uid).is_some_and(|o| waits_for_dependents(o)));
    if !keeping.is_empty() {
        lost.extend(waiting);
        if !lost.is_empty() {
            outcome.push(Step::new(writer.remove_owners(stored, |uid| lost.iter().any(|o| &*o.uid == uid))));
        }
        return outcome;
    }
    let policy = if waiting.is_empty() {
        own_policy(stored)
    } else if dependents(state, stored).next().is_some() {
        // The last owners wait for this object in foreground deletion: it goes the same way.
        "Foreground"
    } else {
        "Background"
    };
    outcome.push(Step::new(writer.delete(stored, policy)).optional());
    outcome
}

/// How an object goes that nobody asked to go: as its finalizers say.
fn own_policy(stored: &Stored) -> &'static str {
    if has_finalizer(stored, ORPHAN) {
        "Orphan"
    } else if has_finalizer(stored, FOREGROUND) {
        "Foreground"
    } else {
        "Background"
    }
}

fn exists(state: &State, dependent: &Stored, owner: &Owner) -> bool {
    state.by_uid(&owner.uid).is_some_and(|found| may_own(found, dependent))
}

/// An owner is in its dependent's namespace, or in none.
fn may_own(owner: &Stored, dependent: &Stored) -> bool {
    owner.key.namespace.is_empty() || owner.key.namespace == dependent.key.namespace
}

fn has_finalizer(stored: &Stored, finalizer: &str) -> bool {
    stored.meta().finalizers.iter().any(|f| &**f == finalizer)
}

fn waits_for_dependents(stored: &Stored) -> bool {
    stored.meta().deletion_timestamp.is_some() && has_finalizer(stored, FOREGROUND)
}

/// The objects that this one owns, itself left out.
fn dependents<'a>(state: &'a State, stored: &'a Stored) -> impl Iterator<Item = &'a Arc<Stored>> {
    let uid = &*stored.meta().uid;
    let is_other =
        move |dependent: &&Arc<Stored>| &*dependent.meta().uid != uid && may_own(stored, dependent);
    state.dependents(uid).filter(is_other)
}

/// The dependents for which this object has to wait.
fn blocking<'a>(state: &'a State, stored: &'a Stored) -> impl Iterator<Item = &'a Arc<Stored>> {
    let uid = &*stored.meta().uid;
    let blocks = move |owner: &Owner| &*owner.uid == uid && owner.block_owner_deletion;
    dependents(state, stored).filter(move |dependent| dependent.meta().owner_references.iter().any(blocks))
}

fn orphan_dependents(writer: &Writer, state: &State, stored: &Arc<Stored>) -> Outcome {
    let mut outcome = Outcome::default();
    let uid = &*stored.meta().uid;
    for dependent in dependents(state, stored) {
        outcome.push(Step::new(writer.remove_owners(dependent, |owner| owner == uid)));
    }
    outcome.push(Step::new(writer.remove_finalizer(stored, ORPHAN)));
    outcome
}

fn delete_dependents_first(writer: &Writer, state: &State, stored: &Arc<Stored>) -> Outcome {
    let mut outcome = Outcome::default();
    if blocking(state, stored).next().is_none() {
        outcome.push(Step::new(writer.remove_finalizer(stored, FOREGROUND)));
        return outcome;
    }
    for dependent in dependents(state, stored).filter(|d| d.meta().deletion_timestamp.is_none()) {
        outcome.steps.extend(owned(writer, state, dependent).steps);
    }
    for dependent in blocking(state, stored).filter(|dependent| waits_for(state, dependent, stored)) {
        // Owners in a circle would wait for each other for ever.
        outcome.push(Step::new(writer.unblock_owner(dependent, &stored.meta().uid)));
    }
    outcome
}

/// Whether `stored` waits, by way of others that wait themselves, for `last`.
fn waits_for(state: &State, stored: &Arc<Stored>, last: &Stored) -> bool {
    let mut looked_at: HashSet<&str> = HashSet::new();
    let mut open: Vec<&Arc<Stored>> = vec![stored];
    while let Some(next) = open.pop() {
        if next.meta().uid == last.meta().uid {
            return true;
        }
        if waits_for_dependents(next) && looked_at.insert(&next.meta().uid) {
            open.extend(blocking(state, next));
        }
    }
    false
}
