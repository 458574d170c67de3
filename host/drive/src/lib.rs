//! The shell around control and scheduler: feeds them changes, carries out what they decide, keeps their timers.
//!
//! Everything here does and waits; nothing here decides. Controllers and the scheduler work on snapshots of the state, so
//! that no lock is held while they think.

mod compile;
mod control;
mod events;
mod failures;
mod feed;
mod lease;
mod plugins;
mod scheduling;

pub use compile::{CompileError, Compiler};
pub use control::run_controllers;
pub use events::EventSink;
pub use failures::FailureReports;
pub use feed::{Follower, News};
pub use lease::take_lead;
pub use plugins::{PluginConfig, first_failovers, run_plugins};
pub use scheduling::{ScheduleHandle, SchedulerStopped, start_scheduler};
