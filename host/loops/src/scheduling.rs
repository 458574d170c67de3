//! Running the scheduler on a thread of its own: policies are called synchronously, and may take their time.

use std::sync::Arc;

use berth_api::Timestamp;
use berth_cluster::{Atomicity, Leader};
use berth_control::{EventKind, EventNote, Writer};
use berth_json::json;
use berth_pipeline::Binding;
use berth_scheduler::policy::{Feed, Manifest, Policy};
use berth_scheduler::{Decisions, Failover, Mirror, Placement, Scheduler, Unplaced};
use berth_state::{Key, Stored};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::events::EventSink;
use crate::failures::FailureReports;
use crate::feed::{Follower, News};

/// Pods decided about before the changes are looked at again.
const ROUND_PODS_MAX: usize = 256;
/// Batches of bindings on their way to the disk; while they are, the next ones are decided.
const BATCHES_MAX: usize = 8;
/// Status writes of unplaced pods under way; each is small, and they come in bursts when a cluster is full.
const STATUS_WRITES_MAX: usize = 64;
/// Commands and reports that wait for the scheduler's thread.
const MAILBOX_MAX: usize = 1_024;

/// The scheduler has stopped: berth is shutting down, or another server leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the scheduler has stopped")]
pub struct SchedulerStopped;

enum Message {
    Prepare(Manifest, oneshot::Sender<(Mirror, Feed)>),
    Install {
        profile: String,
        installation: u64,
        policy: Box<dyn Policy>,
        mirror: Box<Mirror>,
        done: oneshot::Sender<u64>,
    },
    Uninstall(String, u64),
    Failover(String, Failover),
    /// Pods (with their uids) whose bindings were not committed.
    Refused(Vec<(Key, Box<str>)>),
}

/// Talks to the scheduler's thread.
#[derive(Clone)]
pub struct ScheduleHandle {
    mailbox: mpsc::Sender<Message>,
}

impl ScheduleHandle {
    /// The full first feed for a policy with this manifest, and its place in the feed.
    ///
    /// # Errors
    /// When the scheduler has stopped.
    pub async fn prepare(&self, manifest: Manifest) -> Result<(Mirror, Feed), SchedulerStopped> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Prepare(manifest, reply)).await?;
        answer.await.map_err(|_| SchedulerStopped)
    }

    /// Exchanges a profile's policy between two decisions; returns how many microseconds no decision was made. The new one's
    /// failures are reported under the number `installation`.
    ///
    /// # Errors
    /// When the scheduler has stopped.
    pub async fn install(
        &self,
        profile: &str,
        installation: u64,
        policy: Box<dyn Policy>,
        mirror: Mirror,
    ) -> Result<u64, SchedulerStopped> {
        let (done, answer) = oneshot::channel();
        let mirror = Box::new(mirror);
        let profile = profile.to_owned();
        self.send(Message::Install { profile, installation, policy, mirror, done }).await?;
        answer.await.map_err(|_| SchedulerStopped)
    }

    /// Leaves a profile to its failover, if it still has the policy of that installation.
    ///
    /// # Errors
    /// When the scheduler has stopped.
    pub async fn uninstall(&self, profile: &str, installation: u64) -> Result<(), SchedulerStopped> {
        self.send(Message::Uninstall(profile.to_owned(), installation)).await
    }

    /// Says what serves a profile without a working policy.
    ///
    /// # Errors
    /// When the scheduler has stopped.
    pub async fn set_failover(&self, profile: &str, failover: Failover) -> Result<(), SchedulerStopped> {
        self.send(Message::Failover(profile.to_owned(), failover)).await
    }

    async fn send(&self, message: Message) -> Result<(), SchedulerStopped> {
        self.mailbox.send(message).await.map_err(|_| SchedulerStopped)
    }
}

/// Starts the scheduler. `failovers` say what serves each profile before it has a policy; failures of policies are reported to
/// `failures`. It ends with the last handle.
///
/// # Errors
/// When the thread cannot be started.
pub fn start_scheduler(
    leader: Leader,
    seed: u64,
    failovers: Vec<(String, Failover)>,
    failures: FailureReports,
) -> std::io::Result<ScheduleHandle> {
    let (mailbox, messages) = mpsc::channel(MAILBOX_MAX);
    let handle = ScheduleHandle { mailbox };
    let executor = leader.executor().clone();
    let hands = Hands {
        writer: Writer::new("berth-scheduler", leader.catalogue()),
        events: EventSink::start(leader.clone(), "default-scheduler"),
        leader,
        failures,
        batches: Arc::new(Semaphore::new(BATCHES_MAX)),
        writes: Arc::new(Semaphore::new(STATUS_WRITES_MAX)),
        mailbox: handle.mailbox.downgrade(),
    };
    executor.spawn_apart("scheduler", async move {
        let mut scheduler = Scheduler::new(seed);
        failovers.iter().for_each(|(profile, failover)| scheduler.set_failover(profile, *failover));
        run(scheduler, hands, messages).await;
    })?;
    Ok(handle)
}

/// What the scheduler's decisions are carried out with.
#[derive(Clone)]
struct Hands {
    leader: Leader,
    writer: Writer,
    events: EventSink,
    failures: FailureReports,
    batches: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    mailbox: mpsc::WeakSender<Message>,
}

async fn run(mut scheduler: Scheduler, hands: Hands, mut messages: mpsc::Receiver<Message>) {
    let (mut follower, state) = Follower::new(Arc::clone(&hands.leader));
    scheduler.resync(&state, hands.leader.now());
    drop(state);
    loop {
        let News { state, changes } = follower.catch_up();
        let now = hands.leader.now();
        match changes {
            Some(changes) => changes.iter().for_each(|change| scheduler.on_change(change, now)),
            None => scheduler = scheduler.restarted(&state, now),
        }
        drop(state);
        while let Ok(message) = messages.try_recv() {
            hands.handle(&mut scheduler, message);
        }
        let now = hands.leader.now();
        let busy = scheduler.next_due(now).is_some_and(|due| due <= now);
        if busy && let Ok(permit) = hands.batches.clone().try_acquire_owned() {
            let decisions = scheduler.decide(now, ROUND_PODS_MAX);
            hands.carry_out(decisions, permit).await;
            if messages.is_closed() {
                return;
            }
            continue;
        }
        // While all batches are under way a report of one, or its change, brings the next round.
        let due = if busy { None } else { scheduler.next_due(now) };
        tokio::select! {
            biased;
            message = messages.recv() => match message {
                Some(message) => hands.handle(&mut scheduler, message),
                None => return,
            },
            alive = follower.changed() => if !alive { return },
            free = hands.batches.acquire(), if busy => drop(free),
            () = hands.leader.executor().sleep_until(due) => {}
        }
    }
}

impl Hands {
    fn handle(&self, scheduler: &mut Scheduler, message: Message) {
        let now = self.leader.now();
        match message {
            Message::Prepare(manifest, reply) => {
                // Whoever asked may have given up; the mirror is of no use to anybody else.
                let _ = reply.send(scheduler.prepare(&manifest));
            }
            Message::Install { profile, installation, policy, mirror, done } => {
                let replaced = scheduler.install(&profile, installation, policy, *mirror);
                // Whoever asked may be gone; the policy serves all the same.
                let _ = done.send((self.leader.now().micros() - now.micros()).max(0).unsigned_abs());
                self.drop_elsewhere(replaced);
                scheduler.reconsider(now);
            }
            Message::Uninstall(profile, installation) => {
                self.drop_elsewhere(scheduler.uninstall(&profile, installation));
                scheduler.reconsider(now);
            }
            Message::Failover(profile, failover) => {
                scheduler.set_failover(&profile, failover);
                scheduler.reconsider(now);
            }
            Message::Refused(pods) => pods.iter().for_each(|(pod, uid)| scheduler.refused(pod, uid, now)),
        }
    }

    /// A sandbox's memory takes a while to unmap: decisions do not wait for it.
    fn drop_elsewhere(&self, policy: Option<Box<dyn Policy>>) {
        if let Some(policy) = policy {
            self.leader.executor().unload(policy);
        }
    }

    async fn carry_out(&self, decisions: Decisions, permit: tokio::sync::OwnedSemaphorePermit) {
        let Decisions { placements, unplaced, evictions, nominations, failures } = decisions;
        failures.iter().for_each(|failure| self.failures.report(failure));
        if placements.is_empty() {
            drop(permit);
        } else {
            let hands = self.clone();
            self.leader.executor().spawn("bind", async move {
                hands.bind(placements).await;
                drop(permit);
            });
        }
        for pod in unplaced {
            self.write(|hands| async move { hands.say_unplaced(pod).await }).await;
        }
        for nomination in nominations {
            self.write(|hands| async move {
                let status = json!({"status": {"nominatedNodeName": &*nomination.node}});
                hands.patch_status(&nomination.pod, &nomination.uid, status).await;
            })
            .await;
        }
        for eviction in evictions {
            self.write(|hands| async move { hands.evict(eviction).await }).await;
        }
    }

    /// Does one small write beside the deciding, when fewer than [`STATUS_WRITES_MAX`] are under way.
    async fn write<F>(&self, what: impl FnOnce(Self) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Ok(permit) = self.writes.clone().acquire_owned().await else { return };
        let work = what(self.clone());
        self.leader.executor().spawn("status", async move {
            work.await;
            drop(permit);
        });
    }

    async fn bind(&self, placements: Vec<Placement>) {
        let mut refused = Vec::new();
        // A node may start a pod, and tell of it, before the answer is here.
        let decided = self.leader.now();
        for batch in placements.chunk_by(|a, b| a.transaction == b.transaction) {
            let together = if batch[0].transaction == 0 { Atomicity::Each } else { Atomicity::All };
            let bindings = batch.iter().map(|p| Binding {
                pod: p.pod.clone(),
                uid: p.uid.clone(),
                node: p.node.clone(),
            });
            let results = self.leader.commit_bindings(bindings.collect(), together).await;
            for (placement, result) in batch.iter().zip(results) {
                match result {
                    Ok(_) => self.say_placed(placement, decided),
                    Err(error) => {
                        tracing::debug!(pod = %placement.pod, "not bound: {error}");
                        refused.push((placement.pod.clone(), placement.uid.clone()));
                    }
                }
            }
        }
        if !refused.is_empty()
            && let Some(mailbox) = self.mailbox.upgrade()
        {
            // Without a scheduler there is nobody who counts on these pods.
            let _ = mailbox.send(Message::Refused(refused)).await;
        }
    }

    fn say_placed(&self, placement: &Placement, decided: Timestamp) {
        let Placement { pod, uid, node, .. } = placement;
        let message = format!("Successfully assigned {}/{} to {node}", pod.namespace, pod.name);
        let (about, uid, kind) = (pod.clone(), uid.to_string(), EventKind::Normal);
        self.events.tell_of(EventNote { about, uid, kind, reason: "Scheduled", message }, decided);
    }

    fn tell(&self, pod: &Key, uid: &str, kind: EventKind, reason: &'static str, message: String) {
        self.events.tell(EventNote { about: pod.clone(), uid: uid.to_owned(), kind, reason, message });
    }

    async fn say_unplaced(&self, unplaced: Unplaced) {
        let Unplaced { pod, uid, message } = unplaced;
        let now = self.leader.now().rfc3339();
        let present = self.leader.read(|state| state.get(&pod).cloned());
        let Some(present) = present.filter(|stored| stored.meta().uid == uid) else { return };
        let conditions =
            with_unschedulable(&self.writer.value(&present)["status"]["conditions"], &message, &now);
        let status = json!({"status": {"conditions": conditions}});
        self.patch_status(&pod, &uid, status).await;
        self.tell(&pod, &uid, EventKind::Warning, "FailedScheduling", message);
    }

    async fn patch_status(&self, pod: &Key, uid: &str, mut patch: berth_json::Value) {
        patch["metadata"] = json!({"uid": uid});
        let request = self.writer.merge(pod, "status", &patch);
        if let Err(error) = self.leader.apply(request).await {
            tracing::debug!(%pod, "its status was not written: {error}");
        }
    }

    async fn evict(&self, eviction: berth_scheduler::Eviction) {
        let present: Option<Arc<Stored>> = self.leader.read(|state| state.get(&eviction.pod).cloned());
        let Some(present) = present.filter(|stored| stored.meta().uid == eviction.uid) else { return };
        let by =
            eviction.preemptor.map_or_else(String::new, |pod| format!(" by {}/{}", pod.namespace, pod.name));
        match self.leader.apply(self.writer.delete(&present, "Background")).await {
            Ok(_) => {
                let text = format!("Preempted{by}");
                self.tell(&eviction.pod, &eviction.uid, EventKind::Normal, "Preempted", text);
            }
            Err(error) => tracing::debug!(pod = %eviction.pod, "not evicted: {error}"),
        }
    }
}

/// The pod's conditions with PodScheduled false; its transition time stays when it was false before.
fn with_unschedulable(conditions: &berth_json::Value, message: &str, now: &str) -> Vec<berth_json::Value> {
    let mut kept = conditions.as_array().cloned().unwrap_or_default();
    let before = kept.iter().find(|c| c["type"] == "PodScheduled" && c["status"] == "False");
    let since = before.and_then(|c| c["lastTransitionTime"].as_str()).unwrap_or(now).to_owned();
    kept.retain(|c| c["type"] != "PodScheduled");
    kept.push(json!({
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
        "lastProbeTime": null, "lastTransitionTime": since,
    }));
    kept
}
