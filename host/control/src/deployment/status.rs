//! A deployment's status: counts and conditions, worded as `kubectl rollout status` and `describe` expect.

use berth_api::Timestamp;
use berth_api::views::{Condition, WorkloadStatus};
use berth_json::json;

use super::Rollout;
use crate::outcome::{Outcome, Step};

const PROGRESSING: &str = "Progressing";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const FINISHED: &str = "NewReplicaSetAvailable";

struct Counts {
    replicas: i64,
    updated: i64,
    ready: i64,
    available: i64,
}

impl Counts {
    fn of(rollout: &Rollout<'_>) -> Self {
        let sum =
            |count: fn(&WorkloadStatus) -> i64| rollout.sets.iter().map(|set| count(&set.view.status)).sum();
        Self {
            replicas: sum(|s| s.replicas),
            updated: rollout.newest().map_or(0, |set| set.view.status.replicas),
            ready: sum(|s| s.ready_replicas),
            available: sum(|s| s.available_replicas),
        }
    }

    fn complete(&self, wanted: i64) -> bool {
        self.updated == wanted && self.replicas == wanted && self.available == wanted
    }
}

/// Whether every pod that is wanted is there, has the present template and is available, and no other is.
pub(super) fn complete(rollout: &Rollout<'_>) -> bool {
    Counts::of(rollout).complete(rollout.replicas())
}

/// Writes the status when it differs. `created`: a set that this reconciliation creates.
pub(super) fn write(rollout: &Rollout<'_>, created: Option<&str>, now: Timestamp, outcome: &mut Outcome) {
    let counts = Counts::of(rollout);
    let mut conditions = rollout.view.status.conditions.clone();
    set(&mut conditions, available(rollout, &counts), now);
    if let Some(progressing) = progressing(rollout, &counts, created, now) {
        set(&mut conditions, progressing, now);
    }
    replica_failure(rollout, &mut conditions, now);
    look_at_deadline(rollout, &conditions, now, outcome);
    let total: i64 = rollout.sets.iter().map(super::Set::replicas).sum();
    let unavailable = (total - counts.available).max(0);
    let mut status = json!({
        "observedGeneration": rollout.stored.meta().generation,
        "replicas": counts.replicas, "updatedReplicas": counts.updated, "readyReplicas": counts.ready,
        "availableReplicas": counts.available, "unavailableReplicas": unavailable,
        "conditions": conditions.iter().map(Condition::to_value).collect::<Vec<_>>(),
    });
    if let Some(fields) = status.as_object_mut() {
        fields.retain(|_, value| *value != 0);
    }
    if let Some(collisions) = rollout.view.status.collision_count {
        status["collisionCount"] = collisions.into();
    }
    if let Some(request) = rollout.writer.set_status(rollout.stored, status) {
        outcome.push(Step::new(request));
    }
}

fn condition(kind: &str, status: &str, reason: &str, message: String) -> Condition {
    Condition {
        kind: kind.into(),
        status: status.into(),
        reason: reason.into(),
        message: message.into(),
        ..Condition::default()
    }
}

/// Puts a condition in, keeping its times where nothing changed.
fn set(conditions: &mut Vec<Condition>, mut new: Condition, now: Timestamp) {
    new.last_update_time = Some(now.rfc3339().into());
    new.last_transition_time = Some(now.rfc3339().into());
    let Some(old) = conditions.iter_mut().find(|c| c.kind == new.kind) else {
        conditions.push(new);
        return;
    };
    if old.status == new.status {
        new.last_transition_time.clone_from(&old.last_transition_time);
        if old.reason == new.reason && &*new.reason != "ReplicaSetUpdated" {
            return;
        }
    }
    *old = new;
}

fn available(rollout: &Rollout<'_>, counts: &Counts) -> Condition {
    if counts.available >= rollout.replicas() - rollout.max_unavailable() {
        let text = "Deployment has minimum availability.";
        condition("Available", "True", "MinimumReplicasAvailable", text.to_owned())
    } else {
        let text = "Deployment does not have minimum availability.";
        condition("Available", "False", "MinimumReplicasUnavailable", text.to_owned())
    }
}

/// The condition Progressing as it is now, or `None` to leave it.
fn progressing(
    rollout: &Rollout<'_>,
    counts: &Counts,
    created: Option<&str>,
    now: Timestamp,
) -> Option<Condition> {
    rollout.view.spec.progress_deadline_seconds?;
    let before = rollout.view.status.conditions.iter().find(|c| &*c.kind == PROGRESSING);
    let reason = before.map_or("", |c| &*c.reason);
    let with = |status: &str, reason: &str, text: String| Some(condition(PROGRESSING, status, reason, text));
    if rollout.view.spec.paused {
        let text = "Deployment is paused".to_owned();
        return if reason == TIMED_OUT { None } else { with("Unknown", "DeploymentPaused", text) };
    }
    if reason == "DeploymentPaused" {
        return with("Unknown", "DeploymentResumed", "Deployment is resumed".to_owned());
    }
    if let Some(name) = created {
        return with("True", "NewReplicaSetCreated", format!("Created new replica set \"{name}\""));
    }
    let newest = rollout.newest()?.name();
    let settled = counts.replicas == counts.updated && reason == FINISHED;
    if counts.complete(rollout.replicas()) {
        return with("True", FINISHED, format!("ReplicaSet \"{newest}\" has successfully progressed."));
    }
    if settled {
        return None; // pods that come and go after the rollout are no new rollout
    }
    if moved(rollout, counts) {
        return with("True", "ReplicaSetUpdated", format!("ReplicaSet \"{newest}\" is progressing."));
    }
    if before.is_none() {
        return with("True", "FoundNewReplicaSet", format!("Found new replica set \"{newest}\""));
    }
    if deadline(rollout, before).is_some_and(|at| at <= now) {
        return with("False", TIMED_OUT, format!("ReplicaSet \"{newest}\" has timed out progressing."));
    }
    None
}

/// Whether the counts came nearer to what is wanted since the status was last written.
fn moved(rollout: &Rollout<'_>, counts: &Counts) -> bool {
    let before = &rollout.view.status;
    counts.updated > before.updated_replicas
        || counts.replicas - counts.updated < before.replicas - before.updated_replicas
        || counts.ready > before.ready_replicas
        || counts.available > before.available_replicas
}

fn deadline(rollout: &Rollout<'_>, progressing: Option<&Condition>) -> Option<Timestamp> {
    let progressing = progressing.filter(|c| &*c.status == "True" && &*c.reason != FINISHED)?;
    let seconds = rollout.view.spec.progress_deadline_seconds?;
    Some(
        Timestamp::parse(progressing.last_update_time.as_deref()?)?.plus_millis(seconds.saturating_mul(1000)),
    )
}

fn look_at_deadline(rollout: &Rollout<'_>, conditions: &[Condition], now: Timestamp, outcome: &mut Outcome) {
    let progressing = conditions.iter().find(|c| &*c.kind == PROGRESSING);
    if let Some(at) = deadline(rollout, progressing).filter(|at| *at > now) {
        outcome.look_again(at);
    }
}

/// What hinders the newest set (or an old one) from making pods is the deployment's trouble too.
fn replica_failure(rollout: &Rollout<'_>, conditions: &mut Vec<Condition>, now: Timestamp) {
    let of_set = |set: &super::Set<'_>| {
        let mut found = set.view.status.conditions.iter();
        found.find(|c| &*c.kind == "ReplicaFailure" && &*c.status == "True").cloned()
    };
    let failing = rollout.newest().and_then(of_set).or_else(|| rollout.old_sets().find_map(of_set));
    match failing {
        Some(failing) => set(conditions, failing, now),
        None => conditions.retain(|c| &*c.kind != "ReplicaFailure"),
    }
}
