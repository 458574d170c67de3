//! Resources by number: what nodes offer and pods request, as rows of integers.

use berth_api::quantity::Quantity;
use berth_api::views::Pairs;

/// The dimensions every cluster has, in this order: [`CPU`], [`MEMORY`], [`EPHEMERAL_STORAGE`], [`PODS`].
const COMMON: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "pods"];
/// Thousandths of a core.
pub(crate) const CPU: usize = 0;
/// Number of pods.
pub(crate) const PODS: usize = 3;

/// Extended resources that are told apart at most; nodes that name more have the rest ignored by scheduling, and pods
/// that request such a resource stay pending. Rows are as wide as there are dimensions.
const DIMENSIONS_MAX: usize = 128;

const MEBIBYTE: i64 = 1 << 20;

/// The names of the dimensions, by number.
#[derive(Debug)]
pub(crate) struct Dimensions {
    names: Vec<Box<str>>,
}

impl Dimensions {
    pub(crate) fn new() -> Self {
        Self { names: COMMON.iter().map(|name| (*name).into()).collect() }
    }

    pub(crate) fn names(&self) -> &[Box<str>] {
        &self.names
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| **known == *name)
    }

    fn intern(&mut self, name: &str) -> Option<usize> {
        self.find(name).or_else(|| {
            (self.names.len() < DIMENSIONS_MAX).then(|| {
                self.names.push(name.into());
                self.names.len() - 1
            })
        })
    }

    /// A list of quantities by name as (dimension, amount), sorted; CPU in thousandths, everything else in its own unit.
    /// Text that is no quantity counts as nothing: validation has refused it long before.
    pub(crate) fn amounts(&mut self, list: &Pairs) -> Vec<(u16, i64)> {
        let known = list.iter().filter_map(|(name, text)| {
            let dimension = self.intern(name)?;
            let quantity = Quantity::parse(text).ok()?;
            let amount = if dimension == CPU { quantity.milli_value() } else { quantity.value() };
            Some((dimension as u16, amount))
        });
        let mut amounts: Vec<_> = known.collect();
        amounts.sort_unstable();
        amounts
    }
}

/// In what a dimension is counted towards a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// As it is: millicores, pods, devices.
    One,
    /// Bytes as whole MiB.
    Mebibyte,
}

impl Unit {
    pub(crate) fn of(dimension: &str) -> Self {
        match dimension {
            "memory" | "ephemeral-storage" => Self::Mebibyte,
            _ if dimension.starts_with("hugepages-") => Self::Mebibyte,
            _ => Self::One,
        }
    }

    /// How an amount travels to a policy, cut to an `i32`.
    ///
    /// Requests are rounded up and what nodes have is rounded down, so that a policy never believes in room that is not
    /// there.
    pub(crate) fn for_policy(self, amount: i64, rounding: Rounding) -> i32 {
        let scaled = match (self, rounding) {
            (Self::One, _) => amount,
            (Self::Mebibyte, Rounding::Down) => amount.div_euclid(MEBIBYTE),
            (Self::Mebibyte, Rounding::Up) => amount.saturating_add(MEBIBYTE - 1).div_euclid(MEBIBYTE),
        };
        scaled.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
    }
}

/// Which way an amount of bytes becomes MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    Up,
    Down,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_by_number() {
        let mut dimensions = Dimensions::new();
        let list = [("memory", "128Mi"), ("cpu", "100m"), ("example.com/gpu", "2"), ("pods", "110")];
        assert_eq!(
            dimensions.amounts(&list.into_iter().collect()),
            [(0, 100), (1, 128 << 20), (3, 110), (4, 2)]
        );
        assert_eq!(dimensions.find("example.com/gpu"), Some(4));
    }

    #[test]
    fn rounding_never_invents_room() {
        for (amount, down, up) in
            [(0, 0, 0), (1, 0, 1), (MEBIBYTE, 1, 1), (MEBIBYTE + 1, 1, 2), (i64::MAX, i32::MAX, i32::MAX)]
        {
            assert_eq!(Unit::of("memory").for_policy(amount, Rounding::Down), down);
            assert_eq!(Unit::of("memory").for_policy(amount, Rounding::Up), up);
        }
        assert_eq!(Unit::of("cpu").for_policy(1500, Rounding::Down), 1500);
    }
}
