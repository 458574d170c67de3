//! What goes into a run and what comes out of it.

use crate::randomness::{Purpose, Random};

/// How the world of a run is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Servers on one disk: with one it is that server's alone.
    pub servers: usize,
    /// Nodes, named `node-0` …, each with 4 CPUs, 8 GiB and room for 12 pods.
    pub nodes: usize,
    /// Clients that do what the seed says; 0 for scenarios that say it themselves.
    pub clients: usize,
    /// For how long, in milliseconds, faults happen and clients are busy in a storm.
    pub storm_ms: i64,
    /// How many of a thousand messages are lost.
    pub loss_permille: u32,
    /// Whether crashes, failing disks, silent nodes and failing policies happen by themselves.
    pub faults: bool,
}

impl Settings {
    /// Nothing goes wrong by itself, and nobody does anything by himself.
    pub fn calm(nodes: usize) -> Self {
        Self { servers: 1, nodes, clients: 0, storm_ms: 0, loss_permille: 0, faults: false }
    }

    /// What seeds run.
    pub fn storm(seed: u64) -> Self {
        let mut random = Random::new(seed, Purpose::Setup);
        Self {
            servers: if random.chance(250) { 1 } else { 2 },
            nodes: random.index(4) + 2,
            clients: random.index(3) + 1,
            storm_ms: random.between(60_000, 180_000),
            loss_permille: *random.pick(&[0, 5, 30, 100]),
            faults: true,
        }
    }
}

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// A hash over every event, every durable change, and all that policies were told and answered: equal for equal runs.
    pub hash: u64,
    /// Events that happened.
    pub steps: u64,
    /// Writes that became durable.
    pub revision: u64,
    /// Writes that clients were told are done.
    pub acknowledged: u64,
    /// Calls that were answered 503.
    pub unavailable: u64,
    /// Times a server was started, the first ones included.
    pub starts: u64,
    /// Feeds, questions and answers of policies.
    pub decisions: u64,
    /// How often a lease came to another process.
    pub leaders: u64,
    /// Changes that watchers saw, and how often they had to list.
    pub watched: (u64, u64),
    /// Virtual milliseconds from the first event to the last.
    pub virtual_ms: i64,
}
