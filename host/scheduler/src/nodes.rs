//! The nodes as slots, what each has left, and a log of which changed.

use std::collections::{HashMap, VecDeque};

use berth_api::views::{self, HostPort, Pairs, Taint};
use berth_state::Meta;

use crate::class::Class;
use crate::quantities::Dimensions;

/// Changes that the log remembers; whoever is further behind looks at every node again.
const LOG_MAX: usize = 1 << 16;

/// One node as the scheduler sees it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: Box<str>,
    pub(crate) labels: Pairs,
    pub(crate) annotations: Pairs,
    pub(crate) taints: Vec<Taint>,
    pub(crate) unschedulable: bool,
    allocatable: Vec<i64>,
    requested: Vec<i64>,
    ports: Vec<HostPort>,
}

impl Node {
    pub(crate) fn allocatable(&self, dimension: usize) -> i64 {
        self.allocatable.get(dimension).copied().unwrap_or(0)
    }

    pub(crate) fn requested(&self, dimension: usize) -> i64 {
        self.requested.get(dimension).copied().unwrap_or(0)
    }

    pub(crate) fn ports(&self) -> &[HostPort] {
        &self.ports
    }

    fn is(&self, meta: &Meta, view: &views::Node, allocatable: &[i64]) -> bool {
        self.labels.iter().eq(labels(meta))
            && self.annotations == view.annotations
            && self.taints == view.taints
            && self.unschedulable == view.unschedulable
            && self.allocatable == allocatable
    }
}

fn labels(meta: &Meta) -> impl Iterator<Item = (&str, &str)> {
    meta.labels.iter().map(|(key, value)| (&**key, &**value))
}

/// What about a slot changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    /// The node itself: new, gone, or other than it was.
    Node,
    /// Only what pods request of it.
    Requested,
}

/// All nodes.
#[derive(Debug)]
pub(crate) struct Nodes {
    pub(crate) dimensions: Dimensions,
    slots: Vec<Option<Node>>,
    by_name: HashMap<Box<str>, u32>,
    free: Vec<u32>,
    log: VecDeque<(u32, Touched)>,
    log_start: u64,
}

impl Nodes {
    pub(crate) fn new() -> Self {
        Self {
            dimensions: Dimensions::new(),
            slots: Vec::new(),
            by_name: HashMap::new(),
            free: Vec::new(),
            log: VecDeque::new(),
            log_start: 0,
        }
    }

    /// Takes in a node that is new or changed; returns whether anything changed that matters here.
    pub(crate) fn upsert(&mut self, name: &str, meta: &Meta, view: &views::Node) -> bool {
        let mut allocatable = vec![0; self.dimensions.names().len()];
        for (dimension, amount) in self.dimensions.amounts(&view.allocatable) {
            let dimension = usize::from(dimension);
            if dimension >= allocatable.len() {
                allocatable.resize(dimension + 1, 0);
            }
            allocatable[dimension] = amount;
        }
        let slot = self.slot_of(name);
        let place = &mut self.slots[slot as usize];
        if place.as_ref().is_some_and(|node| node.is(meta, view, &allocatable)) {
            return false;
        }
        let (requested, ports) = place.take().map(|node| (node.requested, node.ports)).unwrap_or_default();
        *place = Some(Node {
            name: name.into(),
            labels: labels(meta).collect(),
            annotations: view.annotations.clone(),
            taints: view.taints.clone(),
            unschedulable: view.unschedulable,
            allocatable,
            requested,
            ports,
        });
        self.touch(slot, Touched::Node);
        true
    }

    fn slot_of(&mut self, name: &str) -> u32 {
        if let Some(slot) = self.by_name.get(name) {
            return *slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        self.by_name.insert(name.into(), slot);
        slot
    }

    /// The node is gone. Pods that were on it are released by whoever knows them, before this.
    pub(crate) fn remove(&mut self, name: &str) -> Option<u32> {
        let slot = self.by_name.remove(name)?;
        self.slots[slot as usize] = None;
        self.free.push(slot);
        self.touch(slot, Touched::Node);
        Some(slot)
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn node(&self, slot: u32) -> Option<&Node> {
        self.slots.get(slot as usize).and_then(Option::as_ref)
    }

    /// One more than the highest slot there ever was.
    pub(crate) fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (u32, &Node)> {
        self.slots.iter().enumerate().filter_map(|(slot, node)| Some((slot as u32, node.as_ref()?)))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// A pod of this class takes its room on a node.
    pub(crate) fn take(&mut self, slot: u32, class: &Class) {
        self.change(slot, class, 1);
    }

    /// A pod of this class leaves its room.
    pub(crate) fn release(&mut self, slot: u32, class: &Class) {
        self.change(slot, class, -1);
    }

    fn change(&mut self, slot: u32, class: &Class, sign: i64) {
        let Some(node) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        for (dimension, amount) in &class.requests {
            let dimension = usize::from(*dimension);
            if dimension >= node.requested.len() {
                node.requested.resize(dimension + 1, 0);
            }
            node.requested[dimension] += sign * amount;
        }
        for port in &class.ports {
            if sign > 0 {
                node.ports.push(port.clone());
            } else if let Some(at) = node.ports.iter().position(|p| p == port) {
                node.ports.swap_remove(at);
            }
        }
        self.touch(slot, Touched::Requested);
    }

    fn touch(&mut self, slot: u32, what: Touched) {
        self.log.push_back((slot, what));
        if self.log.len() > LOG_MAX {
            self.log.pop_front();
            self.log_start += 1;
        }
    }

    /// The place in the log after everything so far.
    pub(crate) fn now(&self) -> u64 {
        self.log_start + self.log.len() as u64
    }

    /// What was touched since `cursor`, with repeats; `None`: too much, look at every slot.
    pub(crate) fn touched_since(&self, cursor: u64) -> Option<impl Iterator<Item = (u32, Touched)> + '_> {
        let skip = cursor.checked_sub(self.log_start)?;
        Some(self.log.range(skip as usize..).copied())
    }
}
