//! When which autoscaler is looked at.

use std::collections::{BTreeMap, BTreeSet};

use berth_api::Timestamp;
use berth_autoscale::Memory;
use berth_state::Key;

/// How often an autoscaler is looked at: `--horizontal-pod-autoscaler-sync-period`.
const PERIOD_MS: i64 = 15_000;

/// Of what an autoscaler is looked at anew when it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) uid: Box<str>,
    pub(super) generation: i64,
    pub(super) profile: Box<str>,
}

/// All autoscalers, with what is remembered of each.
#[derive(Default)]
pub(super) struct Rota {
    entries: BTreeMap<Key, Entry>,
    due: BTreeSet<(Timestamp, Key)>,
}

struct Entry {
    version: Version,
    /// When it is due; `None` while it is looked at.
    due: Option<Timestamp>,
    /// It changed while it was looked at.
    is_due_again: bool,
    lacks_policy: bool,
    memory: Memory,
}

impl Rota {
    /// Begins with all that there are: each at its own moment of the first period.
    pub(super) fn begin(&mut self, all: Vec<(Key, Version)>, now: Timestamp) {
        let there: BTreeSet<&Key> = all.iter().map(|(key, _)| key).collect();
        let gone: Vec<Key> = self.entries.keys().filter(|key| !there.contains(key)).cloned().collect();
        gone.iter().for_each(|key| self.forget(key));
        for (key, version) in all {
            let due = moment_after(&version.uid, now);
            self.put(&key, version, due);
        }
    }

    /// An autoscaler is there: when it is new, or another one, it is due.
    pub(super) fn see(&mut self, key: &Key, version: Version, now: Timestamp) {
        self.put(key, version, now);
    }

    fn put(&mut self, key: &Key, version: Version, due: Timestamp) {
        match self.entries.get_mut(key) {
            Some(entry) if entry.version == version => {}
            Some(entry) if entry.version.uid == version.uid => {
                entry.version = version;
                self.wake(key, due);
            }
            _ => {
                self.forget(key);
                let entry = Entry {
                    version,
                    due: Some(due),
                    is_due_again: false,
                    lacks_policy: false,
                    memory: Memory::default(),
                };
                self.entries.insert(key.clone(), entry);
                self.due.insert((due, key.clone()));
            }
        }
    }

    /// An autoscaler is gone; a look that is under way ends by itself.
    pub(super) fn forget(&mut self, key: &Key) {
        let entry = self.entries.remove(key);
        if let Some(due) = entry.and_then(|entry| entry.due) {
            self.due.remove(&(due, key.clone()));
        }
    }

    /// The next one to look at, with what is remembered of it.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<(Key, Memory)> {
        self.due.first().filter(|(due, _)| *due <= now)?;
        let (_, key) = self.due.pop_first()?;
        let entry = self.entries.get_mut(&key)?;
        entry.due = None;
        Some((key, std::mem::take(&mut entry.memory)))
    }

    /// A look has ended.
    pub(super) fn done(&mut self, key: &Key, memory: Memory, lacks_policy: bool, now: Timestamp) {
        // It may be gone, or be another one that nobody has looked at yet.
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.due.is_none()) else { return };
        (entry.memory, entry.lacks_policy) = (memory, lacks_policy);
        let is_due_again = std::mem::take(&mut entry.is_due_again);
        let due = if is_due_again { now } else { moment_after(&entry.version.uid, now) };
        entry.due = Some(due);
        self.due.insert((due, key.clone()));
    }

    /// Some profile has another policy: who waits for one need not wait any longer.
    pub(super) fn policies_changed(&mut self, now: Timestamp) {
        let waiting: Vec<Key> =
            self.entries.iter().filter(|(_, entry)| entry.lacks_policy).map(|(key, _)| key.clone()).collect();
        waiting.iter().for_each(|key| self.wake(key, now));
    }

    fn wake(&mut self, key: &Key, at: Timestamp) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        match entry.due {
            None => entry.is_due_again = true,
            Some(due) if due <= at => {}
            Some(due) => {
                self.due.remove(&(due, key.clone()));
                entry.due = Some(at);
                self.due.insert((at, key.clone()));
            }
        }
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// The next moment at which the autoscaler with this uid is looked at: the same in each period, and with many of them a
/// different one for each.
fn moment_after(uid: &str, now: Timestamp) -> Timestamp {
    // FNV-1a: the same in every process.
    let hash = uid.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let place = i64::try_from(hash % PERIOD_MS.unsigned_abs()).unwrap_or_default();
    let millis = now.micros().div_euclid(1000);
    let wait = (place - millis).rem_euclid(PERIOD_MS);
    now.plus_millis(if wait == 0 { PERIOD_MS } else { wait })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new(super::super::AUTOSCALERS, "default", name)
    }

    fn version(uid: &str, generation: i64) -> Version {
        Version { uid: uid.into(), generation, profile: "default".into() }
    }

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    #[test]
    fn a_new_one_and_one_that_changed_is_due_at_once_and_then_in_its_period() {
        let mut rota = Rota::default();
        rota.see(&key("a"), version("u", 1), NOW);
        let (first, memory) = rota.next(NOW).unwrap();
        assert_eq!((first, rota.next(NOW).is_none()), (key("a"), true));
        rota.done(&key("a"), memory, false, NOW);
        let due = rota.next_due().unwrap();
        assert!(due > NOW && due <= NOW.plus_millis(PERIOD_MS));
        rota.see(&key("a"), version("u", 1), NOW);
        assert_eq!(rota.next_due(), Some(due), "its status changed");
        rota.see(&key("a"), version("u", 2), NOW);
        let (_, memory) = rota.next(NOW).unwrap();
        rota.see(&key("a"), version("u", 3), NOW);
        rota.done(&key("a"), memory, false, NOW);
        assert_eq!(rota.next_due(), Some(NOW), "it changed while it was looked at");
        let (_, memory) = rota.next(NOW).unwrap();
        rota.done(&key("a"), memory, false, due);
        assert_eq!(rota.next_due(), Some(due.plus_millis(PERIOD_MS)));
    }

    #[test]
    fn what_is_gone_or_another_one_is_forgotten() {
        let mut rota = Rota::default();
        rota.see(&key("a"), version("u", 1), NOW);
        let (_, memory) = rota.next(NOW).unwrap();
        rota.see(&key("a"), version("v", 1), NOW);
        rota.done(&key("a"), memory, true, NOW);
        assert_eq!((rota.next_due(), rota.len()), (Some(NOW), 1), "nobody has looked at the new one");
        rota.forget(&key("a"));
        assert_eq!((rota.next_due(), rota.len()), (None, 0));
        rota.begin(vec![(key("b"), version("w", 1))], NOW);
        rota.begin(vec![(key("c"), version("x", 1))], NOW);
        assert_eq!(rota.len(), 1);
    }

    #[test]
    fn many_are_spread_over_the_period_and_those_without_a_policy_wait_for_one() {
        let mut rota = Rota::default();
        let all = (0..1_000).map(|i| (key(&i.to_string()), version(&format!("uid-{i}"), 1))).collect();
        rota.begin(all, NOW);
        let mut first = 0;
        while let Some((key, memory)) = rota.next(NOW.plus_millis(PERIOD_MS / 10)) {
            rota.done(&key, memory, true, NOW.plus_millis(PERIOD_MS / 10));
            first += 1;
        }
        assert!((50..150).contains(&first), "{first} in a tenth of the period");
        rota.policies_changed(NOW);
        let waiting = std::iter::from_fn(|| rota.next(NOW)).count();
        assert_eq!(waiting, first);
    }
}
