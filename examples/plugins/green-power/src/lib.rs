//! A scheduler plugin for Berth, as a third party would write it: pods go to nodes on a preferred source of power, and among
//! those to the one with the most processor free.
//!
//! The nodes say what feeds them in the label `example.com/power`; the binding's configuration says which value is preferred,
//! for example `{"prefer": "wind"}`.

use berth_sdk::{Class, Manifest, Node, Scheduler};
use serde::Deserialize;

const CPU: usize = 0;
const POWER: usize = 0;

/// What a preferred node is worth more: above any number of thousandths of processors a node could have.
const PREFERRED: i32 = 100_000_000;

/// The plugin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GreenPower {
    prefer: String,
}

impl Scheduler for GreenPower {
    fn describe(config: &[u8]) -> Result<(Self, Manifest), String> {
        let policy = serde_json::from_slice(config)
            .map_err(|error| format!("expected {{\"prefer\": \"<value of example.com/power>\"}}: {error}"))?;
        let manifest = Manifest::new("green-power", env!("CARGO_PKG_VERSION"));
        Ok((policy, manifest.dimensions(["cpu"]).node_labels(["example.com/power"]).scores_nodes()))
    }

    fn score_node(&self, pod: &Class, node: &Node<'_>) -> i32 {
        let free = node.free(CPU) - pod.request(CPU);
        let power = node.cluster().text(node.label(POWER));
        if power == self.prefer { PREFERRED + free } else { free }
    }
}

berth_sdk::export!(GreenPower);

#[cfg(test)]
mod tests {
    use super::GreenPower;
    use berth_sdk::{Instance, Question, Scheduler};

    #[test]
    fn preferred_nodes_come_first() {
        let mut instance = Instance::<GreenPower>::default();
        instance.describe(br#"{"prefer": "wind"}"#).unwrap();
        let cluster = instance.cluster_mut();
        cluster.define_dimensions(vec!["cpu".to_owned()]);
        cluster.define_symbols(1, vec!["coal".to_owned(), "wind".to_owned()]);
        cluster.upsert_nodes(&[0, 1, 2], &[8000, 4000, 4000], &[0, 1000, 0], &[1, 2, 2]);
        cluster.define_classes(&[1], &[500], &[]);
        let mut scores = Vec::new();
        instance.score(&Question::new(1, &[0, 1, 2]), &mut scores);
        assert_eq!(scores, [7500, 100_002_500, 100_003_500]);
    }

    #[test]
    fn a_wrong_configuration_is_explained() {
        let why = GreenPower::describe(b"{}").unwrap_err();
        assert!(why.starts_with("expected {\"prefer\": "), "{why}");
    }
}
