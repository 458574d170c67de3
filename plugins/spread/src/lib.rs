//! Built-in policy: least allocated first.
//!
//! Pods go where, once placed, the largest share of processor, memory and places for pods is left, so that load spreads over
//! all nodes. The places count so that pods which request nothing spread too.

use berth_sdk::lanes::{self, Lanes};
use berth_sdk::{Cluster, Manifest, Question, Scheduler};

const CPU: usize = 0;
const MEMORY: usize = 1;
const PODS: usize = 2;

/// The score of an empty node for a pod that requests nothing: fine enough to tell nodes of 10,000 pods apart.
const SCORE_MAX: f32 = 20_000.0;

/// The policy.
#[derive(Debug)]
pub struct Spread;

impl Scheduler for Spread {
    fn describe(config: &[u8]) -> Result<(Self, Manifest), String> {
        if !config.is_empty() {
            return Err("spread takes no configuration".to_owned());
        }
        let manifest = Manifest::new("spread", env!("CARGO_PKG_VERSION"));
        Ok((Self, manifest.dimensions(["cpu", "memory", "pods"]).scores_nodes()))
    }

    fn score(&self, cluster: &Cluster, question: &Question<'_>, scores: &mut Vec<i32>) {
        let pod = cluster.class(question.class);
        let requests = [CPU, MEMORY, PODS].map(|dimension| pod.request(dimension));
        let columns = [
            cluster.allocatable(CPU),
            cluster.allocatable(MEMORY),
            cluster.allocatable(PODS),
            cluster.requested(CPU),
            cluster.requested(MEMORY),
            cluster.requested(PODS),
        ];
        lanes::map(
            question.candidates,
            columns,
            scores,
            |[cpu, memory, pods, cpu_used, memory_used, pods_used]| {
                let mut scores: Lanes = [0; lanes::LANES];
                for (i, score) in scores.iter_mut().enumerate() {
                    let free = free_share(cpu[i], cpu_used[i], requests[CPU])
                        + free_share(memory[i], memory_used[i], requests[MEMORY])
                        + free_share(pods[i], pods_used[i], requests[PODS]);
                    *score = (free * (SCORE_MAX / 3.0)) as i32;
                }
                scores
            },
        );
    }
}

/// Which part of a node is free once the pod is there: 0 to 1. A node that has nothing has nothing free.
#[inline(always)]
fn free_share(all: i32, used: i32, request: i32) -> f32 {
    let share = (all as f32 - used as f32 - request as f32) / all as f32;
    if share > 0.0 { share } else { 0.0 }
}

berth_sdk::export!(Spread);

#[cfg(test)]
mod tests;
