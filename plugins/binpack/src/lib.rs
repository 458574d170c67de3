//! Built-in policy: most allocated first.
//!
//! Pods go where, once placed, the smallest share of processor and memory is left, so that other nodes stay empty for large pods
//! or can be switched off.

use berth_sdk::lanes::{self, Lanes};
use berth_sdk::{Cluster, Manifest, Question, Scheduler};

const CPU: usize = 0;
const MEMORY: usize = 1;

/// The score of a node the pod fills: fine enough to tell nodes of 10,000 pods apart.
const SCORE_MAX: f32 = 20_000.0;

/// The policy.
#[derive(Debug)]
pub struct Binpack;

impl Scheduler for Binpack {
    fn describe(config: &[u8]) -> Result<(Self, Manifest), String> {
        if !config.is_empty() {
            return Err("binpack takes no configuration".to_owned());
        }
        let manifest = Manifest::new("binpack", env!("CARGO_PKG_VERSION"));
        Ok((Self, manifest.dimensions(["cpu", "memory"]).scores_nodes()))
    }

    fn score(&self, cluster: &Cluster, question: &Question<'_>, scores: &mut Vec<i32>) {
        let pod = cluster.class(question.class);
        let (cpu, memory) = (pod.request(CPU), pod.request(MEMORY));
        let columns = [
            cluster.allocatable(CPU),
            cluster.requested(CPU),
            cluster.allocatable(MEMORY),
            cluster.requested(MEMORY),
        ];
        lanes::map(question.candidates, columns, scores, |[cpu_all, cpu_used, memory_all, memory_used]| {
            let mut scores: Lanes = [0; lanes::LANES];
            for (i, score) in scores.iter_mut().enumerate() {
                let used = used_share(cpu_all[i], cpu_used[i], cpu)
                    + used_share(memory_all[i], memory_used[i], memory);
                *score = (used * (SCORE_MAX / 2.0)) as i32;
            }
            scores
        });
    }
}

/// Which part of a node is used once the pod is there: 0 to 1. A node that has nothing has nothing used, and comes last.
#[inline(always)]
fn used_share(all: i32, used: i32, request: i32) -> f32 {
    let share = (used as f32 + request as f32) / all as f32;
    if all > 0 { if share < 1.0 { share } else { 1.0 } } else { 0.0 }
}

berth_sdk::export!(Binpack);

#[cfg(test)]
mod tests;
