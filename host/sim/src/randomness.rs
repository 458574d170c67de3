//! Randomness by purpose: each purpose draws from its own stream, so that one more draw for one shifts nothing for others.

use std::hash::{Hash, Hasher};

/// What random numbers are wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// How long messages take, and which are lost or sent twice.
    Network,
    /// How long the disk takes.
    Disk,
    /// When changes reach those who follow them.
    Feed,
    /// When tasks of servers go on.
    Threads,
    /// What breaks, and when.
    Faults,
    /// What clients do.
    Client(usize),
    /// How policies misbehave.
    Policy(u64),
    /// uids and generated names.
    Ids,
    /// What the cluster is made of.
    Setup,
}

/// One stream of random numbers (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// The stream of one purpose in the run of `seed`.
    pub(crate) fn new(seed: u64, purpose: Purpose) -> Self {
        let mut hasher = Fnv::default();
        (seed, purpose).hash(&mut hasher);
        Self { state: hasher.finish() }
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = high.abs_diff(low) + 1;
        low + (self.bits() % span) as i64
    }

    /// An index of a list with `length` elements.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        (self.bits() % length.max(1) as u64) as usize
    }

    /// True in `permille` of 1000 cases.
    pub(crate) fn chance(&mut self, permille: u32) -> bool {
        self.bits() % 1000 < u64::from(permille)
    }

    /// One of the elements.
    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.index(list.len())]
    }

    /// How long a task that could go on has to wait, in microseconds: mostly not at all, now and then for its turn.
    pub(crate) fn pause_us(&mut self) -> i64 {
        match self.index(40) {
            0 => self.between(0, 30_000),
            1..10 => self.between(0, 800),
            _ => 0,
        }
    }

    /// A delay in milliseconds: mostly close to `typical_ms`, now and then much longer.
    pub(crate) fn delay_ms(&mut self, typical_ms: i64) -> i64 {
        let slow = self.chance(30);
        self.between(0, if slow { typical_ms * 40 } else { typical_ms * 2 })
    }
}

/// FNV-1a: the same on every machine and in every version, unlike the standard library's hasher.
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_seeds_have_streams_of_their_own() {
        let first = |seed, purpose| Random::new(seed, purpose).bits();
        assert_eq!(first(1, Purpose::Network), first(1, Purpose::Network));
        assert_ne!(first(1, Purpose::Network), first(2, Purpose::Network));
        assert_ne!(first(1, Purpose::Client(0)), first(1, Purpose::Client(1)));
    }

    #[test]
    fn numbers_stay_in_their_range() {
        let mut random = Random::new(7, Purpose::Setup);
        assert!((0..1000).all(|_| (-3..=4).contains(&random.between(-3, 4))));
        assert!((0..100).all(|_| !random.chance(0)) && (0..100).all(|_| random.chance(1000)));
    }
}
