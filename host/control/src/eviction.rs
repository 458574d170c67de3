//! Taint-based eviction, and pods whose node is gone.

use std::collections::HashMap;
use std::sync::Arc;

use berth_api::Timestamp;
use berth_json::Value;
use berth_state::{Key, State, Stored};

use crate::events::{EventKind, EventNote};
use crate::outcome::{Outcome, Step};
use crate::requests::Writer;
use crate::view::{self, Node, Pod, Toleration};

/// How long the pods of a node that is gone are left alone: a node that was deleted by mistake, or anew for its labels, comes
/// back by itself, and its containers have never stopped. kube-controller-manager's pod collector waits as long.
const QUARANTINE_MS: i64 = 40_000;

/// Since when nodes are missing that pods are bound to.
#[derive(Default)]
pub(crate) struct MissingNodes(HashMap<Box<str>, Timestamp>);

impl MissingNodes {
    /// When the pods of a node that is not there may go.
    fn pods_may_go(&mut self, node: &str, now: Timestamp) -> Timestamp {
        // Pods of the older ones have been deleted: nobody asks for them any more.
        self.0.retain(|_, since| now < since.plus_millis(2 * QUARANTINE_MS));
        self.0.entry(node.into()).or_insert(now).plus_millis(QUARANTINE_MS)
    }

    fn is_back(&mut self, node: &str) {
        self.0.remove(node);
    }
}

pub(crate) fn reconcile(
    writer: &Writer,
    state: &State,
    stored: &Arc<Stored>,
    missing: &mut MissingNodes,
    now: Timestamp,
) -> Outcome {
    let mut outcome = Outcome::default();
    let Some(pod) = view::read::<Pod>(stored) else { return outcome };
    if pod.spec.node_name.is_empty() {
        return outcome;
    }
    let Some(node) = state.get(&Key::new("nodes", "", pod.spec.node_name.as_str())) else {
        let at = missing.pods_may_go(&pod.spec.node_name, now);
        if at <= now {
            // Nobody will ever report on this pod again.
            outcome.push(Step::new(writer.delete_at_once(stored)).optional());
        } else {
            outcome.look_again(at);
        }
        return outcome;
    };
    missing.is_back(&pod.spec.node_name);
    if pod.finished() || stored.meta().deletion_timestamp.is_some() {
        return outcome;
    }
    let Some(node) = view::read::<Node>(node) else { return outcome };
    match eviction_time(&node.spec.taints, &pod.spec.tolerations, now) {
        Some(at) if at <= now => {
            let text = format!("Marking for deletion Pod {}/{}", stored.key.namespace, stored.key.name);
            let note = EventNote::new(stored, EventKind::Normal, "TaintManagerEviction", text);
            outcome.push(Step::new(writer.delete(stored, "Background")).telling(note).optional());
        }
        Some(at) => outcome.look_again(at),
        None => {}
    }
    outcome
}

/// When the pod must go; `None` while it tolerates every `NoExecute` taint for good.
fn eviction_time(taints: &[Value], tolerations: &[Toleration], now: Timestamp) -> Option<Timestamp> {
    let no_execute = taints.iter().filter(|taint| taint["effect"] == "NoExecute");
    no_execute.filter_map(|taint| tolerated_until(taint, tolerations, now)).min()
}

fn tolerated_until(taint: &Value, tolerations: &[Toleration], now: Timestamp) -> Option<Timestamp> {
    let matching: Vec<_> = tolerations.iter().filter(|toleration| tolerates(toleration, taint)).collect();
    if matching.is_empty() {
        return Some(now);
    }
    let seconds = matching.iter().filter_map(|toleration| toleration.toleration_seconds).min()?;
    let added = taint["timeAdded"].as_str().and_then(Timestamp::parse).unwrap_or(now);
    Some(added.plus_millis(seconds.max(0).saturating_mul(1000)))
}

fn tolerates(toleration: &Toleration, taint: &Value) -> bool {
    let effect = toleration.effect.is_empty() || taint["effect"] == toleration.effect;
    let key = toleration.key.is_empty() || taint["key"] == toleration.key;
    let value = match toleration.operator.as_str() {
        "Exists" => true,
        _ => !toleration.key.is_empty() && taint["value"].as_str().unwrap_or("") == toleration.value,
    };
    effect && key && value
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_json::json;

    #[test]
    fn pods_of_a_missing_node_may_go_when_it_has_been_away_long_enough() {
        let at = |seconds: i64| Timestamp::from_seconds(1_000_000 + seconds);
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
    fn until_when_a_pod_may_stay() {
        let now = Timestamp::from_seconds(1_000_000);
        let taint = json!({"key": "k", "value": "v", "effect": "NoExecute", "timeAdded": now.rfc3339()});
        let in_seconds = |s: i64| Some(now.plus_millis(s * 1000));
        for (tolerations, expected) in [
            (json!([]), in_seconds(0)),
            (json!([{"key": "other", "operator": "Exists"}]), in_seconds(0)),
            (json!([{"operator": "Exists"}]), None),
            (json!([{"key": "k", "operator": "Equal", "value": "v", "effect": "NoExecute"}]), None),
            (json!([{"key": "k", "operator": "Equal", "value": "w"}]), in_seconds(0)),
            (json!([{"key": "k", "operator": "Exists", "tolerationSeconds": 300}]), in_seconds(300)),
            (
                json!([{"key": "k", "operator": "Exists", "tolerationSeconds": 300},
                       {"operator": "Exists", "tolerationSeconds": 20}]),
                in_seconds(20),
            ),
        ] {
            let parsed: Vec<Toleration> = berth_json::from_value(&tolerations).unwrap();
            assert_eq!(eviction_time(std::slice::from_ref(&taint), &parsed, now), expected, "{tolerations}");
        }
    }
}
