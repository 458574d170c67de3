//! What a leading server does: it runs controllers, schedules pods and manages plugins, each as long as its lease holds; and
//! what every server does: it asks its nodes what they use.
//!
//! Everything here does and waits; nothing here decides. Thinkers work on snapshots of the state, so that no lock is held
//! while they think. Whatever is written goes through a [`Leader`](berth_cluster::Leader). The simulation runs these very
//! loops, so nothing in them may depend on threads, clocks, chance, or the order of a hash map.

mod autoscaling;
mod calls;
mod control;
mod events;
mod failures;
mod feed;
mod lead;
mod measuring;
mod plugins;
mod reviewing;
mod roles;
mod scheduling;
mod serve;

pub use autoscaling::{AutoscalerRole, Autoscaling, Recommenders, run_autoscaling};
pub use calls::PolicyCalls;
pub use control::run_controllers;
pub use events::EventSink;
pub use failures::FailureReports;
pub use feed::{Follower, News};
pub use lead::{Holder, lead};
pub use measuring::{MEASURE_PERIOD, measure};
pub use plugins::{PluginConfig, first_failovers, run_plugins};
pub use reviewing::{AdmissionRole, Reviews};
pub use roles::{Role, SchedulerRole, Start};
pub use scheduling::{ScheduleHandle, SchedulerStopped, start_scheduler};
pub use serve::{Leading, lead_when_possible};
