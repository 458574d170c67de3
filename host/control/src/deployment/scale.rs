//! How many pods each ReplicaSet of a deployment has next.

use berth_api::views::Pod;
use berth_state::State;

use super::{DESIRED_REPLICAS, MAX_REPLICAS, Rollout, Set};
use crate::outcome::Outcome;

/// The size with which the set of a new template begins.
pub(super) fn first_size(rollout: &Rollout<'_>) -> i64 {
    if !rollout.rolling() {
        return rollout.replicas();
    }
    new_size(rollout, 0)
}

/// The newest set's size when as many pods are added as `maxSurge` leaves room for.
fn new_size(rollout: &Rollout<'_>, now: i64) -> i64 {
    let total: i64 = rollout.sets.iter().map(Set::replicas).sum();
    let room = rollout.replicas() + rollout.max_surge() - total;
    now + room.min(rollout.replicas() - now).max(0)
}

/// One move of a rolling update: the newest set grows as far as `maxSurge` allows, else old ones shrink as far as
/// `maxUnavailable` allows.
pub(super) fn roll(rollout: &Rollout<'_>, outcome: &mut Outcome) {
    let Some(newest) = rollout.newest() else { return };
    let size = newest.replicas();
    let next = if size > rollout.replicas() { rollout.replicas() } else { new_size(rollout, size) };
    rollout.resize(newest, next, outcome);
    if next == size {
        shrink_old(rollout, newest, outcome);
    }
}

fn shrink_old(rollout: &Rollout<'_>, newest: &Set<'_>, outcome: &mut Outcome) {
    let total: i64 = rollout.sets.iter().map(Set::replicas).sum();
    let min_available = rollout.replicas() - rollout.max_unavailable();
    let newest_unavailable = newest.replicas() - newest.available();
    let mut may_go = total - min_available - newest_unavailable;
    if may_go <= 0 {
        return;
    }
    // Pods of old sets that do not work anyway go first: they cost no availability.
    let mut sizes: Vec<(&Set<'_>, i64)> = rollout.old_sets().map(|set| (set, set.replicas())).collect();
    for (set, size) in &mut sizes {
        let unhealthy = *size - set.available();
        let gone = unhealthy.min(may_go);
        *size -= gone;
        may_go -= gone;
    }
    let available: i64 = rollout.sets.iter().map(Set::available).sum();
    let mut surplus = (available - min_available).max(0);
    for (_, size) in &mut sizes {
        let gone = (*size).min(surplus);
        *size -= gone;
        surplus -= gone;
    }
    for (set, size) in sizes.into_iter().filter(|(set, size)| set.replicas() != *size) {
        rollout.resize(set, size, outcome);
    }
}

/// For the strategy Recreate: whether no pod of an old template is left; if some are, their sets are emptied.
pub(super) fn recreate_is_clear(rollout: &Rollout<'_>, state: &State, outcome: &mut Outcome) -> bool {
    let mut clear = true;
    for set in rollout.old_sets() {
        if set.replicas() > 0 {
            rollout.resize(set, 0, outcome);
            clear = false;
        }
        let mut pods = state.dependents(&set.stored.meta().uid).filter_map(|object| object.view::<Pod>());
        clear &= pods.all(Pod::is_finished);
    }
    clear
}

/// After a change of `spec.replicas`, or while paused: the sets keep their proportions.
pub(super) fn to_new_size(rollout: &Rollout<'_>, outcome: &mut Outcome) {
    let active: Vec<&Set<'_>> = rollout.sets.iter().filter(|set| set.replicas() > 0).collect();
    let only = match active.as_slice() {
        [] => rollout.newest().or_else(|| rollout.sets.last()),
        [one] => Some(*one),
        _ => None,
    };
    if let Some(only) = only {
        rollout.resize(only, rollout.replicas(), outcome);
    } else if rollout.newest().is_some_and(|newest| saturated(rollout, newest)) {
        rollout.old_sets().filter(|set| set.replicas() > 0).for_each(|set| rollout.resize(set, 0, outcome));
    } else if rollout.rolling() {
        in_proportion(rollout, active, outcome);
    }
}

fn saturated(rollout: &Rollout<'_>, newest: &Set<'_>) -> bool {
    newest.replicas() == rollout.replicas()
        && newest.number(DESIRED_REPLICAS) == Some(rollout.replicas())
        && newest.available() == rollout.replicas()
}

fn in_proportion(rollout: &Rollout<'_>, mut sets: Vec<&Set<'_>>, outcome: &mut Outcome) {
    let target = if rollout.replicas() > 0 { rollout.replicas() + rollout.max_surge() } else { 0 };
    let to_add = target - sets.iter().map(|set| set.replicas()).sum::<i64>();
    // The largest set takes the remainder; of equal ones the newer when growing, the older when shrinking.
    sets.sort_by_key(|set| {
        let created = set.stored.meta().creation_timestamp.unwrap_or_default().micros();
        (-set.replicas(), if to_add > 0 { -created } else { created })
    });
    let mut added = 0;
    let mut sizes: Vec<i64> = sets.iter().map(|set| set.replicas()).collect();
    for (set, size) in sets.iter().zip(&mut sizes) {
        let share = share(rollout, set, target);
        let left = to_add - added;
        let share = if to_add > 0 { share.clamp(0, left.max(0)) } else { share.clamp(left.min(0), 0) };
        *size += share;
        added += share;
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    for (set, size) in sets.iter().zip(sizes) {
        rollout.resize(set, size, outcome);
    }
}

/// By how many pods a set changes when it keeps its part of the whole.
fn share(rollout: &Rollout<'_>, set: &Set<'_>, target: i64) -> i64 {
    if target == 0 {
        return -set.replicas();
    }
    let whole = set.number(MAX_REPLICAS).filter(|max| *max > 0).unwrap_or(rollout.view.status.replicas);
    let scaled = (set.replicas() * target) as f64 / (whole.max(1)) as f64;
    scaled.round() as i64 - set.replicas()
}
