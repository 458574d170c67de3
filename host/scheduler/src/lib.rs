//! Scheduling as pure functions: columns, classes, queue, feasibility, decisions.

pub mod policy;
