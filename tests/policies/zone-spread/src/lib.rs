//! Replicas spread over zones: a node scores the better, the fewer pods of the same class run in its zone.

use berth_sdk::{Cluster, Manifest, NO_SYMBOL, Question, Scheduler};
use std::collections::BTreeMap;

/// The node label that names a zone.
pub const ZONE: &str = "topology.kubernetes.io/zone";

/// The score of nodes in a zone without such pods.
const EMPTY_ZONE: i32 = 1_000_000;

/// The policy: how many bound pods of each class run in each zone.
#[derive(Debug, Default)]
pub struct ZoneSpread {
    pods: BTreeMap<(u32, u32), i32>,
}

impl Scheduler for ZoneSpread {
    fn describe(_config: &[u8]) -> Result<(Self, Manifest), String> {
        let manifest = Manifest::new("zone-spread", "1").node_labels([ZONE]);
        Ok((Self::default(), manifest.scores_cluster().watches_pods()))
    }

    fn updated(&mut self, cluster: &Cluster) {
        self.pods.clear();
        for pod in cluster.pods() {
            let zone = cluster.labels(0)[pod.slot as usize];
            *self.pods.entry((pod.class, zone)).or_default() += 1;
        }
    }

    fn score(&self, cluster: &Cluster, question: &Question<'_>, scores: &mut Vec<i32>) {
        let zones = cluster.labels(0);
        scores.extend(question.candidates.iter().map(|&slot| match zones[slot as usize] {
            NO_SYMBOL => 0,
            zone => EMPTY_ZONE - self.pods.get(&(question.class, zone)).unwrap_or(&0),
        }));
    }
}

berth_sdk::export!(ZoneSpread);
