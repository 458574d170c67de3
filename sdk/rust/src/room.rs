//! What is left while a plan grows.

use crate::{Class, Cluster, Unit};
use std::collections::BTreeMap;

/// The cluster's free capacity with the placements and evictions of a plan already counted; the cluster itself is not changed.
#[derive(Clone, Debug)]
pub struct Room<'a> {
    cluster: &'a Cluster,
    taken: BTreeMap<u32, Vec<i32>>,
    units: BTreeMap<u32, Vec<Unit>>,
}

impl<'a> Room<'a> {
    /// All that the cluster has free.
    pub fn new(cluster: &'a Cluster) -> Self {
        Self { cluster, taken: BTreeMap::new(), units: BTreeMap::new() }
    }

    /// What is left of one node only: cheap to take, for asking what would be if.
    pub fn clone_node(&self, slot: u32) -> Self {
        let taken = self.taken.get(&slot).map(|row| (slot, row.clone())).into_iter().collect();
        let units = self.units.get(&slot).map(|units| (slot, units.clone())).into_iter().collect();
        Self { cluster: self.cluster, taken, units }
    }

    /// How much of a dimension a node has left.
    pub fn free(&self, slot: u32, dimension: usize) -> i32 {
        let taken = self.taken.get(&slot).map_or(0, |row| row[dimension]);
        let at = slot as usize;
        let requested = self.cluster.requested(dimension)[at];
        self.cluster.allocatable(dimension)[at].saturating_sub(requested).saturating_sub(taken)
    }

    /// Whether a pod of a class still fits a node in every dimension it requests.
    pub fn fits(&self, slot: u32, class: &Class) -> bool {
        class
            .requests
            .iter()
            .enumerate()
            .all(|(dimension, &wanted)| wanted <= 0 || wanted <= self.free(slot, dimension))
    }

    /// Counts a placement.
    pub fn take(&mut self, slot: u32, class: &Class) {
        self.change(slot, class, 1);
    }

    /// Counts an eviction, or takes a placement back.
    pub fn give_back(&mut self, slot: u32, class: &Class) {
        self.change(slot, class, -1);
    }

    /// A node's devices with what the plan has taken from them.
    pub fn units(&self, slot: u32) -> &[Unit] {
        self.units.get(&slot).map_or_else(|| self.cluster.units(slot), Vec::as_slice)
    }

    /// Counts a share of a device.
    pub fn take_unit(&mut self, slot: u32, id: u32, amount: i32) {
        let units = self.units.entry(slot).or_insert_with(|| self.cluster.units(slot).to_vec());
        if let Some(unit) = units.iter_mut().find(|unit| unit.id == id) {
            unit.free -= amount;
        }
    }

    fn change(&mut self, slot: u32, class: &Class, sign: i32) {
        let row = self.taken.entry(slot).or_insert_with(|| vec![0; self.cluster.dimensions().len()]);
        for (taken, wanted) in row.iter_mut().zip(&class.requests) {
            *taken += sign * wanted;
        }
    }
}
