//! The scheduler under virtual time: what `berth_drive::start_scheduler` does on a thread.

use std::sync::Arc;

use berth_api::{Catalogue, Timestamp};
use berth_control::Writer;
use berth_json::{Value, json};
use berth_pipeline::Binding;
use berth_scheduler::policy::{Feed, Manifest, Policy};
use berth_scheduler::{Decisions, Mirror, Placement, PolicyFailure, Scheduler, Unplaced};
use berth_state::{Key, Revision, State};

use crate::call::{Ask, Caller};
use crate::controllers::Calls;

/// As in the drive: batches of bindings on their way to the disk.
const BATCHES_MAX: usize = 8;
const PROFILE: &str = "default-scheduler";

/// The scheduler and its place in the change feed.
pub(crate) struct Scheduling {
    scheduler: Scheduler,
    writer: Writer,
    after: Revision,
    batches: usize,
}

impl Scheduling {
    pub(crate) fn start(seed: u64, state: &State, catalogue: Arc<Catalogue>, now: Timestamp) -> Self {
        let mut scheduler = Scheduler::new(seed);
        scheduler.resync(state, now);
        let writer = Writer::new("berth-scheduler", catalogue);
        Self { scheduler, writer, after: state.revision(), batches: 0 }
    }

    /// Takes in at most `limit` changes; whether there are more.
    pub(crate) fn catch_up(&mut self, state: &State, limit: usize, now: Timestamp) -> bool {
        let changes = state.changes_after(self.after).expect("the scheduler lives and dies with the server");
        for change in changes.into_iter().take(limit) {
            self.scheduler.on_change(change, now);
            self.after = change.revision;
        }
        self.after < state.revision()
    }

    /// Begins anew with the present state; the policies and the bindings under way stay.
    pub(crate) fn restarted(self, state: &State, now: Timestamp) -> Self {
        Self { scheduler: self.scheduler.restarted(state, now), after: state.revision(), ..self }
    }

    /// Decides about the next `limit` pods, if a batch is free for them.
    pub(crate) fn decide(
        &mut self,
        state: &State,
        now: Timestamp,
        limit: usize,
    ) -> (Calls, Vec<PolicyFailure>) {
        let busy = self.scheduler.next_due(now).is_some_and(|due| due <= now);
        if !busy || self.batches == BATCHES_MAX {
            return (vec![], vec![]);
        }
        let Decisions { placements, unplaced, evictions, nominations, failures } =
            self.scheduler.decide(now, limit);
        assert!(evictions.is_empty() && nominations.is_empty(), "no policy of the simulation evicts");
        let mut calls = Vec::new();
        for batch in placements.chunk_by(|a, b| a.transaction == b.transaction) {
            self.batches += 1;
            calls.push(bind(batch));
        }
        calls.extend(unplaced.into_iter().filter_map(|unplaced| self.say_unplaced(state, unplaced, now)));
        (calls, failures)
    }

    fn say_unplaced(&self, state: &State, unplaced: Unplaced, now: Timestamp) -> Option<(Caller, Ask)> {
        let Unplaced { pod, uid, message } = unplaced;
        let present = state.get(&pod).filter(|stored| stored.meta().uid == uid)?;
        let mut conditions: Vec<Value> =
            self.writer.value(present)["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.retain(|condition| condition["type"] != "PodScheduled");
        conditions.push(json!({
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
            "lastProbeTime": null, "lastTransitionTime": now.rfc3339(),
        }));
        let patch = json!({"metadata": {"uid": uid}, "status": {"conditions": conditions}});
        let request = self.writer.merge(&pod, "status", &patch);
        Some((Caller::SchedulerStatus, Ask::Write(Box::new(request))))
    }

    /// A batch was answered; `refused` are the pods that were not bound.
    pub(crate) fn bound(&mut self, refused: &[(Key, Box<str>)], now: Timestamp) {
        self.batches -= 1;
        for (pod, uid) in refused {
            self.scheduler.refused(pod, uid, now);
        }
    }

    pub(crate) fn prepare(&mut self, manifest: &Manifest) -> (Mirror, Feed) {
        self.scheduler.prepare(manifest)
    }

    pub(crate) fn install(&mut self, policy: Box<dyn Policy>, mirror: Mirror, now: Timestamp) {
        drop(self.scheduler.install(PROFILE, 0, policy, mirror));
        self.scheduler.reconsider(now);
    }

    pub(crate) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        if self.batches < BATCHES_MAX { self.scheduler.next_due(now) } else { None }
    }

    /// Pods that wait for a node, and batches under way.
    pub(crate) fn pending(&self) -> (usize, usize) {
        (self.scheduler.pending(), self.batches)
    }
}

fn bind(placements: &[Placement]) -> (Caller, Ask) {
    let pods = placements.iter().map(|placement| (placement.pod.clone(), placement.uid.clone())).collect();
    let bindings = placements.iter().map(|placement| Binding {
        pod: placement.pod.clone(),
        uid: placement.uid.clone(),
        node: placement.node.clone(),
    });
    let together = placements[0].transaction != 0;
    (Caller::Binder { pods }, Ask::Bind { bindings: bindings.collect(), together })
}
