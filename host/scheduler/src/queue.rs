//! Which pod is next: by priority, then by how long it has been waiting; failed ones later, hopeless ones when
//! something changed.

use std::collections::{BTreeSet, HashMap};

use berth_api::Timestamp;

/// kube-scheduler's `podInitialBackoffSeconds`.
const BACKOFF_MS_MIN: i64 = 1_000;
/// kube-scheduler's `podMaxBackoffSeconds`.
const BACKOFF_MS_MAX: i64 = 10_000;
/// After this long an unschedulable pod is tried again although nothing seems to have changed
/// (`podMaxInUnschedulablePodsDuration`).
const UNSCHEDULABLE_MS_MAX: i64 = 300_000;

/// (negated priority, since when the pod waits, its number): the order of scheduling.
type Rank = (i32, i64, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Active,
    /// Waits until then before it becomes active.
    BackingOff(Timestamp),
    /// Waits for a change, at the latest until then.
    Unschedulable(Timestamp),
}

#[derive(Debug)]
struct Waiting {
    rank: Rank,
    place: Place,
    attempts: u32,
    /// Not before this, whatever changes.
    not_before: Timestamp,
}

/// The pods that wait for a node.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: HashMap<u64, Waiting>,
    active: BTreeSet<Rank>,
    delayed: BTreeSet<(Timestamp, u64)>,
}

impl Queue {
    pub(crate) fn add(&mut self, pod: u64, priority: i32, since: Timestamp) {
        self.take(pod);
        let rank = (priority.checked_neg().unwrap_or(i32::MAX), since.micros(), pod);
        let not_before = Timestamp::default();
        self.put(pod, Waiting { rank, place: Place::Active, attempts: 0, not_before });
    }

    pub(crate) fn remove(&mut self, pod: u64) -> bool {
        self.take(pod).is_some()
    }

    /// Takes a pod out of whatever part of the queue it is in.
    fn take(&mut self, pod: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&pod)?;
        match waiting.place {
            Place::Active => self.active.remove(&waiting.rank),
            Place::BackingOff(at) | Place::Unschedulable(at) => self.delayed.remove(&(at, pod)),
        };
        Some(waiting)
    }

    /// The next pod to try, which leaves the active queue; [`Queue::remove`] or [`Queue::unschedulable`] follows.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<u64> {
        while let Some((at, pod)) = self.delayed.first().copied().filter(|(at, _)| *at <= now) {
            self.delayed.remove(&(at, pod));
            if let Some(waiting) = self.waiting.get_mut(&pod) {
                waiting.place = Place::Active;
                self.active.insert(waiting.rank);
            }
        }
        self.active.pop_first().map(|(_, _, pod)| pod)
    }

    /// Nothing can be done for the pod before the cluster changes.
    pub(crate) fn unschedulable(&mut self, pod: u64, now: Timestamp) {
        self.later(pod, now, |not_before| {
            Place::Unschedulable(not_before.max(now.plus_millis(UNSCHEDULABLE_MS_MAX)))
        });
    }

    /// The attempt failed for another reason than the cluster's state: try again after a while.
    pub(crate) fn retry(&mut self, pod: u64, now: Timestamp) {
        self.later(pod, now, Place::BackingOff);
    }

    fn later(&mut self, pod: u64, now: Timestamp, place: impl Fn(Timestamp) -> Place) {
        let Some(mut waiting) = self.take(pod) else { return };
        let delay = BACKOFF_MS_MAX.min(BACKOFF_MS_MIN << waiting.attempts.min(8));
        waiting.attempts += 1;
        waiting.not_before = now.plus_millis(delay);
        waiting.place = place(waiting.not_before);
        self.put(pod, waiting);
    }

    /// The cluster changed in a way that may help: unschedulable pods are tried again once their back-off is over.
    pub(crate) fn something_changed(&mut self, now: Timestamp) {
        let hopeful: Vec<(Timestamp, u64)> = self
            .delayed
            .iter()
            .filter(|(_, pod)| matches!(self.waiting[pod].place, Place::Unschedulable(_)))
            .copied()
            .collect();
        for (_, pod) in hopeful {
            if let Some(mut waiting) = self.take(pod) {
                let due = waiting.not_before;
                waiting.place = if due <= now { Place::Active } else { Place::BackingOff(due) };
                self.put(pod, waiting);
            }
        }
    }

    fn put(&mut self, pod: u64, waiting: Waiting) {
        match waiting.place {
            Place::Active => self.active.insert(waiting.rank),
            Place::BackingOff(at) | Place::Unschedulable(at) => self.delayed.insert((at, pod)),
        };
        self.waiting.insert(pod, waiting);
    }

    /// When there is something to do without a further change.
    pub(crate) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        if self.active.is_empty() { self.delayed.first().map(|(at, _)| *at) } else { Some(now) }
    }

    pub(crate) fn contains(&self, pod: u64) -> bool {
        self.waiting.contains_key(&pod)
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    #[test]
    fn priority_then_age() {
        let mut queue = Queue::default();
        queue.add(1, 0, NOW);
        queue.add(2, 0, NOW.plus_millis(-5));
        queue.add(3, 9, NOW);
        queue.add(4, i32::MIN, NOW.plus_millis(-99));
        let order: Vec<u64> = std::iter::from_fn(|| queue.pop(NOW)).collect();
        assert_eq!(order, [3, 2, 1, 4]);
    }

    #[test]
    fn an_unschedulable_pod_waits_for_a_change_and_its_back_off() {
        let mut queue = Queue::default();
        queue.add(1, 0, NOW);
        assert_eq!(queue.pop(NOW), Some(1));
        queue.unschedulable(1, NOW);
        assert_eq!(queue.pop(NOW.plus_millis(60_000)), None, "nothing changed");
        queue.something_changed(NOW.plus_millis(500));
        assert_eq!(queue.pop(NOW.plus_millis(500)), None, "it backs off");
        assert_eq!(queue.next_due(NOW), Some(NOW.plus_millis(1_000)));
        assert_eq!(queue.pop(NOW.plus_millis(1_000)), Some(1));
        queue.unschedulable(1, NOW);
        assert_eq!(queue.pop(NOW.plus_millis(300_000)), Some(1), "tried again in any case");
    }

    #[test]
    fn a_pod_that_is_put_off_twice_waits_once() {
        let mut queue = Queue::default();
        queue.add(1, 0, NOW);
        queue.pop(NOW);
        queue.retry(1, NOW);
        queue.unschedulable(1, NOW);
        queue.remove(1);
        queue.something_changed(NOW);
        assert_eq!((queue.len(), queue.next_due(NOW)), (0, None));
    }

    #[test]
    fn a_removed_pod_is_gone_from_wherever_it_was() {
        let mut queue = Queue::default();
        for pod in 1..=3 {
            queue.add(pod, 0, NOW);
        }
        let first = queue.pop(NOW).unwrap();
        queue.retry(first, NOW);
        for pod in 1..=3 {
            assert!(queue.remove(pod));
        }
        assert_eq!((queue.len(), queue.next_due(NOW)), (0, None));
    }
}
