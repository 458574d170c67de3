//! Names that nobody chose: uids and the ends of generated names.

/// The letters of a generated name: no vowels, so that no word comes out, and nothing that looks like another.
const SUFFIX_LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// How many letters a generated name ends with.
pub const SUFFIX_LENGTH: usize = 5;

/// Where uids and generated names come from: the system's randomness, or a seed in a simulation.
pub trait Ids: Send + Sync {
    /// 64 fresh random bits.
    fn bits(&mut self) -> u64;

    /// A version 4 UUID (RFC 9562) in lower case.
    fn uid(&mut self) -> String {
        let (high, low) = (self.bits(), self.bits());
        let high = high & !0xf000 | 0x4000;
        let low = low & (u64::MAX >> 2) | 1 << 63;
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }

    /// What `generateName` is completed with: [`SUFFIX_LENGTH`] letters of the API's alphabet.
    fn suffix(&mut self) -> String {
        let mut bits = self.bits();
        let mut letter = || {
            let at = bits % SUFFIX_LETTERS.len() as u64;
            bits /= SUFFIX_LETTERS.len() as u64;
            char::from(SUFFIX_LETTERS[at as usize])
        };
        (0..SUFFIX_LENGTH).map(|_| letter()).collect()
    }
}

/// Reproducible ids from a seed (SplitMix64), for simulations and tests.
#[derive(Clone, Debug)]
pub struct SeededIds {
    state: u64,
}

impl SeededIds {
    /// The ids that follow from `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }
}

impl Ids for SeededIds {
    fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}
