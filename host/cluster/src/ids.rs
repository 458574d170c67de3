//! Where uids and generated names come from.

use std::sync::{Arc, Mutex, PoisonError};

use berth_pipeline::{Ids, SeededIds};

/// Gives random bits to all plans.
pub trait IdSource: Send + Sync {
    /// 64 fresh random bits.
    fn bits(&self) -> u64;
}

/// As a plan draws from it.
impl Ids for &dyn IdSource {
    fn bits(&mut self) -> u64 {
        IdSource::bits(*self)
    }
}

/// The same ids in every run, in the order in which they are asked for.
#[derive(Clone, Debug)]
pub struct SharedIds(Arc<Mutex<SeededIds>>);

impl SharedIds {
    /// The ids that follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(SeededIds::new(seed))))
    }
}

impl IdSource for SharedIds {
    fn bits(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).bits()
    }
}

/// The operating system's random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemIds;

/// Random bytes fetched from the system at a time: a uid takes 16, so one system call serves 256 of them.
const POOL_BYTES: usize = 4096;

#[derive(Debug)]
struct Pool {
    bytes: Vec<u8>,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { bytes: Vec::new() });

impl IdSource for SystemIds {
    fn bits(&self) -> u64 {
        POOL.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Pool {
    fn take(&mut self) -> u64 {
        if self.bytes.len() < 8 {
            self.bytes.resize(POOL_BYTES, 0);
            // Without randomness no uid is unique: nothing can go on.
            getrandom::fill(&mut self.bytes).expect("the operating system gives random numbers");
        }
        let rest = self.bytes.len() - 8;
        let mut word = [0; 8];
        word.copy_from_slice(&self.bytes[rest..]);
        self.bytes.truncate(rest);
        u64::from_le_bytes(word)
    }
}
