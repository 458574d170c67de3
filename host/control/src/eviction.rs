//! Taint-based eviction, and pods whose node is gone.

mod memory;

use std::sync::Arc;

use berth_api::Timestamp;
use berth_api::views::{Node, Pod, Taint, Toleration};
use berth_state::{Key, State, Stored};

use crate::controller::{Controller, Hears, Look, News, Wake};
use crate::events::{EventKind, EventNote};
use crate::outcome::{Outcome, Step};
use crate::requests::Writer;
use memory::{Memory, end_of_second};

/// The effect of taints that send pods away.
const NO_EXECUTE: &str = "NoExecute";

/// Deletes pods from nodes with `NoExecute` taints, and pods of nodes that are gone.
#[derive(Default)]
pub(crate) struct Eviction {
    memory: Memory,
}

impl Controller for Eviction {
    fn name(&self) -> &'static str {
        "taint-eviction-controller"
    }

    fn hears_of(&self) -> Hears {
        Hears::Of(&["pods", "nodes"])
    }

    fn wake(&mut self, news: &News<'_>, wake: &mut Wake<'_>) {
        if news.resource() == "nodes" {
            self.memory.node_changed(news);
            wake.all(news.state.by_field("pods", "spec.nodeName", &news.key().name));
        } else if news.latest().field("spec.nodeName").is_some_and(|node| !node.is_empty()) {
            wake.up(news.key());
        }
    }

    fn reconcile(&mut self, look: &Look<'_>, stored: &Arc<Stored>) -> Outcome {
        reconcile(look.writer, look.state, stored, &mut self.memory, look.now)
    }
}

fn reconcile(
    writer: &Writer,
    state: &State,
    stored: &Arc<Stored>,
    memory: &mut Memory,
    now: Timestamp,
) -> Outcome {
    let mut outcome = Outcome::default();
    let Some(pod) = stored.view::<Pod>() else { return outcome };
    let Some(name) = stored.field("spec.nodeName").filter(|name| !name.is_empty()) else { return outcome };
    let Some(node) = state.get(&Key::new("nodes", "", name)) else {
        let at = memory.missing.pods_may_go(name, now);
        if at <= now {
            // Nobody will ever report on this pod again.
            outcome.push(Step::new(writer.delete_at_once(stored)).optional());
        } else {
            outcome.look_again(at);
        }
        return outcome;
    };
    memory.missing.is_back(name);
    if pod.is_finished() || stored.meta().deletion_timestamp.is_some() {
        return outcome;
    }
    let Some(node) = node.view::<Node>() else { return outcome };
    memory.taints.look(name, &node.taints, now);
    let since = |taint: &Taint| memory.taints.since(name, taint, now).max(bound_since(stored, pod));
    match eviction_time(&node.taints, &pod.tolerations, since, now) {
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

/// Since when the pod is on its node: a taint that was there before it counts from then.
fn bound_since(stored: &Stored, pod: &Pod) -> Timestamp {
    pod.scheduled_at.or(stored.meta().creation_timestamp).map(end_of_second).unwrap_or_default()
}

/// When the pod must go; `None` while it tolerates every `NoExecute` taint for good.
fn eviction_time(
    taints: &[Taint],
    tolerations: &[Toleration],
    since: impl Fn(&Taint) -> Timestamp,
    now: Timestamp,
) -> Option<Timestamp> {
    let no_execute = taints.iter().filter(|taint| &*taint.effect == NO_EXECUTE);
    no_execute.filter_map(|taint| tolerated_until(taint, tolerations, &since, now)).min()
}

fn tolerated_until(
    taint: &Taint,
    tolerations: &[Toleration],
    since: impl Fn(&Taint) -> Timestamp,
    now: Timestamp,
) -> Option<Timestamp> {
    let matching: Vec<_> = tolerations.iter().filter(|toleration| toleration.tolerates(taint)).collect();
    if matching.is_empty() {
        return Some(now);
    }
    let seconds = matching.iter().filter_map(|toleration| toleration.toleration_seconds).min()?;
    if seconds <= 0 {
        return Some(now);
    }
    Some(since(taint).plus_millis(seconds.saturating_mul(1000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_json::json;

    #[test]
    fn until_when_a_pod_may_stay() {
        let now = Timestamp::from_seconds(1_000_000);
        let since = |taint: &Taint| if &*taint.key == "old" { now.plus_millis(-100_000) } else { now };
        let taints = [
            json!({"key": "k", "value": "v", "effect": "NoExecute"}),
            json!({"key": "old", "effect": "NoExecute"}),
            json!({"key": "harmless", "effect": "NoSchedule"}),
        ];
        let taints = taints.map(|taint| berth_json::from_value::<Taint>(&taint).unwrap());
        let in_seconds = |s: i64| Some(now.plus_millis(s * 1000));
        let old = json!({"key": "old", "operator": "Exists", "tolerationSeconds": 300});
        for (tolerations, one, both) in [
            (json!([]), in_seconds(0), in_seconds(0)),
            (json!([{"key": "other", "operator": "Exists"}, old]), in_seconds(0), in_seconds(0)),
            (json!([{"operator": "Exists"}]), None, None),
            (json!([{"key": "k", "value": "v", "effect": "NoExecute"}, old]), None, in_seconds(200)),
            (json!([{"key": "k", "operator": "Equal", "value": "w"}, old]), in_seconds(0), in_seconds(0)),
            (
                json!([{"key": "k", "operator": "Exists", "tolerationSeconds": 300}, old]),
                in_seconds(300),
                in_seconds(200),
            ),
            (
                json!([{"key": "k", "operator": "Exists", "tolerationSeconds": 300},
                       {"operator": "Exists", "tolerationSeconds": 150}]),
                in_seconds(150),
                in_seconds(50),
            ),
            (json!([{"operator": "Exists", "tolerationSeconds": 0}]), in_seconds(0), in_seconds(0)),
            (json!([{"operator": "Exists", "tolerationSeconds": -7}]), in_seconds(0), in_seconds(0)),
        ] {
            let parsed: Vec<Toleration> = berth_json::from_value(&tolerations).unwrap();
            let until = |taints: &[Taint]| eviction_time(taints, &parsed, since, now);
            assert_eq!(until(&taints[..1]), one, "{tolerations}");
            assert_eq!(until(&taints), both, "{tolerations}");
        }
    }
}
