use super::*;
use berth_sdk::Instance;

/// Scores nodes given as (cpu, memory, requested cpu, requested memory) for a pod of 1000 m and 100 MiB.
fn scores(nodes: &[[i32; 4]]) -> Vec<i32> {
    let mut instance = Instance::<Binpack>::default();
    instance.describe(b"").unwrap();
    let slots: Vec<u32> = (0..nodes.len() as u32).collect();
    let allocatable: Vec<i32> = nodes.iter().flat_map(|node| [node[0], node[1]]).collect();
    let requested: Vec<i32> = nodes.iter().flat_map(|node| [node[2], node[3]]).collect();
    let cluster = instance.cluster_mut();
    cluster.define_dimensions(vec!["cpu".to_owned(), "memory".to_owned()]);
    cluster.upsert_nodes(&slots, &allocatable, &requested, &[]);
    cluster.define_classes(&[1], &[1000, 100], &[]);
    let mut scores = Vec::new();
    instance.score(&Question::new(1, &slots), &mut scores);
    scores
}

#[test]
fn the_fuller_node_wins() {
    assert_eq!(scores(&[[4000, 1000, 0, 0], [4000, 1000, 1000, 100]]), [3500, 7000]);
}

#[test]
fn the_share_counts_not_the_amount() {
    let scores = scores(&[[64_000, 64_000, 32_000, 32_000], [8000, 8000, 0, 0]]);
    assert!(scores[0] > scores[1], "{scores:?}");
}

#[test]
fn full_nodes_score_highest_and_nodes_without_capacity_lowest() {
    assert_eq!(scores(&[[0, 0, 0, 0], [1000, 100, 900, 90]]), [0, 20_000]);
}

#[test]
fn every_node_gets_its_own_score() {
    let nodes: Vec<[i32; 4]> = (0..37).map(|i| [40_000, 40_000, i * 1000, 0]).collect();
    let scores = scores(&nodes);
    assert_eq!(scores.len(), nodes.len());
    assert!(scores.is_sorted_by(|a, b| a < b), "{scores:?}");
}

#[test]
fn a_configuration_is_refused() {
    assert_eq!(Binpack::describe(b"{}").unwrap_err(), "binpack takes no configuration");
}
