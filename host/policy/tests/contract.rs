//! The contract carries what real schedulers need: four policies that are not shipped, in the sandbox and natively.
#![allow(clippy::unwrap_used)] // Helpers of tests fail as tests do.

mod common;

use berth_native::Native;
use berth_scheduler::policy::{
    Action, Class, Columns, Ctx, Feed, Group, NO_GROUP, NO_SLOT, PlanQuestion, Pod, PodFlags, Policy, Scores,
    Verb,
};
use common::{load, scores};

/// The policy of a package in the sandbox and natively, fed the same.
struct Both<P> {
    wasm: berth_policy::WasmPolicy,
    native: Native<P>,
}

impl<P: berth_sdk::Scheduler + Send> Both<P> {
    fn start(package: &str) -> Self {
        let wasm = load(package).scheduler(package, b"", Columns::default()).unwrap();
        let native = Native::start(b"", Columns::default()).unwrap();
        assert_eq!(wasm.manifest(), native.manifest());
        Self { wasm, native }
    }

    fn feed(&mut self, feed: &Feed) {
        self.wasm.feed(feed).unwrap();
        self.native.feed(feed).unwrap();
    }

    /// The plan for a batch over 64 slots, which both must agree on.
    fn plan(&mut self, pods: &[Pod], feasible: impl Fn(u32) -> u64, eligible: u64) -> Vec<Action> {
        let mut classes: Vec<u32> = pods.iter().map(|pod| pod.class).collect();
        classes.sort_unstable();
        classes.dedup();
        let feasible: Vec<u64> = classes.iter().map(|&class| feasible(class)).collect();
        let eligible = vec![eligible; classes.len()];
        let question = PlanQuestion {
            ctx: Ctx { seq: 1, now_ms: 1_000_000, seed: 1 },
            pods,
            classes: &classes,
            words: 1,
            feasible: &feasible,
            eligible: &eligible,
            columns: &[],
        };
        let (mut wasm, mut native) = (Vec::new(), Vec::new());
        self.wasm.plan(&question, &mut wasm).unwrap();
        self.native.plan(&question, &mut native).unwrap();
        assert_eq!(wasm, native);
        wasm
    }
}

fn waiting(id: u64, class: u32, group: u32, priority: i32) -> Pod {
    Pod { id, since_ms: id, class, group, priority, slot: NO_SLOT, flags: PodFlags::default() }
}

fn bound(id: u64, class: u32, priority: i32, slot: u32) -> Pod {
    Pod { id, since_ms: id, class, group: NO_GROUP, priority, slot, flags: PodFlags::EVICTABLE }
}

/// Nodes of 4000 m and 4096 MiB with no label keys, and class 1 of 1000 m and 1024 MiB.
fn plain(nodes: u32, requested: &[i32]) -> Feed {
    let dimensions = vec!["cpu".to_owned(), "memory".to_owned()];
    let mut feed = Feed { seq: 1, reset: true, dimensions: Some(dimensions), ..Feed::default() };
    for slot in 0..nodes {
        feed.upsert_node(slot, &[4000, 4096], requested, &[]);
    }
    feed.define_class(Class { id: 1, requests: &[1000, 1024], attributes: &[] });
    feed
}

fn action(verb: Verb, pod: u64, slot: u32, reason: u32, transaction: u32) -> Action {
    Action { verb, pod, slot, units: Vec::new(), reason, transaction }
}

#[test]
fn a_gang_is_placed_whole_or_waits() {
    let mut gang = Both::<berth_test_gang::Gang>::start("tests/policies/gang");
    let mut feed = plain(2, &[2000, 2048]); // room for two pods on each of two nodes
    feed.groups = [7, 8].map(|id| Group { id, min_members: 3, placed: 0 }).to_vec();
    gang.feed(&feed);
    let batch =
        [(1, 7), (2, 7), (3, 7), (4, 8), (5, 8), (6, 8), (9, NO_GROUP)].map(|(id, g)| waiting(id, 1, g, 0));
    let plan = gang.plan(&batch, |_| 0b11, 0b11);
    let hold = |pod| action(Verb::Hold, pod, 0, 2, 0);
    assert_eq!(
        plan,
        [
            action(Verb::Place, 1, 0, 0, 1),
            action(Verb::Place, 2, 0, 0, 1),
            action(Verb::Place, 3, 1, 0, 1),
            hold(4),
            hold(5),
            hold(6),
            action(Verb::Place, 9, 1, 0, 0),
        ]
    );
    // Two of the group found a place elsewhere: one more is enough.
    let mut feed = Feed { seq: 2, ..Feed::default() };
    feed.groups.push(Group { id: 8, min_members: 3, placed: 2 });
    gang.feed(&feed);
    let plan = gang.plan(&[waiting(4, 1, 8, 0)], |_| 0b11, 0b11);
    assert_eq!(plan, [action(Verb::Place, 4, 0, 0, 1)]);
}

#[test]
fn a_preemptor_evicts_the_least_important() {
    let mut preemptor = Both::<berth_test_preemptor::Preemptor>::start("tests/policies/preemptor");
    let mut feed = plain(3, &[4000, 4096]);
    feed.define_class(Class { id: 2, requests: &[2000, 2048], attributes: &[] });
    // Node 0 would lose priority 5; node 1 two of priority 1; node 2 is held by what may not go.
    feed.pods = vec![
        bound(10, 2, 5, 0),
        bound(11, 2, 9, 0),
        bound(20, 1, 1, 1),
        bound(21, 1, 1, 1),
        bound(22, 1, 1, 1),
    ];
    feed.pods.push(Pod { flags: PodFlags::default(), ..bound(30, 2, 0, 2) });
    preemptor.feed(&feed);
    let plan = preemptor.plan(&[waiting(1, 2, NO_GROUP, 8), waiting(2, 2, NO_GROUP, 0)], |_| 0, 0b111);
    assert_eq!(
        plan,
        [
            action(Verb::Evict, 22, 0, 1, 1),
            action(Verb::Evict, 21, 0, 1, 1),
            action(Verb::Nominate, 1, 1, 0, 1),
            action(Verb::Hold, 2, 0, 2, 0),
        ]
    );
}

#[test]
fn a_zone_spread_follows_the_pods() {
    let mut spread = Both::<berth_test_zone_spread::ZoneSpread>::start("tests/policies/zone-spread");
    assert_eq!(spread.wasm.manifest().scores, Scores::ClusterWide);
    assert_eq!(spread.wasm.manifest().node_labels, [berth_test_zone_spread::ZONE]);
    let mut feed = Feed { seq: 1, reset: true, dimensions: Some(Vec::new()), ..Feed::default() };
    feed.symbols.first = 1;
    feed.symbols.texts = ["west", "east"].map(str::to_owned).to_vec();
    for (slot, zone) in [(0, 1), (1, 1), (2, 2), (3, 0)] {
        feed.upsert_node(slot, &[], &[], &[zone]);
    }
    feed.define_class(Class { id: 1, requests: &[], attributes: &[] });
    feed.pods = vec![bound(1, 1, 0, 0), bound(2, 1, 0, 1), bound(3, 1, 0, 2)];
    spread.feed(&feed);
    let mut check = |expected: [i32; 4]| {
        for policy in [&mut spread.wasm as &mut dyn Policy, &mut spread.native] {
            assert_eq!(scores(policy, 1, &[0, 1, 2, 3]).unwrap(), expected);
        }
    };
    check([999_998, 999_998, 999_999, 0]);
    let left = Feed { seq: 2, removed_pods: vec![1, 2], ..Feed::default() };
    spread.feed(&left);
    let mut check = |expected: [i32; 4]| {
        for policy in [&mut spread.wasm as &mut dyn Policy, &mut spread.native] {
            assert_eq!(scores(policy, 1, &[0, 1, 2, 3]).unwrap(), expected);
        }
    };
    check([1_000_000, 1_000_000, 999_999, 0]);
}

#[test]
fn a_third_partys_plugin_needs_the_sdk_alone() {
    let component = load("examples/plugins/green-power");
    let mut policy =
        component.scheduler("green-power", br#"{"prefer": "wind"}"#, Columns::default()).unwrap();
    let mut feed = Feed { seq: 1, reset: true, dimensions: Some(vec!["cpu".to_owned()]), ..Feed::default() };
    feed.symbols.first = 1;
    feed.symbols.texts = vec!["wind".to_owned()];
    feed.upsert_node(0, &[8000], &[0], &[0]);
    feed.upsert_node(1, &[4000], &[0], &[1]);
    feed.define_class(Class { id: 1, requests: &[500], attributes: &[] });
    policy.feed(&feed).unwrap();
    assert_eq!(scores(&mut policy, 1, &[0, 1]).unwrap(), [7500, 100_003_500]);
    let error = component.scheduler("green-power", b"{}", Columns::default()).unwrap_err().to_string();
    assert!(error.contains("missing field `prefer`"), "{error}");
}

#[test]
fn fgd_places_gpu_shares_with_less_waste_than_first_fit() {
    let mut fgd = Both::<berth_test_fgd::Fgd>::start("tests/policies/fgd");
    let mut gpus = gpu::Cluster::from_fixtures();
    let first_fit = gpus.clone().place_first_fit();
    fgd.feed(&gpus.everything(fgd.wasm.manifest()));
    let pods: Vec<Pod> = gpus.pods().collect();
    for (number, batch) in pods.chunks(8).enumerate() {
        let plan = fgd.plan(batch, |class| gpus.fits(class), u64::MAX);
        plan.iter().filter(|action| action.verb == Verb::Place).for_each(|action| gpus.commit(action));
        fgd.feed(&gpus.changes(number as u64 + 2));
    }
    let placed = gpus.placed_gpu_milli();
    assert!(placed > first_fit, "FGD placed {placed} GPU milli, first fit {first_fit}");
}

/// A small cluster with GPUs, which checks every placement itself.
mod gpu {
    use super::{Action, Class, Feed, NO_GROUP, Pod, waiting};
    use berth_scheduler::policy::{Manifest, Unit};

    const NODES: &str = include_str!("fixtures/openb_nodes.csv");
    const PODS: &str = include_str!("fixtures/openb_pods.csv");
    const WHOLE: i32 = 1000;

    #[derive(Clone)]
    pub(super) struct Cluster {
        nodes: Vec<Node>,
        classes: Vec<[i32; 3]>,
        pods: Vec<usize>,
        changed: Vec<usize>,
    }

    #[derive(Clone)]
    struct Node {
        free: [i32; 3],
        all: [i32; 3],
        gpus: Vec<i32>,
    }

    impl Cluster {
        pub(super) fn from_fixtures() -> Self {
            let rows =
                |text: &'static str| text.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
            let number = |text: &str| text.parse::<i32>().unwrap();
            let node = |row: Vec<&str>| {
                let all = [number(row[0]), number(row[1]), number(row[2]) * WHOLE];
                Node { free: all, all, gpus: vec![WHOLE; number(row[2]) as usize] }
            };
            let mut classes: Vec<[i32; 3]> = Vec::new();
            let mut pods = Vec::new();
            for row in rows(PODS) {
                let class = [number(row[0]), number(row[1]), number(row[2])];
                pods.push(classes.iter().position(|known| *known == class).unwrap_or_else(|| {
                    classes.push(class);
                    classes.len() - 1
                }));
            }
            Self { nodes: rows(NODES).map(node).collect(), classes, pods, changed: Vec::new() }
        }

        pub(super) fn pods(&self) -> impl Iterator<Item = Pod> {
            self.pods.iter().enumerate().map(|(id, class)| waiting(id as u64, *class as u32, NO_GROUP, 0))
        }

        /// What the host checks natively: processor, memory, and that suitable devices are free.
        pub(super) fn fits(&self, class: u32) -> u64 {
            let request = self.classes[class as usize];
            let fit = |node: &Node| {
                let roomy = node.free.iter().zip(request).all(|(free, wanted)| *free >= wanted);
                roomy && node.devices(request[2]).is_some()
            };
            self.nodes
                .iter()
                .enumerate()
                .filter(|(_, node)| fit(node))
                .fold(0, |set, (slot, _)| set | 1 << slot)
        }

        pub(super) fn everything(&self, manifest: &Manifest) -> Feed {
            let dimensions = Some(manifest.dimensions.clone());
            let mut feed = Feed { seq: 1, reset: true, dimensions, ..Feed::default() };
            for (slot, node) in self.nodes.iter().enumerate() {
                feed.upsert_node(slot as u32, &node.all, &[0; 3], &[]);
                feed.units.extend(node.units(slot));
            }
            for (id, requests) in self.classes.iter().enumerate() {
                feed.define_class(Class { id: id as u32, requests, attributes: &[] });
            }
            feed
        }

        pub(super) fn changes(&mut self, seq: u64) -> Feed {
            let mut feed = Feed { seq, ..Feed::default() };
            self.changed.sort_unstable();
            self.changed.dedup();
            for slot in self.changed.drain(..) {
                let node = &self.nodes[slot];
                let requested: [i32; 3] = std::array::from_fn(|i| node.all[i] - node.free[i]);
                feed.update_requested(slot as u32, &requested);
                feed.units.extend(node.units(slot));
            }
            feed
        }

        /// Binds a pod to the node and devices of an action; fails when they are not free.
        pub(super) fn commit(&mut self, action: &Action) {
            let request = self.classes[self.pods[action.pod as usize]];
            let slot = action.slot as usize;
            let devices: Vec<usize> = action.units.iter().map(|id| *id as usize - slot * 16).collect();
            self.nodes[slot].take(request, &devices);
            self.changed.push(slot);
        }

        /// Places all pods on the first node and devices that fit; how many thousandths of GPUs they got.
        pub(super) fn place_first_fit(mut self) -> i32 {
            for class in self.pods.clone() {
                let fitting = self.fits(class as u32);
                if fitting != 0 {
                    let node = &mut self.nodes[fitting.trailing_zeros() as usize];
                    let request = self.classes[class];
                    let devices = node.devices(request[2]).unwrap();
                    node.take(request, &devices);
                }
            }
            self.placed_gpu_milli()
        }

        pub(super) fn placed_gpu_milli(&self) -> i32 {
            self.nodes.iter().flat_map(|node| &node.gpus).map(|free| WHOLE - free).sum()
        }
    }

    impl Node {
        /// The first devices that serve a request.
        fn devices(&self, request: i32) -> Option<Vec<usize>> {
            let (count, each) = if request > WHOLE { (request / WHOLE, WHOLE) } else { (1, request) };
            if request == 0 {
                return Some(Vec::new());
            }
            let free = (0..self.gpus.len()).filter(|&gpu| self.gpus[gpu] >= each).take(count as usize);
            Some(free.collect()).filter(|devices: &Vec<usize>| devices.len() == count as usize)
        }

        fn take(&mut self, request: [i32; 3], devices: &[usize]) {
            for (free, wanted) in self.free.iter_mut().zip(request) {
                *free -= wanted;
                assert!(*free >= 0, "more than a node has");
            }
            let each = request[2].min(WHOLE);
            assert_eq!(devices.len() as i32 * each, request[2], "as many devices as requested");
            for &device in devices {
                self.gpus[device] -= each;
                assert!(self.gpus[device] >= 0, "more than a GPU has");
            }
        }

        fn units(&self, slot: usize) -> impl Iterator<Item = Unit> {
            self.gpus.iter().enumerate().map(move |(index, &free)| Unit {
                id: (slot * 16 + index) as u32,
                slot: slot as u32,
                dimension: 2,
                index: index as u32,
                model: 0,
                capacity: WHOLE,
                free,
            })
        }
    }
}
