//! The policy of last resort, compiled in: least allocated first. It serves while a profile has no working plugin.

use std::collections::HashMap;

use crate::policy::{
    Action, Feed, Manifest, PlanQuestion, Policy, PolicyError, ScoreQuestion, Scores, check_scores,
};

/// Rates a node by the share of CPU, memory and places for pods that would be free: the places let pods that request nothing
/// spread too.
pub struct LeastAllocated {
    manifest: Manifest,
    nodes: HashMap<u32, Row>,
    requests: HashMap<u32, Amounts>,
}

/// What it looks at.
const DIMENSIONS: [&str; 3] = ["cpu", "memory", "pods"];

/// An amount of each of them.
type Amounts = [i32; DIMENSIONS.len()];

#[derive(Default)]
struct Row {
    allocatable: Amounts,
    requested: Amounts,
}

impl Default for LeastAllocated {
    fn default() -> Self {
        let manifest = Manifest {
            name: "builtin-least-allocated".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scores: Scores::NodeLocal,
            dimensions: DIMENSIONS.map(str::to_owned).into(),
            ..Manifest::default()
        };
        Self { manifest, nodes: HashMap::new(), requests: HashMap::new() }
    }
}

impl Policy for LeastAllocated {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn feed(&mut self, feed: &Feed) -> Result<(), PolicyError> {
        if feed.reset {
            self.nodes.clear();
            self.requests.clear();
        }
        for slot in &feed.removed_nodes {
            self.nodes.remove(slot);
        }
        let amounts =
            |list: &[i32], at: usize| -> Amounts { std::array::from_fn(|d| list[DIMENSIONS.len() * at + d]) };
        for (at, slot) in feed.nodes.slots.iter().enumerate() {
            let row = Row {
                allocatable: amounts(&feed.nodes.allocatable, at),
                requested: amounts(&feed.nodes.requested, at),
            };
            self.nodes.insert(*slot, row);
        }
        for (at, slot) in feed.requested_slots.iter().enumerate() {
            self.nodes.entry(*slot).or_default().requested = amounts(&feed.requested, at);
        }
        for class in &feed.forgotten_classes {
            self.requests.remove(class);
        }
        for (at, class) in feed.class_ids.iter().enumerate() {
            self.requests.insert(*class, amounts(&feed.class_requests, at));
        }
        Ok(())
    }

    fn score(&mut self, question: &ScoreQuestion<'_>, scores: &mut Vec<i32>) -> Result<(), PolicyError> {
        let requests = self.requests.get(&question.class).copied().unwrap_or_default();
        scores.clear();
        scores.extend(question.candidates.iter().map(|slot| {
            self.nodes
                .get(slot)
                .map_or(0, |row| (0..DIMENSIONS.len()).map(|d| free_permille(row, d, requests[d])).sum())
        }));
        check_scores(question, scores)
    }

    fn plan(&mut self, _: &PlanQuestion<'_>, _: &mut Vec<Action>) -> Result<(), PolicyError> {
        Err(PolicyError::BadAnswer("it does not plan".to_owned()))
    }
}

fn free_permille(row: &Row, dimension: usize, request: i32) -> i32 {
    let all = i64::from(row.allocatable[dimension]);
    let used = i64::from(row.requested[dimension]) + i64::from(request);
    if all <= 0 { 0 } else { ((all - used).max(0) * 1000 / all) as i32 }
}
