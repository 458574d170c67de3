use super::*;
use crate::Room;

fn cluster() -> Cluster {
    let mut cluster = Cluster::default();
    cluster.reset(1, 1);
    cluster.define_dimensions(vec!["cpu".to_owned(), "memory".to_owned()]);
    cluster.define_symbols(1, vec!["west".to_owned(), "east".to_owned()]);
    cluster.upsert_nodes(&[0, 20], &[4000, 100, 8000, 200], &[500, 10, 0, 0], &[1, 2]);
    cluster.update_column(0, &[20], &[77]);
    cluster
}

fn unit(id: u32, slot: u32, index: u32, capacity: i32) -> Unit {
    Unit { id, slot, dimension: 1, index, model: 0, capacity, free: capacity }
}

fn pod(id: u64, slot: u32) -> Pod {
    Pod { id, since_ms: 0, class: 1, group: NO_GROUP, priority: 0, slot, evictable: true }
}

#[test]
fn rows_become_padded_columns() {
    let cluster = cluster();
    assert_eq!(cluster.nodes().collect::<Vec<_>>(), [0, 20]);
    assert_eq!(cluster.allocatable(0).len(), 32);
    assert_eq!((cluster.allocatable(1)[0], cluster.allocatable(1)[20]), (100, 200));
    assert_eq!((cluster.requested(0)[0], cluster.requested(0)[20]), (500, 0));
    assert_eq!(cluster.text(cluster.labels(0)[20]), "east");
    assert_eq!(cluster.node_column(0)[20], 77);
    assert_eq!(cluster.text(NO_SYMBOL), "");
}

#[test]
fn a_removed_node_leaves_nothing_to_its_successor() {
    let mut cluster = cluster();
    cluster.upsert_units([unit(5, 20, 0, 1000)]);
    cluster.remove_nodes(&[20]);
    assert_eq!(cluster.nodes().collect::<Vec<_>>(), [0]);
    assert_eq!((cluster.allocatable(0)[20], cluster.labels(0)[20], cluster.node_column(0)[20]), (0, 0, 0));
    assert!(cluster.units(20).is_empty());
}

#[test]
fn units_stay_in_order_and_go_with_capacity_0() {
    let mut cluster = cluster();
    cluster.upsert_units([unit(9, 0, 1, 1000), unit(8, 0, 0, 1000), unit(7, 0, 2, 1000)]);
    cluster.upsert_units([unit(9, 0, 1, 0)]);
    assert_eq!(cluster.units(0).iter().map(|unit| unit.id).collect::<Vec<_>>(), [8, 7]);
}

#[test]
fn pods_move_between_nodes() {
    let mut cluster = cluster();
    cluster.upsert_pods([pod(1, 0), pod(2, 0)]);
    cluster.upsert_pods([pod(1, 20)]);
    cluster.remove_pods(&[2, 99]);
    assert_eq!(cluster.pods_on(0).count(), 0);
    assert_eq!(cluster.pods_on(20).map(|pod| pod.id).collect::<Vec<_>>(), [1]);
}

#[test]
fn room_counts_what_a_plan_takes() {
    let mut cluster = cluster();
    cluster.define_classes(&[1], &[3000, 0], &[2]);
    cluster.upsert_units([unit(8, 0, 0, 1000)]);
    let class = cluster.class(1);
    assert_eq!((class.request(0), class.attribute(0), class.attribute(1)), (3000, 2, NO_SYMBOL));
    let mut room = Room::new(&cluster);
    assert!(room.fits(0, class));
    room.take(0, class);
    assert!(!room.fits(0, class));
    room.give_back(0, class);
    assert_eq!(room.free(0, 0), 3500);
    room.take_unit(0, 8, 400);
    assert_eq!(room.units(0)[0].free, 600);
    assert_eq!(cluster.units(0)[0].free, 1000);
}
