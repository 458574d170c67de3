//! Room made by eviction: where the least important pods, and of those the fewest, have to go.

use berth_sdk::{Batch, Class, Cluster, Manifest, Plan, Pod, Room, Scheduler, Transaction};

/// The policy.
#[derive(Debug)]
pub struct Preemptor;

const MADE_ROOM: usize = 0;
const NO_ROOM: usize = 1;

impl Scheduler for Preemptor {
    fn describe(_config: &[u8]) -> Result<(Self, Manifest), String> {
        let manifest = Manifest::new("preemptor", "1").dimensions(["cpu", "memory"]).plans().watches_pods();
        Ok((Self, manifest.reasons(["made room for a pod of higher priority", "no eviction makes room"])))
    }

    fn plan(&mut self, cluster: &Cluster, batch: &Batch<'_>, plan: &mut Plan) {
        let mut room = Room::new(cluster);
        let mut gone = Vec::new();
        for pod in batch.pods {
            let class = cluster.class(pod.class);
            let free = batch.feasible(pod.class).find(|&slot| room.fits(slot, class));
            if let Some(slot) = free {
                room.take(slot, class);
                plan.place(pod.id, slot, Vec::new(), Transaction::NONE);
                continue;
            }
            let choices =
                batch.eligible(pod.class).filter_map(|slot| victims(slot, pod, class, &room, cluster, &gone));
            let Some((_, slot, victims)) = choices.min_by_key(|(cost, slot, _)| (*cost, *slot)) else {
                plan.hold(pod.id, NO_ROOM);
                continue;
            };
            let transaction = plan.transaction();
            for victim in &victims {
                room.give_back(slot, cluster.class(victim.class));
                plan.evict(victim.id, MADE_ROOM, transaction);
            }
            room.take(slot, class);
            plan.nominate(pod.id, slot, transaction);
            gone.extend(victims.into_iter().map(|victim| victim.id));
        }
    }
}

/// How much an eviction costs: the highest priority that must go, then how many.
type Cost = (i32, usize);

/// The pods of a node that would have to go for this one, when that makes room at all.
fn victims(
    slot: u32,
    pod: &Pod,
    class: &Class,
    room: &Room<'_>,
    cluster: &Cluster,
    gone: &[u64],
) -> Option<(Cost, u32, Vec<Pod>)> {
    let may_go = |other: &&Pod| other.evictable && other.priority < pod.priority && !gone.contains(&other.id);
    let mut candidates: Vec<Pod> = cluster.pods_on(slot).filter(may_go).copied().collect();
    // The least important first, and of those the youngest.
    candidates.sort_by_key(|other| (other.priority, std::cmp::Reverse(other.since_ms)));
    let mut after = room.clone();
    let mut victims = Vec::new();
    for victim in candidates {
        if after.fits(slot, class) {
            break;
        }
        after.give_back(slot, cluster.class(victim.class));
        victims.push(victim);
    }
    let highest = victims.last().map_or(i32::MIN, |victim| victim.priority);
    after.fits(slot, class).then_some(((highest, victims.len()), slot, victims))
}

berth_sdk::export!(Preemptor);
