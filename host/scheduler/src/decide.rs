//! The scheduler itself: takes in changes, decides, keeps what it decided until it is durable.

mod intake;

use std::sync::Arc;

use berth_api::Timestamp;
use berth_state::{Change, Key, State};

use crate::builtin::LeastAllocated;
use crate::class::{Classes, Keys};
use crate::fits::{explain, fits};
use crate::groups::Groups;
use crate::mirror::{Known, Mirror, Moment};
use crate::nodes::Nodes;
use crate::planning;
use crate::pods::{Place, Pods};
use crate::policy::{Feed, Manifest, Policy, PolicyError};
use crate::queue::Queue;
use crate::rating::{Choice, Rater};

/// What is to be done after a round of deciding.
#[derive(Debug, Default)]
pub struct Decisions {
    /// Pods that got a node. The scheduler counts on them until [`Scheduler::refused`] or a change says otherwise.
    pub placements: Vec<Placement>,
    /// Pods that got none, where the reason is news.
    pub unplaced: Vec<Unplaced>,
    /// Pods to delete for the sake of others.
    pub evictions: Vec<Eviction>,
    /// Pods that wait for room that evictions make.
    pub nominations: Vec<Nomination>,
    /// Policies that failed.
    pub failures: Vec<PolicyFailure>,
}

/// A pod goes to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The pod.
    pub pod: Key,
    /// Its uid when it was decided on.
    pub uid: Box<str>,
    /// The node's name.
    pub node: Box<str>,
    /// Placements with the same number other than 0 are committed all or none.
    pub transaction: u32,
}

/// A pod stays without a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplaced {
    /// The pod.
    pub pod: Key,
    /// Its uid.
    pub uid: Box<str>,
    /// Why: one sentence.
    pub message: String,
}

/// A pod must make room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// The pod that goes.
    pub pod: Key,
    /// Its uid.
    pub uid: Box<str>,
    /// The pod for which it goes.
    pub preemptor: Option<Key>,
}

/// A pod waits for room on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nomination {
    /// The pod.
    pub pod: Key,
    /// Its uid.
    pub uid: Box<str>,
    /// The node's name.
    pub node: Box<str>,
}

/// A policy failed; pods of its profile go the way its [`Failover`] says.
#[derive(Debug, PartialEq, Eq)]
pub struct PolicyFailure {
    /// Which profile.
    pub profile: String,
    /// The number that it was installed under.
    pub installation: u64,
    /// How.
    pub error: PolicyError,
}

/// What serves a profile whose policy does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Failover {
    /// [`LeastAllocated`] places the pods.
    #[default]
    Builtin,
    /// The pods wait.
    Hold,
}

pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) rater: Option<Rater>,
    /// The number that its policy was installed under.
    pub(crate) installation: u64,
    pub(crate) spare: Rater,
    pub(crate) failover: Failover,
}

/// Decides where pods go.
pub struct Scheduler {
    pub(crate) nodes: Nodes,
    pub(crate) classes: Classes,
    pub(crate) keys: Keys,
    pub(crate) groups: Groups,
    pub(crate) pods: Pods,
    pub(crate) queue: Queue,
    pub(crate) profiles: Vec<Profile>,
    pub(crate) transactions: u32,
    moment: Moment,
    seed: u64,
}

impl Scheduler {
    /// A scheduler of the profile `default-scheduler`, which knows no nodes yet. `seed` breaks ties between nodes.
    pub fn new(seed: u64) -> Self {
        let mut scheduler = Self {
            nodes: Nodes::new(),
            classes: Classes::default(),
            keys: Keys::default(),
            groups: Groups::default(),
            pods: Pods::default(),
            queue: Queue::default(),
            profiles: Vec::new(),
            transactions: 0,
            moment: Moment::default(),
            seed,
        };
        scheduler.add_profile("default-scheduler");
        scheduler
    }

    /// Serves pods whose `spec.schedulerName` is `name`, also those that wait for it already.
    pub fn add_profile(&mut self, name: &str) {
        if self.profiles.iter().all(|profile| profile.name != name) {
            let policy = Box::new(LeastAllocated::default());
            let mirror = Mirror::new(policy.manifest().clone());
            let spare = Rater::new(policy, mirror);
            self.profiles.push(Profile {
                name: name.to_owned(),
                rater: None,
                installation: 0,
                spare,
                failover: Failover::default(),
            });
            self.adopt(name);
        }
    }

    /// Takes in every node and pod of a state.
    pub fn resync(&mut self, state: &State, now: Timestamp) {
        let nodes = state.list("nodes", "").collect::<Vec<_>>();
        for stored in nodes.into_iter().chain(state.list("pods", "")) {
            self.take_in(&stored.key, Some(stored), now);
        }
    }

    /// A scheduler that begins anew with `state` and keeps the policies: for one whose change feed was lost.
    ///
    /// The policies are fed from the start; decisions whose binding is under way keep their room until they are heard of.
    #[must_use]
    pub fn restarted(self, state: &State, now: Timestamp) -> Self {
        let mut fresh = Self::new(self.seed);
        fresh.moment.life = self.moment.life + 1;
        let under_way = self.under_way();
        for profile in self.profiles {
            fresh.add_profile(&profile.name);
            fresh.set_failover(&profile.name, profile.failover);
            if let Some(rater) = profile.rater {
                let manifest = rater.mirror.manifest().clone();
                let mirror = Mirror::resuming(manifest, rater.mirror.seq());
                fresh.install(&profile.name, profile.installation, rater.into_policy(), mirror);
            }
        }
        fresh.resync(state, now);
        for placement in under_way {
            fresh.keep_room(&placement);
        }
        fresh
    }

    /// The placements that are not known to be durable yet, in the order of their decisions' pods.
    fn under_way(&self) -> Vec<Placement> {
        let placement = |id: u64| {
            let pod = self.pods.get(id)?;
            let Place::Assumed(slot) = pod.place else { return None };
            let node = self.nodes.node(slot)?.name.clone();
            Some(Placement { pod: pod.key().clone(), uid: pod.uid().into(), node, transaction: 0 })
        };
        self.pods.ids().into_iter().filter_map(placement).collect()
    }

    /// Counts a pod as placed where an earlier scheduler decided, unless the state says what became of it.
    fn keep_room(&mut self, placement: &Placement) {
        let (Some(id), Some(slot)) = (self.pods.find(&placement.pod), self.nodes.find(&placement.node))
        else {
            return;
        };
        let Some(pod) = self.pods.get_mut(id).filter(|pod| pod.uid() == &*placement.uid && !pod.is_bound())
        else {
            return;
        };
        pod.place = Place::Assumed(slot);
        let class = self.classes.get(pod.class).clone();
        self.nodes.take(slot, &class);
        self.queue.remove(id);
        self.place_changed(id, 1);
    }

    /// Takes in one change.
    pub fn on_change(&mut self, change: &Change, now: Timestamp) {
        self.take_in(&change.key, change.new.as_ref(), now);
    }

    /// How a profile's pods are served while it has no policy. [`Scheduler::reconsider`] lets those that wait profit from it.
    pub fn set_failover(&mut self, profile: &str, failover: Failover) {
        self.add_profile(profile);
        if let Some(profile) = self.profiles.iter_mut().find(|p| p.name == profile) {
            profile.failover = failover;
        }
    }

    /// The first feed for a policy that is to be installed, so that it can be fed while the old one serves.
    ///
    /// Pods are told apart by what the manifest subscribes to from now on.
    pub fn prepare(&mut self, manifest: &Manifest) -> (Mirror, Feed) {
        self.subscribe(manifest);
        let mut mirror = Mirror::made_at(manifest.clone(), self.moment);
        let mut feed = Feed::default();
        mirror.catch_up(self.known(), &[], &mut feed);
        (mirror, feed)
    }

    /// Lets `policy`, fed as far as `mirror` says, decide for a profile from now on; returns the one it replaces. Its failures
    /// carry the number `installation`, so that a late one is not taken for its successor's.
    pub fn install(
        &mut self,
        profile: &str,
        installation: u64,
        policy: Box<dyn Policy>,
        mirror: Mirror,
    ) -> Option<Box<dyn Policy>> {
        self.add_profile(profile);
        let mirror = mirror.installed_at(self.moment);
        self.subscribe(mirror.manifest());
        let known_classes = |class: &u32| !self.classes.contains(*class);
        let mut rater = Rater::new(policy, mirror);
        let gone: Vec<u32> = rater.mirror.fed_classes().filter(known_classes).collect();
        gone.into_iter().for_each(|class| rater.class_forgotten(class));
        let profile = self.profiles.iter_mut().find(|p| p.name == profile)?;
        profile.installation = installation;
        profile.rater.replace(rater).map(Rater::into_policy)
    }

    /// Leaves a profile without the policy of that installation; returns it, if the profile still had it.
    pub fn uninstall(&mut self, profile: &str, installation: u64) -> Option<Box<dyn Policy>> {
        let is_meant = |p: &&mut Profile| p.name == profile && p.installation == installation;
        let profile = self.profiles.iter_mut().find(is_meant)?;
        profile.rater.take().map(Rater::into_policy)
    }

    /// What decides has changed: pods that could not be placed are tried again, as after a change of the cluster.
    pub fn reconsider(&mut self, now: Timestamp) {
        self.queue.something_changed(now);
    }

    /// Decides about the next `limit` pods.
    pub fn decide(&mut self, now: Timestamp, limit: usize) -> Decisions {
        let mut decisions = Decisions::default();
        let mut batches: Vec<Vec<u64>> = vec![Vec::new(); self.profiles.len()];
        for _ in 0..limit {
            let Some(id) = self.queue.pop(now) else { break };
            let Some(profile) = self.pods.get(id).and_then(|pod| pod.profile) else { continue };
            if self.profiles[profile].rater.as_ref().is_some_and(|rater| rater.mirror.manifest().plans) {
                batches[profile].push(id);
            } else {
                self.place_one(id, profile, now, &mut decisions);
            }
        }
        for (profile, batch) in batches.into_iter().enumerate().filter(|(_, batch)| !batch.is_empty()) {
            planning::place_batch(self, profile, batch, now, &mut decisions);
        }
        decisions
    }

    pub(crate) fn place_one(&mut self, id: u64, profile: usize, now: Timestamp, decisions: &mut Decisions) {
        let seed = mix(self.seed, id);
        let now_ms = now.micros().max(0) as u64 / 1000;
        let Some(pod) = self.pods.get(id) else { return };
        let class = pod.class;
        self.give_up_nomination(id);
        let (known, at) = split(self, profile);
        let choice = match &mut at.rater {
            Some(rater) => rater.choose(known, class, now_ms, seed),
            None => return self.place_without_policy(id, profile, None, now, decisions),
        };
        match choice {
            Ok(choice) => self.carry_out(id, choice, now, decisions),
            Err(error) => {
                self.policy_failed(profile, error.clone(), now, decisions);
                self.place_without_policy(id, profile, Some(error), now, decisions);
            }
        }
    }

    /// A profile's policy gave no answer; one that cannot go on is put aside.
    pub(crate) fn policy_failed(
        &mut self,
        profile: usize,
        error: PolicyError,
        now: Timestamp,
        decisions: &mut Decisions,
    ) {
        let at = &mut self.profiles[profile];
        if error.is_fatal() {
            at.rater = None;
            self.queue.something_changed(now); // what it refused, whoever serves now may place
        }
        let (profile, installation) = (at.name.clone(), at.installation);
        decisions.failures.push(PolicyFailure { profile, installation, error });
    }

    /// The other way a profile places pods: one by one, by its spare policy or not at all.
    pub(crate) fn place_without_policy(
        &mut self,
        id: u64,
        profile: usize,
        why: Option<PolicyError>,
        now: Timestamp,
        decisions: &mut Decisions,
    ) {
        let seed = mix(self.seed, id);
        let now_ms = now.micros().max(0) as u64 / 1000;
        let Some(class) = self.pods.get(id).map(|pod| pod.class) else { return };
        let (known, at) = split(self, profile);
        let choice = match at.failover {
            Failover::Builtin => at.spare.choose(known, class, now_ms, seed).map_err(Some),
            Failover::Hold => Err(why),
        };
        let text = match choice {
            Ok(choice) => return self.carry_out(id, choice, now, decisions),
            Err(Some(error)) => {
                format!("the scheduling policy of this pod's profile does not work: {error}")
            }
            Err(None) => {
                "no scheduling policy serves this pod's profile, which lets its pods wait".to_owned()
            }
        };
        self.tell(id, text, decisions);
        self.queue.retry(id, now);
    }

    fn carry_out(&mut self, id: u64, choice: Choice, now: Timestamp, decisions: &mut Decisions) {
        match choice {
            Choice::Slot(slot) => self.assume(id, slot, 0, decisions),
            Choice::Refused(count) => {
                let text = format!(
                    "0/{} nodes are available: the scheduling policy refused all {count} that fit.",
                    self.nodes.len()
                );
                self.leave(id, text, now, decisions);
            }
            Choice::Nowhere => {
                let Some(pod) = self.pods.get(id) else { return };
                let text = explain(self.classes.get(pod.class), &self.nodes);
                self.leave(id, text, now, decisions);
            }
        }
    }

    /// Counts a pod as placed. The hard constraints are checked once more: nobody's answer is taken on trust.
    pub(crate) fn assume(&mut self, id: u64, slot: u32, transaction: u32, decisions: &mut Decisions) {
        let Some(pod) = self.pods.get_mut(id) else { return };
        let class = self.classes.get(pod.class).clone();
        let Some(node) = self.nodes.node(slot).filter(|node| fits(&class, node)) else {
            debug_assert!(false, "a candidate does not fit any more");
            return;
        };
        decisions.placements.push(Placement {
            pod: pod.key().clone(),
            uid: pod.uid().into(),
            node: node.name.clone(),
            transaction,
        });
        pod.place = Place::Assumed(slot);
        pod.told.clear();
        self.nodes.take(slot, &class);
        self.queue.remove(id);
        self.place_changed(id, 1);
    }

    /// A binding could not be committed: the pod goes back to the queue.
    ///
    /// Whatever became of it meanwhile: its node may be gone, and even back. But a pod of the same name that came later is
    /// another one, and one that has a node was bound all the same.
    pub fn refused(&mut self, pod: &Key, uid: &str, now: Timestamp) {
        let Some(id) = self.pods.find(pod) else { return };
        let Some(pod) = self.pods.get(id).filter(|pod| pod.uid() == uid && !pod.is_bound()) else { return };
        if matches!(pod.place, Place::Waiting | Place::Nominated(_)) {
            return;
        }
        let (priority, since) = (pod.priority, pod.since);
        let leaving = pod.stored.meta().deletion_timestamp.is_some();
        self.vacate(id);
        if let Some(pod) = self.pods.get_mut(id) {
            pod.place = Place::Waiting;
        }
        if !leaving {
            self.queue.add(id, priority, since);
            self.queue.retry(id, now);
        }
    }

    /// The pod stays where it is until the cluster changes.
    pub(crate) fn leave(&mut self, id: u64, message: String, now: Timestamp, decisions: &mut Decisions) {
        self.tell(id, message, decisions);
        self.queue.unschedulable(id, now);
    }

    pub(crate) fn tell(&mut self, id: u64, message: String, decisions: &mut Decisions) {
        let Some(pod) = self.pods.get_mut(id) else { return };
        if pod.told != message {
            pod.told.clone_from(&message);
            decisions.unplaced.push(Unplaced { pod: pod.key().clone(), uid: pod.uid().into(), message });
        }
    }

    pub(crate) fn give_up_nomination(&mut self, id: u64) {
        let Some(pod) = self.pods.get_mut(id) else { return };
        if let Place::Nominated(slot) = pod.place {
            pod.place = Place::Waiting;
            let class = self.classes.get(pod.class).clone();
            self.nodes.release(slot, &class);
        }
    }

    /// When [`Scheduler::decide`] will have something to do without a further change.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        self.queue.next_due(now)
    }

    /// Pods that wait for a node.
    pub fn pending(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn known(&self) -> Known<'_> {
        Known {
            nodes: &self.nodes,
            classes: &self.classes,
            keys: &self.keys,
            groups: &self.groups.all,
            pods: &self.pods,
        }
    }
}

/// What policies are told from, and one profile's policies, borrowed apart.
pub(crate) fn split(scheduler: &mut Scheduler, profile: usize) -> (Known<'_>, &mut Profile) {
    let Scheduler { nodes, classes, keys, groups, pods, profiles, .. } = scheduler;
    (Known { nodes, classes, keys, groups: &groups.all, pods }, &mut profiles[profile])
}

/// A seed of its own for each decision (SplitMix64's finaliser), so that one more decision shifts no other.
pub(crate) fn mix(seed: u64, id: u64) -> u64 {
    let mut z = seed ^ id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Shares a stored object without copying it.
pub(crate) type SharedStored = Arc<berth_state::Stored>;
