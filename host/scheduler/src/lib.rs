//! Scheduling as pure functions: columns, classes, queue, feasibility, decisions.
//!
//! A [`Scheduler`] is fed the changes of the state and asked to decide; what it decides is data, for a shell to commit.
//! Hard constraints are checked here, natively; which of the nodes that fit is best is a [`policy::Policy`]'s to say.

mod builtin;
mod class;
mod decide;
mod fits;
mod groups;
mod mirror;
mod nodes;
mod planning;
mod pods;
pub mod policy;
mod quantities;
mod queue;
mod rating;

pub use builtin::LeastAllocated;
pub use decide::{Decisions, Eviction, Failover, Nomination, Placement, PolicyFailure, Scheduler, Unplaced};
pub use groups::{GROUP_LABEL, GROUP_MIN_MEMBERS_ANNOTATION};
pub use mirror::{Mirror, OFFERED};
