//! The whole control plane under virtual time, from one seed.
//!
//! A [`World`] holds a disk, servers that have it open, hollow nodes, clients and watchers. Each server is a process of its own
//! that runs what `berth up` runs: the cluster with its writer, leases, controllers, scheduler and plugin manager, task by task
//! as the agenda has it. The network, the disk, the clock, the policies and what breaks are not real. Nothing here reads the
//! time or draws a random number by itself: the same seed gives the same run, event by event.

mod agenda;
mod call;
mod clients;
mod disk;
mod faults;
mod invariants;
mod log;
mod oracle;
mod plugins;
mod policy;
mod process;
mod randomness;
mod scenario;
mod servers;
mod settings;
mod settled;
mod settling;
mod undone;
mod watchers;
mod wire;
mod workload;
mod world;

pub use scenario::{NodeHandle, Style, ready};
pub use settings::{Report, Settings};
pub use world::World;
