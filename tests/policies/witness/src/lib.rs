//! A policy whose answers tell all it was told: what the sandbox loses or garbles on the way shows as another answer.

use berth_sdk::{Batch, Cluster, Manifest, Plan, Question, Scheduler};
use std::fmt::Debug;

/// The policy.
#[derive(Debug)]
pub struct Witness;

impl Scheduler for Witness {
    fn describe(_config: &[u8]) -> Result<(Self, Manifest), String> {
        let manifest = Manifest::new("witness", "1")
            .dimensions(["cpu", "*"])
            .node_columns(["n0", "n1"])
            .class_columns(["c0", "c1"])
            .node_labels(["l0"])
            .node_annotations(["a0", "a1"])
            .pod_labels(["l0", "l1"])
            .pod_annotations(["a0"])
            .reasons(["r0", "r1"]);
        Ok((Self, manifest.scores_cluster().plans().watches_units().watches_pods().watches_groups()))
    }

    fn score(&self, cluster: &Cluster, question: &Question<'_>, scores: &mut Vec<i32>) {
        let all = digest(&(cluster, question));
        scores.extend(question.candidates.iter().map(|&slot| (all ^ slot) as i32));
    }

    fn plan(&mut self, cluster: &Cluster, batch: &Batch<'_>, plan: &mut Plan) {
        let all = digest(&(cluster, batch));
        for (number, pod) in batch.pods.iter().enumerate() {
            let transaction = plan.transaction();
            match number % 5 {
                0 => plan.place(pod.id, all % 64, vec![all, number as u32], transaction),
                1 => plan.evict(u64::from(all) << 20 | number as u64, number % 2, transaction),
                2 => plan.nominate(pod.id, all / 64 % 64, transaction),
                3 => plan.hold(pod.id, number % 2),
                _ => plan.reject(pod.id, number % 2),
            }
        }
    }
}

/// FNV-1a of all that a value's `Debug` shows.
fn digest(value: &impl Debug) -> u32 {
    let text = format!("{value:?}");
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

berth_sdk::export!(Witness);
