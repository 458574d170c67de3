//! Groups placed whole or not at all: first fit, with one transaction per group.

use berth_sdk::{Batch, Class, Cluster, Manifest, NO_GROUP, Plan, Pod, Room, Scheduler, Transaction};

/// The policy.
#[derive(Debug)]
pub struct Gang;

const NO_ROOM: usize = 0;
const INCOMPLETE: usize = 1;

impl Scheduler for Gang {
    fn describe(_config: &[u8]) -> Result<(Self, Manifest), String> {
        let manifest = Manifest::new("gang", "1").dimensions(["cpu", "memory"]).plans().watches_groups();
        Ok((Self, manifest.reasons(["no node has room", "its group cannot be placed whole"])))
    }

    fn plan(&mut self, cluster: &Cluster, batch: &Batch<'_>, plan: &mut Plan) {
        let mut room = Room::new(cluster);
        let mut done = Vec::new();
        for pod in batch.pods {
            if pod.group == NO_GROUP {
                place_one(pod, cluster, batch, &mut room, plan);
            } else if !done.contains(&pod.group) {
                done.push(pod.group);
                place_group(pod.group, cluster, batch, &mut room, plan);
            }
        }
    }
}

fn place_one(pod: &Pod, cluster: &Cluster, batch: &Batch<'_>, room: &mut Room<'_>, plan: &mut Plan) {
    match first_fit(cluster.class(pod.class), batch, room) {
        Some(slot) => plan.place(pod.id, slot, Vec::new(), Transaction::NONE),
        None => plan.hold(pod.id, NO_ROOM),
    }
}

fn place_group(group: u32, cluster: &Cluster, batch: &Batch<'_>, room: &mut Room<'_>, plan: &mut Plan) {
    let members = || batch.pods.iter().filter(|pod| pod.group == group);
    let mut tried = room.clone();
    let places =
        members().filter_map(|pod| Some((pod.id, first_fit(cluster.class(pod.class), batch, &mut tried)?)));
    let places: Vec<(u64, u32)> = places.collect();
    let needed = cluster.group(group).map_or(0, |group| group.min_members.saturating_sub(group.placed));
    if places.len() < needed as usize {
        members().for_each(|pod| plan.hold(pod.id, INCOMPLETE));
        return;
    }
    *room = tried;
    let transaction = plan.transaction();
    for (pod, slot) in places {
        plan.place(pod, slot, Vec::new(), transaction);
    }
}

fn first_fit(class: &Class, batch: &Batch<'_>, room: &mut Room<'_>) -> Option<u32> {
    let slot = batch.feasible(class.id).find(|&slot| room.fits(slot, class))?;
    room.take(slot, class);
    Some(slot)
}

berth_sdk::export!(Gang);
