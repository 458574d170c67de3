//! The change feed: the present state, who waits for what, and what they find when they come.

mod interest;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use berth_api::ResourceName;
use berth_state::{Change, Revision, State};
use tokio::sync::{Notify, watch};

use crate::{Changes, Expired};

pub use interest::Interest;

/// How many changes a channel knows of: as many jobs as the writer takes at once, so that a follower who was asleep before them
/// finds what they did here, in 8 KiB. One who is further behind looks through the history of the resource.
const RING_CHANGES_MAX: usize = 1024;

/// The published state, and those who follow it. Nobody is waited for: a follower that is slow finds more when it comes, and
/// one that is too slow finds [`Expired`]. Whoever does not follow what a write touches costs it nothing.
#[derive(Debug)]
pub(crate) struct Feed {
    /// Exchanged as a whole by the writer; locked only for as long as a pointer is copied.
    state: RwLock<Arc<State>>,
    revision: watch::Sender<Revision>,
    channels: Mutex<Channels>,
}

/// What is followed, by resource and interest.
#[derive(Debug, Default)]
struct Channels {
    followed: HashMap<ResourceName, HashMap<Interest, Followed>>,
}

#[derive(Debug)]
struct Followed {
    channel: Arc<Channel>,
    followers: usize,
}

/// Those who follow one interest of one resource.
#[derive(Debug)]
struct Channel {
    ring: Mutex<Ring>,
    /// The revision for which the followers were woken last.
    told: AtomicU64,
    /// Wakes in the order in which they fell asleep, so that a simulation takes the same course each time.
    wake: Notify,
}

/// The recent changes of an interest: their revisions alone. The changes are in the state's history, so that a follower sees
/// none before the state has it, and none is kept for a follower who sleeps.
#[derive(Debug)]
struct Ring {
    revisions: VecDeque<Revision>,
    /// Every later change is here.
    complete_after: Revision,
    /// The state that brought the last change.
    batch: Revision,
}

/// Follows one interest of a resource; goes on where it stopped.
#[derive(Debug)]
pub struct Subscription {
    feed: Arc<Feed>,
    resource: ResourceName,
    interest: Interest,
    channel: Arc<Channel>,
    /// Everything up to here was taken.
    after: Revision,
    /// Up to here [`Subscription::changed`] has told.
    seen: Revision,
}

impl Feed {
    pub(crate) fn new(state: State) -> Arc<Self> {
        let revision = watch::Sender::new(state.revision());
        Arc::new(Self { state: RwLock::new(Arc::new(state)), revision, channels: Mutex::default() })
    }

    pub(crate) fn snapshot(&self) -> Arc<State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Follows the revision of the whole cluster.
    pub(crate) fn revisions(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    pub(crate) fn subscribe(self: &Arc<Self>, resource: &str, interest: Interest) -> Subscription {
        let resource: ResourceName = resource.into();
        let mut channels = self.channels();
        // Under the lock that a writer holds while he exchanges the state: what comes after it comes through the channel.
        let after = self.snapshot().revision();
        let of_resource = channels.followed.entry(resource.clone()).or_default();
        let followed = of_resource
            .entry(interest.clone())
            .or_insert_with(|| Followed { channel: Arc::new(Channel::starting_after(after)), followers: 0 });
        followed.followers += 1;
        let channel = followed.channel.clone();
        drop(channels);
        Subscription { feed: self.clone(), resource, interest, channel, after, seen: after }
    }

    /// Shows everybody the state that `changes` led to, and wakes who follows what they touch.
    pub(crate) fn publish(&self, state: State, changes: &[Arc<Change>]) {
        let revision = state.revision();
        let channels = self.channels();
        let touched = channels.touch(changes, revision);
        let mut present = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let past = mem::replace(&mut *present, Arc::new(state));
        drop((present, channels));
        for channel in touched {
            channel.told.store(revision.0, Ordering::Release);
            channel.wake.notify_waiters();
        }
        if !changes.is_empty() {
            self.revision.send_replace(revision);
        }
        // It may be that nobody else has it: then it takes its time to go, and nobody waits for that.
        drop(past);
    }

    /// Shows everybody a state of which is not known how it came to be: whoever follows something finds [`Expired`].
    pub(crate) fn publish_anew(&self, state: State) {
        let revision = state.revision();
        let channels = self.channels();
        let all: Vec<Arc<Channel>> = channels.all().collect();
        all.iter().for_each(|channel| channel.ring().forget(revision));
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
        drop(channels);
        for channel in all {
            channel.told.store(revision.0, Ordering::Release);
            channel.wake.notify_waiters();
        }
        self.revision.send_replace(revision);
    }

    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Channels {
    /// Tells the rings of the changes that led to the state of revision `batch`. Returns those that were touched, each once, in
    /// the order of the changes.
    fn touch(&self, changes: &[Arc<Change>], batch: Revision) -> Vec<Arc<Channel>> {
        let mut touched = Vec::new();
        for change in changes {
            let Some(of_resource) = self.followed.get(&change.key.resource) else { continue };
            for interest in Interest::touched_by(change) {
                let Some(Followed { channel, .. }) = of_resource.get(&interest) else { continue };
                let mut ring = channel.ring();
                if mem::replace(&mut ring.batch, batch) != batch {
                    touched.push(channel.clone());
                }
                ring.push(change.revision);
            }
        }
        touched
    }

    fn all(&self) -> impl Iterator<Item = Arc<Channel>> {
        self.followed.values().flat_map(HashMap::values).map(|followed| followed.channel.clone())
    }

    fn leave(&mut self, resource: &ResourceName, interest: &Interest) {
        let Some(of_resource) = self.followed.get_mut(resource) else { return };
        if let Some(followed) = of_resource.get_mut(interest) {
            followed.followers -= 1;
            if followed.followers == 0 {
                of_resource.remove(interest);
            }
        }
        if of_resource.is_empty() {
            self.followed.remove(resource);
        }
    }
}

impl Channel {
    fn starting_after(revision: Revision) -> Self {
        let ring = Ring { revisions: VecDeque::new(), complete_after: revision, batch: revision };
        Self { ring: Mutex::new(ring), told: AtomicU64::new(revision.0), wake: Notify::new() }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> Revision {
        Revision(self.told.load(Ordering::Acquire))
    }
}

impl Ring {
    fn push(&mut self, revision: Revision) {
        if self.revisions.len() == RING_CHANGES_MAX
            && let Some(oldest) = self.revisions.pop_front()
        {
            self.complete_after = oldest;
        }
        self.revisions.push_back(revision);
    }

    /// What came up to `revision` is not known.
    fn forget(&mut self, revision: Revision) {
        self.revisions.clear();
        (self.complete_after, self.batch) = (revision, revision);
    }

    /// The first `limit` changes after `after`, up to `upto`; `None` when there may have been others.
    fn between(&self, after: Revision, upto: Revision, limit: usize) -> Option<Vec<Revision>> {
        if after < self.complete_after {
            return None;
        }
        let from = self.revisions.partition_point(|revision| *revision <= after);
        let new = self.revisions.range(from..).take_while(|revision| **revision <= upto);
        Some(new.take(limit).copied().collect())
    }
}

impl Subscription {
    /// Goes on after `revision`, wherever it was.
    pub fn seek(&mut self, revision: Revision) {
        self.after = revision;
    }

    /// Whether there may be something that was neither taken nor told of.
    pub fn has_changed(&self) -> bool {
        self.channel.told() > self.seen.max(self.after)
    }

    /// Waits until there may be something to take.
    pub async fn changed(&mut self) {
        loop {
            // Before the look, so that no wake-up falls in between.
            let woken = self.channel.wake.notified();
            if self.has_changed() {
                break;
            }
            woken.await;
        }
        self.seen = self.channel.told();
    }

    /// The next changes, oldest first, at most `limit` of them. Fewer than that are all there are.
    ///
    /// # Errors
    /// [`Expired`] when some of them are forgotten.
    pub fn take(&mut self, limit: usize) -> Result<Changes, Expired> {
        // Before the ring is read: what it knows beyond this state is for the next time.
        let state = self.feed.snapshot();
        let changes = self.next_of(&state, limit)?;
        let upto = match changes.last() {
            Some(last) if changes.len() == limit => last.revision,
            _ => state.revision().max(self.after),
        };
        self.after = upto;
        Ok(Changes { changes, upto })
    }

    fn next_of(&self, state: &State, limit: usize) -> Result<Vec<Arc<Change>>, Expired> {
        let (resource, after) = (&*self.resource, self.after);
        let expired = || Expired { after, oldest: state.complete_after_of(resource) };
        let recent = self.channel.ring().between(after, state.revision(), limit);
        if let Some(revisions) = recent {
            let change = |revision| state.change_of(resource, revision).cloned();
            return revisions.into_iter().map(change).collect::<Option<_>>().ok_or_else(expired);
        }
        let all = state.changes_of(resource, after).ok_or_else(expired)?;
        Ok(all.filter(|change| self.interest.wants(change)).take(limit).cloned().collect())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.feed.channels().leave(&self.resource, &self.interest);
    }
}
