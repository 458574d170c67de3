//! What eviction remembers, because no object says it: since when nodes are away, and since when taints are there.

use std::collections::HashMap;

use berth_api::Timestamp;
use berth_api::views::{Node, Taint};

use super::NO_EXECUTE;
use crate::controller::News;

/// How long the pods of a node that is gone are left alone: a node that was deleted by mistake, or anew for its labels, comes
/// back by itself, and its containers have never stopped. kube-controller-manager's pod collector waits as long.
const QUARANTINE_MS: i64 = 40_000;

/// All that it remembers. A controller that starts anew counts anew, as kube-controller-manager does: a pod may stay longer
/// then, and is never sent away early.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) missing: MissingNodes,
    pub(super) taints: SeenTaints,
}

impl Memory {
    /// Takes note of a change of a node: a taint that is removed and set again between two looks is a new one.
    pub(super) fn node_changed(&mut self, news: &News<'_>) {
        let name = &*news.key().name;
        if self.taints.0.contains_key(name) {
            let new = news.latest();
            let is_same = news.old().is_none_or(|old| old.meta().uid == new.meta().uid);
            let node = new.view::<Node>().filter(|_| is_same && !news.is_gone());
            self.taints.keep(name, node.map_or(&[], |node| &node.taints));
        }
    }
}

/// Since when nodes are missing that pods are bound to.
#[derive(Default)]
pub(super) struct MissingNodes(HashMap<Box<str>, Timestamp>);

impl MissingNodes {
    /// When the pods of a node that is not there may go.
    pub(super) fn pods_may_go(&mut self, node: &str, now: Timestamp) -> Timestamp {
        // Pods of the older ones have been deleted: nobody asks for them any more.
        self.0.retain(|_, since| now < since.plus_millis(2 * QUARANTINE_MS));
        self.0.entry(node.into()).or_insert(now).plus_millis(QUARANTINE_MS)
    }

    pub(super) fn is_back(&mut self, node: &str) {
        self.0.remove(node);
    }
}

/// Since when `NoExecute` taints are seen, by node and key, whatever their values become. Who sets one seldom says when
/// (`kubectl taint` does not), and the time in an object has whole seconds.
#[derive(Default)]
pub(super) struct SeenTaints(HashMap<Box<str>, HashMap<Box<str>, Timestamp>>);

impl SeenTaints {
    /// Notes the taints that a node has now.
    pub(super) fn look(&mut self, node: &str, taints: &[Taint], now: Timestamp) {
        self.keep(node, taints);
        for key in taints.iter().filter_map(key_of) {
            self.0.entry(node.into()).or_default().entry(key.into()).or_insert(now);
        }
    }

    /// Forgets the taints of a node that are none of `taints`.
    fn keep(&mut self, node: &str, taints: &[Taint]) {
        let Some(seen) = self.0.get_mut(node) else { return };
        seen.retain(|key, _| taints.iter().filter_map(key_of).any(|present| present == &**key));
        if seen.is_empty() {
            self.0.remove(node);
        }
    }

    /// Since when the node has the taint: since it was seen first, or since before that if it says so.
    pub(super) fn since(&self, node: &str, taint: &Taint, now: Timestamp) -> Timestamp {
        let seen = key_of(taint).and_then(|key| self.0.get(node)?.get(key)).copied().unwrap_or(now);
        let added = taint.time_added.as_deref().and_then(Timestamp::parse);
        added.map_or(seen, |added| seen.min(end_of_second(added)))
    }
}

fn key_of(taint: &Taint) -> Option<&str> {
    (&*taint.effect == NO_EXECUTE).then_some(&*taint.key)
}

/// What happened at a time of whole seconds may have happened up to a second later.
pub(super) fn end_of_second(time: Timestamp) -> Timestamp {
    time.plus_millis(1_000)
}

#[cfg(test)]
mod tests {
    use berth_json::json;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_000_000 + seconds)
    }

    #[test]
    fn pods_of_a_missing_node_may_go_when_it_has_been_away_long_enough() {
        let mut missing = MissingNodes::default();
        assert_eq!(missing.pods_may_go("n", at(0)), at(40));
        assert_eq!(missing.pods_may_go("n", at(39)), at(40), "it counts from the first look");
        assert_eq!(missing.pods_may_go("other", at(39)), at(79));
        missing.is_back("n");
        assert_eq!(missing.pods_may_go("n", at(41)), at(81), "it was back in between");
        missing.pods_may_go("last", at(200));
        assert_eq!(missing.0.len(), 1, "those of long ago are forgotten");
    }

    #[test]
    fn a_taint_counts_from_when_it_was_seen_first_or_from_earlier_if_it_says_so() {
        let of = |value| berth_json::from_value::<Taint>(&value).unwrap();
        let taint = |key: &str, value: &str| of(json!({"key": key, "value": value, "effect": NO_EXECUTE}));
        let mut seen = SeenTaints::default();
        seen.look("n", &[taint("k", "v"), of(json!({"key": "other", "effect": "NoSchedule"}))], at(0));
        seen.look("n", &[taint("k", "w"), taint("l", "")], at(5));
        let since = |seen: &SeenTaints, taint: &Taint| seen.since("n", taint, at(9));
        assert_eq!(since(&seen, &taint("k", "w")), at(0), "another value makes no other taint");
        assert_eq!(since(&seen, &taint("l", "")), at(5));
        let saying = |when: Timestamp| {
            let mut taint = taint("k", "w");
            taint.time_added = Some(when.rfc3339().into());
            taint
        };
        assert_eq!(since(&seen, &saying(at(-60))), at(-59), "up to a second later than it says");
        assert_eq!(since(&seen, &saying(at(60))), at(0), "nobody sees what is not there yet");
        seen.look("n", &[taint("l", "")], at(6));
        seen.look("n", &[taint("k", "v"), taint("l", "")], at(7));
        assert_eq!(since(&seen, &taint("k", "v")), at(7), "it was removed and set again");
        seen.look("n", &[], at(8));
        assert!(seen.0.is_empty(), "what is gone is forgotten");
    }
}
