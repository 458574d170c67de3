use super::*;
use berth_sdk::Instance;

/// Scores nodes given as (cpu, memory, requested cpu, requested memory) for a pod of 1000 m and 100 MiB. None runs a pod.
fn scores(nodes: &[[i32; 4]]) -> Vec<i32> {
    let rows = |node: &[i32; 4]| ([node[0], node[1], 10], [node[2], node[3], 0]);
    scores_for([1000, 100, 1], &nodes.iter().map(rows).collect::<Vec<_>>())
}

/// Scores nodes given as what they have and what is requested of it.
fn scores_for(requests: [i32; 3], nodes: &[([i32; 3], [i32; 3])]) -> Vec<i32> {
    let mut instance = Instance::<Spread>::default();
    instance.describe(b"").unwrap();
    let slots: Vec<u32> = (0..nodes.len() as u32).collect();
    let allocatable: Vec<i32> = nodes.iter().flat_map(|(all, _)| *all).collect();
    let requested: Vec<i32> = nodes.iter().flat_map(|(_, used)| *used).collect();
    let cluster = instance.cluster_mut();
    cluster.define_dimensions(["cpu", "memory", "pods"].map(str::to_owned).into());
    cluster.upsert_nodes(&slots, &allocatable, &requested, &[]);
    cluster.define_classes(&[1], &requests, &[]);
    let mut scores = Vec::new();
    instance.score(&Question::new(1, &slots), &mut scores);
    scores
}

#[test]
fn the_emptier_node_wins() {
    assert_eq!(scores(&[[4000, 1000, 0, 0], [4000, 1000, 1000, 100]]), [17_000, 14_666]);
}

#[test]
fn the_share_counts_not_the_amount() {
    let scores = scores(&[[64_000, 64_000, 32_000, 32_000], [8000, 8000, 0, 0]]);
    assert!(scores[1] > scores[0], "{scores:?}");
}

#[test]
fn nodes_without_room_or_capacity_score_0() {
    let (none, full) = (([0; 3], [0; 3]), ([1000, 100, 10], [900, 90, 10]));
    assert_eq!(scores_for([1000, 100, 1], &[none, full]), [0, 0]);
}

#[test]
fn pods_that_request_nothing_spread_too() {
    let used = |pods| ([4000, 1000, 110], [0, 0, pods]);
    let scores = scores_for([0, 0, 1], &[used(1), used(0), used(2)]);
    assert!(scores[1] > scores[0] && scores[0] > scores[2], "{scores:?}");
}

#[test]
fn every_node_gets_its_own_score() {
    let nodes: Vec<[i32; 4]> = (0..37).map(|i| [40_000, 40_000, i * 1000, 0]).collect();
    let scores = scores(&nodes);
    assert_eq!(scores.len(), nodes.len());
    assert!(scores.is_sorted_by(|a, b| a > b), "{scores:?}");
}

#[test]
fn a_configuration_is_refused() {
    assert_eq!(Spread::describe(b"{}").unwrap_err(), "spread takes no configuration");
}
