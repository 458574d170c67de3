//! The work queue: each item once, delays, and back-off after failures, all in virtual time.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::Hash;

use berth_api::Timestamp;

/// The first delay after a failure.
const BACKOFF_MS_MIN: i64 = 10;
/// The longest delay: a controller that keeps failing is tried every half minute, so that a mended cause shows soon.
const BACKOFF_MS_MAX: i64 = 30_000;

/// A set of items waiting to be worked on. An item that is being worked on is not handed out a second time.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    ready: VecDeque<T>,
    queued: HashSet<T>,
    running: HashSet<T>,
    again: HashSet<T>,
    delayed: BTreeSet<(Timestamp, T)>,
    due: HashMap<T, Timestamp>,
    failures: HashMap<T, u32>,
}

impl<T: Clone + Eq + Hash + Ord> Queue<T> {
    pub(crate) fn new() -> Self {
        Self {
            ready: VecDeque::new(),
            queued: HashSet::new(),
            running: HashSet::new(),
            again: HashSet::new(),
            delayed: BTreeSet::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
        }
    }

    /// The item must be looked at soon; while it is being worked on, right after that.
    pub(crate) fn add(&mut self, item: T) {
        if self.running.contains(&item) {
            self.again.insert(item);
        } else if self.queued.insert(item.clone()) {
            self.ready.push_back(item);
        }
    }

    /// The item must be looked at when `at` has come; an earlier appointment stands.
    pub(crate) fn add_at(&mut self, item: T, at: Timestamp) {
        match self.due.get(&item) {
            Some(due) if *due <= at => return,
            Some(due) => {
                self.delayed.remove(&(*due, item.clone()));
            }
            None => {}
        }
        self.due.insert(item.clone(), at);
        self.delayed.insert((at, item));
    }

    /// The next item to work on.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<T> {
        while let Some((at, item)) = self.delayed.first().filter(|(at, _)| *at <= now).cloned() {
            self.delayed.remove(&(at, item.clone()));
            self.due.remove(&item);
            self.add(item);
        }
        let item = self.ready.pop_front()?;
        self.queued.remove(&item);
        self.running.insert(item.clone());
        Some(item)
    }

    /// The item was worked on.
    pub(crate) fn done(&mut self, item: &T, succeeded: bool, now: Timestamp) {
        self.running.remove(item);
        if succeeded {
            self.failures.remove(item);
        } else {
            let failures = self.failures.entry(item.clone()).or_default();
            let delay = BACKOFF_MS_MAX.min(BACKOFF_MS_MIN << (*failures).min(20));
            *failures += 1;
            self.add_at(item.clone(), now.plus_millis(delay));
        }
        if self.again.remove(item) && succeeded {
            self.add(item.clone());
        }
    }

    /// When the next delayed item is due; `None` when there is none. Ready items are due now.
    pub(crate) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        if self.ready.is_empty() { self.delayed.first().map(|(at, _)| *at) } else { Some(now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    #[test]
    fn an_item_is_handed_out_once() {
        let mut queue = Queue::new();
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.pop(NOW), Some("a"));
        assert_eq!(queue.pop(NOW), None);
        queue.add("a");
        assert_eq!(queue.pop(NOW), None, "it is being worked on");
        queue.done(&"a", true, NOW);
        assert_eq!(queue.pop(NOW), Some("a"), "it changed meanwhile");
    }

    #[test]
    fn failures_wait_longer_each_time_and_success_forgets_them() {
        let mut queue = Queue::new();
        let mut now = NOW;
        let mut delays = vec![];
        queue.add("a");
        for _ in 0..14 {
            assert_eq!(queue.pop(now), Some("a"));
            queue.done(&"a", false, now);
            let due = queue.next_due(now).unwrap();
            delays.push(due.millis_since(now));
            now = due;
        }
        assert_eq!(delays[..3], [10, 20, 40]);
        assert_eq!(delays[13], BACKOFF_MS_MAX);
        queue.pop(now);
        queue.done(&"a", true, now);
        assert_eq!(queue.next_due(now), None);
    }

    #[test]
    fn the_earliest_appointment_counts() {
        let mut queue = Queue::new();
        queue.add_at("a", NOW.plus_millis(500));
        queue.add_at("a", NOW.plus_millis(100));
        queue.add_at("a", NOW.plus_millis(900));
        assert_eq!(queue.pop(NOW.plus_millis(99)), None);
        assert_eq!(queue.pop(NOW.plus_millis(100)), Some("a"));
        queue.done(&"a", true, NOW);
        assert_eq!(queue.next_due(NOW), None);
    }
}
