//! The whole control plane under virtual time, from one seed, and the simulated nodes it runs on.
//!
//! A [`World`] holds a disk, the server's state and writer, controllers, scheduler, nodes, clients and watchers: the real
//! ones, where they are pure. The network, the clock and what breaks are not real. Nothing here reads the time or draws a
//! random number by itself: the same seed gives the same run, event by event.

mod agenda;
mod call;
mod clients;
mod controllers;
mod faults;
mod invariants;
mod log;
pub mod nodes;
mod oracle;
mod policy;
mod randomness;
mod scenario;
mod scheduling;
mod server;
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
