//! GPU shares placed by fragmentation gradient descent ("Beware of Fragmentation", USENIX ATC 2023).
//!
//! A pod asks for thousandths of GPUs: up to 1000 are a share of one, multiples of 1000 are whole ones. A free share of a GPU is
//! fragmented for a class of pods when no pod of that class can use it. Every pod goes where the fragmentation that the known
//! classes would see on average grows least, on a device chosen here.

use berth_sdk::{Batch, Class, Cluster, Manifest, Plan, Room, Scheduler, Transaction, Unit};

/// The dimension in which devices are counted.
pub const GPU_MILLI: &str = "berth.dev/gpu-milli";

const GPU: usize = 2;
const WHOLE: i32 = 1000;

/// The policy.
#[derive(Debug)]
pub struct Fgd;

/// Where a pod could go.
struct Choice {
    growth: i64,
    slot: u32,
    units: Vec<u32>,
}

impl Scheduler for Fgd {
    fn describe(_config: &[u8]) -> Result<(Self, Manifest), String> {
        let manifest = Manifest::new("fgd", "1").dimensions(["cpu", "memory", GPU_MILLI]);
        Ok((Self, manifest.plans().watches_units().reasons(["no node has such devices free"])))
    }

    fn plan(&mut self, cluster: &Cluster, batch: &Batch<'_>, plan: &mut Plan) {
        let mut room = Room::new(cluster);
        for pod in batch.pods {
            let class = cluster.class(pod.class);
            let choices = batch.feasible(pod.class).filter_map(|slot| best_on(slot, cluster, &room, class));
            let Some(best) = choices.min_by_key(|choice| (choice.growth, choice.slot)) else {
                plan.hold(pod.id, 0);
                continue;
            };
            room.take(best.slot, class);
            for &unit in &best.units {
                room.take_unit(best.slot, unit, class.request(GPU).min(WHOLE));
            }
            plan.place(pod.id, best.slot, best.units, Transaction::NONE);
        }
    }
}

/// The best devices of one node, when it has room.
fn best_on(slot: u32, cluster: &Cluster, room: &Room<'_>, class: &Class) -> Option<Choice> {
    if !room.fits(slot, class) {
        return None;
    }
    let before = fragmentation(slot, cluster, room);
    let try_on = |units: Vec<u32>| {
        let mut after = room.clone_node(slot);
        after.take(slot, class);
        units.iter().for_each(|&unit| after.take_unit(slot, unit, class.request(GPU).min(WHOLE)));
        Choice { growth: fragmentation(slot, cluster, &after) - before, slot, units }
    };
    let sets = device_sets(room.units(slot), class.request(GPU));
    sets.into_iter().map(try_on).min_by_key(|choice| choice.growth)
}

/// The sets of devices that a request can be served from.
fn device_sets(units: &[Unit], request: i32) -> Vec<Vec<u32>> {
    match request {
        ..=0 => vec![Vec::new()],
        1..WHOLE => units.iter().filter(|unit| unit.free >= request).map(|unit| vec![unit.id]).collect(),
        WHOLE.. => {
            let count = request as usize / WHOLE as usize;
            let free: Vec<u32> = units.iter().filter(|u| u.free == WHOLE).map(|u| u.id).take(count).collect();
            if free.len() == count { vec![free] } else { Vec::new() }
        }
    }
}

/// The free shares of a node that a class cannot use, summed over all classes.
fn fragmentation(slot: u32, cluster: &Cluster, room: &Room<'_>) -> i64 {
    cluster.classes().map(|class| unusable(slot, room, class)).sum()
}

fn unusable(slot: u32, room: &Room<'_>, class: &Class) -> i64 {
    let units = room.units(slot);
    let fits = room.fits(slot, class) && !device_sets(units, class.request(GPU)).is_empty();
    let needed = if fits { class.request(GPU).min(WHOLE) } else { i32::MAX };
    units.iter().filter(|unit| unit.free < needed).map(|unit| i64::from(unit.free)).sum()
}

berth_sdk::export!(Fgd);
