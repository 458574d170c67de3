//! What one policy has been told: turns the cluster's log of changes into feeds.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::class::{Class, Classes, Keys};
use crate::nodes::{Node, Nodes, Touched};
use crate::pods::Pods;
use crate::policy::{self, Class as ClassRow, Columns, Feed, Group, Manifest, Watches};
use crate::quantities::{Rounding, Unit};

/// Columns with one value per candidate that this host computes.
const CLASS_COLUMNS: [&str; 2] = ["affinity-weight", "taint-prefer-no-schedule"];

/// What a manifest may subscribe to.
pub const OFFERED: Columns<'static> = Columns { node: &[], class: &CLASS_COLUMNS };

/// Texts a policy's symbol table may hold before it is begun anew: values of long-gone nodes and pods fill it up.
const SYMBOLS_MAX: usize = 1 << 16;

/// A policy's picture of the cluster, as the host knows it.
#[derive(Debug)]
pub struct Mirror {
    manifest: Manifest,
    dimensions: Vec<Dimension>,
    cluster_dimensions: usize,
    symbols: HashMap<Box<str>, u32>,
    /// By slot: whether the policy knows a node there.
    nodes: Vec<bool>,
    classes: HashSet<u32>,
    forgotten: Vec<u32>,
    groups: BTreeSet<u32>,
    pods: HashMap<u64, Option<policy::Pod>>,
    cursor: Option<u64>,
    seq: u64,
    fed: bool,
    /// Where the scheduler was when the mirror was made.
    made_at: Moment,
    rows: Rows,
    changed: Vec<(u32, Touched)>,
}

/// One of the policy's dimensions.
#[derive(Clone, Copy, Debug)]
struct Dimension {
    /// The cluster's number of it; `None` where no node has it.
    number: Option<usize>,
    unit: Unit,
}

/// Room for one node's values: a first feed is written between two decisions, and thousands of nodes must not cost three
/// allocations each.
#[derive(Debug, Default)]
struct Rows {
    allocatable: Vec<i32>,
    requested: Vec<i32>,
    labels: Vec<u32>,
}

/// What only the mirrors of installed policies follow: which scheduler it is, and where its pods and groups are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// How often the scheduler began anew.
    pub(crate) life: u64,
    /// How often a pod got or lost its place, or a group changed.
    pub(crate) places: u64,
}

/// What the scheduler knows, as far as feeds need it.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) nodes: &'a Nodes,
    pub(crate) classes: &'a Classes,
    pub(crate) keys: &'a Keys,
    pub(crate) groups: &'a HashMap<u32, Group>,
    pub(crate) pods: &'a Pods,
}

impl Mirror {
    /// The mirror of a policy that knows nothing yet.
    pub fn new(manifest: Manifest) -> Self {
        Self {
            manifest,
            dimensions: Vec::new(),
            cluster_dimensions: 0,
            symbols: HashMap::new(),
            nodes: Vec::new(),
            classes: HashSet::new(),
            forgotten: Vec::new(),
            groups: BTreeSet::new(),
            pods: HashMap::new(),
            cursor: None,
            seq: 0,
            fed: false,
            made_at: Moment::default(),
            rows: Rows::default(),
            changed: Vec::new(),
        }
    }

    /// A mirror that is made before its policy is installed, at this moment.
    pub(crate) fn made_at(manifest: Manifest, moment: Moment) -> Self {
        Self { made_at: moment, ..Self::new(manifest) }
    }

    /// The mirror to install the policy with at `now`: one that has missed what only installed ones follow begins anew.
    pub(crate) fn installed_at(self, now: Moment) -> Self {
        let follows_places = self.watches(Watches::PODS) || self.watches(Watches::GROUPS);
        let missed = self.made_at.life != now.life || (follows_places && self.made_at.places != now.places);
        if missed { Self::resuming(self.manifest, self.seq) } else { self }
    }

    /// The mirror of a policy that was fed another scheduler's picture, and must forget it first.
    pub(crate) fn resuming(manifest: Manifest, seq: u64) -> Self {
        Self { fed: true, seq, ..Self::new(manifest) }
    }

    /// What the policy said about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    pub(crate) fn watches(&self, what: Watches) -> bool {
        self.manifest.watches.contains(what)
    }

    /// A pod got a node, or (with `None`) left it.
    pub(crate) fn pod_changed(&mut self, id: u64, pod: Option<policy::Pod>) {
        if self.watches(Watches::PODS) {
            self.pods.insert(id, pod);
        }
    }

    pub(crate) fn group_changed(&mut self, id: u32) {
        if self.watches(Watches::GROUPS) {
            self.groups.insert(id);
        }
    }

    /// The classes the policy knows.
    pub(crate) fn fed_classes(&self) -> impl Iterator<Item = u32> + '_ {
        self.classes.iter().copied()
    }

    pub(crate) fn class_forgotten(&mut self, class: u32) {
        if self.classes.remove(&class) {
            self.forgotten.push(class);
        }
    }

    /// Whether the policy's next question would rest on an old picture.
    pub(crate) fn is_behind(&self, known: Known<'_>, wanted: &[u32]) -> bool {
        self.cursor != Some(known.nodes.now())
            || !self.pods.is_empty()
            || !self.groups.is_empty()
            || wanted.iter().any(|class| !self.classes.contains(class))
    }

    /// Writes into `feed` what the policy must hear before it is asked about the classes `wanted`.
    pub(crate) fn catch_up(&mut self, known: Known<'_>, wanted: &[u32], feed: &mut Feed) {
        feed.clear();
        self.seq += 1;
        feed.seq = self.seq;
        let more_dimensions = self.named_dimensions_changed(known.nodes);
        let touched = self.cursor.and_then(|cursor| known.nodes.touched_since(cursor));
        match touched {
            Some(touched) if !more_dimensions && self.symbols.len() < SYMBOLS_MAX => {
                let mut changed = std::mem::take(&mut self.changed);
                changed.clear();
                changed.extend(touched);
                // Of a slot that stands there more than once the change of the node itself counts.
                changed.sort_unstable_by_key(|(slot, what)| (*slot, *what != Touched::Node));
                changed.dedup_by_key(|(slot, _)| *slot);
                self.feed_nodes(known, &changed, feed);
                self.changed = changed;
            }
            _ => self.start_over(known, feed),
        }
        self.feed_classes(known, wanted, feed);
        self.feed_groups(known, feed);
        self.feed_pods(known, feed);
        self.cursor = Some(known.nodes.now());
    }

    /// `*` stands for dimensions that may come later; numbers never change, so that the policy must begin anew.
    fn named_dimensions_changed(&self, nodes: &Nodes) -> bool {
        self.cluster_dimensions != nodes.dimensions.names().len()
    }

    fn start_over(&mut self, known: Known<'_>, feed: &mut Feed) {
        feed.reset = std::mem::replace(&mut self.fed, true);
        let all = known.nodes.dimensions.names();
        let (named, rest) = self.manifest.named_dimensions();
        let mut names: Vec<String> = named.to_vec();
        if rest {
            names.extend(all.iter().map(|n| n.to_string()).filter(|n| !named.contains(n)));
        }
        let dimension =
            |name: &String| Dimension { number: known.nodes.dimensions.find(name), unit: Unit::of(name) };
        self.dimensions = names.iter().map(dimension).collect();
        self.cluster_dimensions = all.len();
        feed.dimensions = Some(names);
        self.symbols.clear();
        self.nodes.clear();
        self.forgotten.clear();
        let before = std::mem::take(&mut self.classes);
        let nodes: Vec<_> = known.nodes.all().map(|(slot, _)| (slot, Touched::Node)).collect();
        self.feed_nodes(known, &nodes, feed);
        let kept: Vec<u32> = before.into_iter().filter(|class| known.classes.contains(*class)).collect();
        self.feed_classes(known, &kept, feed);
        self.groups = known.groups.keys().copied().filter(|_| self.watches(Watches::GROUPS)).collect();
        self.pods.clear();
        if self.watches(Watches::PODS) {
            self.pods.extend(known.pods.bound().map(|pod| (pod.id, Some(pod))));
        }
    }

    fn feed_nodes(&mut self, known: Known<'_>, changed: &[(u32, Touched)], feed: &mut Feed) {
        self.nodes.resize(known.nodes.slots() as usize, false);
        let mut rows = std::mem::take(&mut self.rows);
        for (slot, what) in changed {
            let is_fed = &mut self.nodes[*slot as usize];
            let Some(node) = known.nodes.node(*slot) else {
                if std::mem::replace(is_fed, false) {
                    feed.removed_nodes.push(*slot);
                }
                continue;
            };
            let was_fed = std::mem::replace(is_fed, true);
            self.fill_row(&mut rows.requested, |dimension| node.requested(dimension), Rounding::Up);
            if *what == Touched::Requested && was_fed {
                feed.update_requested(*slot, &rows.requested);
                continue;
            }
            self.fill_row(&mut rows.allocatable, |dimension| node.allocatable(dimension), Rounding::Down);
            self.fill_symbols(&mut rows.labels, node, feed);
            feed.upsert_node(*slot, &rows.allocatable, &rows.requested, &rows.labels);
        }
        self.rows = rows;
    }

    fn fill_row(&self, row: &mut Vec<i32>, amount: impl Fn(usize) -> i64, rounding: Rounding) {
        let value = |dimension: &Dimension| {
            dimension.number.map_or(0, |number| dimension.unit.for_policy(amount(number), rounding))
        };
        row.clear();
        row.extend(self.dimensions.iter().map(value));
    }

    fn fill_symbols(&mut self, row: &mut Vec<u32>, node: &Node, feed: &mut Feed) {
        let manifest = std::mem::take(&mut self.manifest);
        let labels = manifest.node_labels.iter().map(|key| node.labels.get(key.as_str()));
        let annotations = manifest.node_annotations.iter().map(|key| node.annotations.get(key.as_str()));
        let texts = labels.chain(annotations);
        row.clear();
        row.extend(texts.map(|text| text.map_or(policy::NO_SYMBOL, |text| self.symbol(text, feed))));
        self.manifest = manifest;
    }

    fn symbol(&mut self, text: &str, feed: &mut Feed) -> u32 {
        if let Some(symbol) = self.symbols.get(text) {
            return *symbol;
        }
        let symbol = self.symbols.len() as u32 + 1;
        if feed.symbols.texts.is_empty() {
            feed.symbols.first = symbol;
        }
        feed.symbols.texts.push(text.to_owned());
        self.symbols.insert(text.into(), symbol);
        symbol
    }

    fn feed_classes(&mut self, known: Known<'_>, wanted: &[u32], feed: &mut Feed) {
        feed.forgotten_classes.append(&mut self.forgotten);
        for id in wanted {
            if self.classes.insert(*id) {
                let class = known.classes.get(*id).clone();
                let mut requests = std::mem::take(&mut self.rows.requested);
                self.fill_row(&mut requests, |dimension| class.request(dimension), Rounding::Up);
                let attributes = self.class_symbols(&class, known.keys, feed);
                feed.define_class(ClassRow { id: *id, requests: &requests, attributes: &attributes });
                self.rows.requested = requests;
            }
        }
    }

    fn class_symbols(&mut self, class: &Class, keys: &Keys, feed: &mut Feed) -> Vec<u32> {
        let labels = self.manifest.pod_labels.iter().map(|key| keys.labels.iter().position(|k| k == key));
        let offset = keys.labels.len();
        let annotations = self.manifest.pod_annotations.iter();
        let annotations =
            annotations.map(|key| keys.annotations.iter().position(|k| k == key).map(|at| offset + at));
        let places: Vec<Option<usize>> = labels.chain(annotations).collect();
        let texts = places.into_iter().map(|place| place.map_or("", |at| &class.attributes[at]));
        texts.map(|text| if text.is_empty() { policy::NO_SYMBOL } else { self.symbol(text, feed) }).collect()
    }

    fn feed_groups(&mut self, known: Known<'_>, feed: &mut Feed) {
        for id in std::mem::take(&mut self.groups) {
            let gone = Group { id, min_members: 0, placed: 0 };
            feed.groups.push(known.groups.get(&id).copied().unwrap_or(gone));
        }
    }

    fn feed_pods(&mut self, known: Known<'_>, feed: &mut Feed) {
        let mut changed: Vec<_> = std::mem::take(&mut self.pods).into_iter().collect();
        changed.sort_unstable_by_key(|(id, _)| *id);
        for (id, pod) in changed {
            match pod {
                Some(pod) => {
                    self.feed_classes(known, &[pod.class], feed);
                    feed.pods.push(pod);
                }
                None => feed.removed_pods.push(id),
            }
        }
    }

    /// The manifest's class columns for these candidates, one after another.
    pub(crate) fn class_columns(&self, class: &Class, nodes: &Nodes, candidates: &[u32], out: &mut Vec<i32>) {
        out.clear();
        for column in &self.manifest.class_columns {
            let value = match column.as_str() {
                "affinity-weight" => crate::fits::affinity_weight,
                _ => crate::fits::taints_to_avoid, // the manifest was checked against OFFERED
            };
            out.extend(candidates.iter().map(|slot| nodes.node(*slot).map_or(0, |node| value(class, node))));
        }
    }
}
