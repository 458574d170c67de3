//! What happened: the last events for people, a hash over all of them for comparing two runs.

use std::collections::VecDeque;
use std::hash::Hasher;

use berth_api::Timestamp;

use crate::randomness::Fnv;

/// Events a failure shows: what led to it is rarely further back, and more nobody reads.
const SHOWN_MAX: usize = 40;

/// The event log of one run.
#[derive(Default)]
pub(crate) struct Log {
    last: VecDeque<String>,
    hash: Fnv,
}

impl Log {
    pub(crate) fn note(&mut self, begun: Timestamp, now: Timestamp, text: &str) {
        let millis = now.micros() - begun.micros();
        let line = format!("{:>10.3}s {text}", millis as f64 / 1e6);
        self.hash.write(line.as_bytes());
        if self.last.len() == SHOWN_MAX {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// Something that nobody needs to read, but that another run must do as well.
    pub(crate) fn hash_bytes(&mut self, bytes: &[u8]) {
        self.hash.write(bytes);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash.finish()
    }

    pub(crate) fn tail(&self) -> impl Iterator<Item = &str> {
        self.last.iter().map(String::as_str)
    }
}
