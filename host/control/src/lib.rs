//! Controllers as pure functions: from a state and a time to the writes that bring the cluster nearer to what was
//! asked for.
//!
//! Nothing here waits, writes or reads a clock. A shell (`berth-drive`, or the simulation) feeds a [`Manager`] the
//! changes, asks it for [`Work`], carries out the [`Outcome`]'s steps through the pipeline, and reports back.

mod controller;
mod definition;
mod deployment;
mod events;
mod eviction;
mod expiry;
mod garbage;
mod manager;
mod namespace;
mod node;
mod outcome;
mod ownership;
mod parts;
mod queue;
mod registry;
mod replicaset;
mod requests;

pub use controller::{Controller, Hears, Look, News, Wake};
pub use events::{EventKind, EventNote, Recorder};
pub use manager::{Manager, Work};
pub use node::LEASE_NAMESPACE;
pub use outcome::{OnMiss, Outcome, Step};
pub use registry::Config;
pub use requests::Writer;
