//! What one policy has been told: turns the cluster's log of changes into feeds.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::class::{Class, Classes, Keys};
use crate::cluster::{Cluster, Node, Touched};
use crate::pods::Pods;
use crate::policy::{self, Class as ClassRow, Columns, Feed, Group, Manifest, Watches};
use crate::quantities::{Rounding, for_policy};

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
    /// The cluster's number of each of the policy's dimensions; `None` where no node has it.
    dimensions: Vec<Option<usize>>,
    dimension_names: Vec<String>,
    cluster_dimensions: usize,
    symbols: HashMap<Box<str>, u32>,
    nodes: HashSet<u32>,
    classes: HashSet<u32>,
    forgotten: Vec<u32>,
    groups: BTreeSet<u32>,
    pods: HashMap<u64, Option<policy::Pod>>,
    cursor: Option<u64>,
    seq: u64,
    fed: bool,
    /// Where the scheduler was when the mirror was made.
    made_at: Moment,
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
    pub(crate) cluster: &'a Cluster,
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
            dimension_names: Vec::new(),
            cluster_dimensions: 0,
            symbols: HashMap::new(),
            nodes: HashSet::new(),
            classes: HashSet::new(),
            forgotten: Vec::new(),
            groups: BTreeSet::new(),
            pods: HashMap::new(),
            cursor: None,
            seq: 0,
            fed: false,
            made_at: Moment::default(),
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
        self.cursor != Some(known.cluster.now())
            || !self.pods.is_empty()
            || !self.groups.is_empty()
            || wanted.iter().any(|class| !self.classes.contains(class))
    }

    /// Writes into `feed` what the policy must hear before it is asked about the classes `wanted`.
    pub(crate) fn catch_up(&mut self, known: Known<'_>, wanted: &[u32], feed: &mut Feed) {
        feed.clear();
        self.seq += 1;
        feed.seq = self.seq;
        let more_dimensions = self.named_dimensions_changed(known.cluster);
        let touched = self.cursor.and_then(|cursor| known.cluster.touched_since(cursor));
        match touched {
            Some(touched) if !more_dimensions && self.symbols.len() < SYMBOLS_MAX => {
                let mut changed = HashMap::new();
                for (slot, what) in touched {
                    let entry = changed.entry(slot).or_insert(what);
                    if what == Touched::Node {
                        *entry = what;
                    }
                }
                let mut changed: Vec<_> = changed.into_iter().collect();
                changed.sort_unstable_by_key(|(slot, _)| *slot);
                self.feed_nodes(known, &changed, feed);
            }
            _ => self.start_over(known, feed),
        }
        self.feed_classes(known, wanted, feed);
        self.feed_groups(known, feed);
        self.feed_pods(known, feed);
        self.cursor = Some(known.cluster.now());
    }

    /// `*` stands for dimensions that may come later; numbers never change, so that the policy must begin anew.
    fn named_dimensions_changed(&self, cluster: &Cluster) -> bool {
        self.cluster_dimensions != cluster.dimensions.names().len()
    }

    fn start_over(&mut self, known: Known<'_>, feed: &mut Feed) {
        feed.reset = std::mem::replace(&mut self.fed, true);
        let all = known.cluster.dimensions.names();
        let (named, rest) = self.manifest.named_dimensions();
        let mut names: Vec<String> = named.to_vec();
        if rest {
            names.extend(all.iter().map(|n| n.to_string()).filter(|n| !named.contains(n)));
        }
        self.dimensions = names.iter().map(|name| known.cluster.dimensions.find(name)).collect();
        self.cluster_dimensions = all.len();
        feed.dimensions = Some(names.clone());
        self.dimension_names = names;
        self.symbols.clear();
        self.nodes.clear();
        self.forgotten.clear();
        let before = std::mem::take(&mut self.classes);
        let nodes: Vec<_> = known.cluster.nodes().map(|(slot, _)| (slot, Touched::Node)).collect();
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
        for (slot, what) in changed {
            let Some(node) = known.cluster.node(*slot) else {
                if self.nodes.remove(slot) {
                    feed.removed_nodes.push(*slot);
                }
                continue;
            };
            let requested = self.row(|dimension| node.requested(dimension), Rounding::Up);
            if *what == Touched::Requested && self.nodes.contains(slot) {
                feed.update_requested(*slot, &requested);
                continue;
            }
            let allocatable = self.row(|dimension| node.allocatable(dimension), Rounding::Down);
            let labels = self.node_symbols(node, feed);
            feed.upsert_node(*slot, &allocatable, &requested, &labels);
            self.nodes.insert(*slot);
        }
    }

    fn row(&self, amount: impl Fn(usize) -> i64, rounding: Rounding) -> Vec<i32> {
        let numbered = self.dimensions.iter().zip(&self.dimension_names);
        numbered.map(|(number, name)| number.map_or(0, |n| for_policy(name, amount(n), rounding))).collect()
    }

    fn node_symbols(&mut self, node: &Node, feed: &mut Feed) -> Vec<u32> {
        let manifest = std::mem::take(&mut self.manifest);
        let labels = manifest.node_labels.iter().map(|key| node.labels.get(key.as_str()));
        let annotations = manifest.node_annotations.iter().map(|key| node.annotations.get(key.as_str()));
        let symbols =
            labels.chain(annotations).map(|text| text.map_or(policy::NO_SYMBOL, |t| self.symbol(t, feed)));
        let symbols = symbols.collect();
        self.manifest = manifest;
        symbols
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
                let requests = self.row(|dimension| class.request(dimension), Rounding::Up);
                let attributes = self.class_symbols(&class, known.keys, feed);
                feed.define_class(ClassRow { id: *id, requests: &requests, attributes: &attributes });
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
    pub(crate) fn class_columns(
        &self,
        class: &Class,
        cluster: &Cluster,
        candidates: &[u32],
        out: &mut Vec<i32>,
    ) {
        out.clear();
        for column in &self.manifest.class_columns {
            let value = match column.as_str() {
                "affinity-weight" => crate::fits::affinity_weight,
                _ => crate::fits::taints_to_avoid, // the manifest was checked against OFFERED
            };
            out.extend(
                candidates.iter().map(|slot| cluster.node(*slot).map_or(0, |node| value(class, node))),
            );
        }
    }
}
