//! Which component serves which place (a scheduler's profile, say): the lives of plugins as a state machine without I/O.
//!
//! [`PluginManager`] is told what happened ([`Event`]) and answers what is to be done ([`Effect`]). It loads nothing, writes
//! nothing and reads no clock: a shell carries the effects out and reports what came of them, in any order and however late.
//!
//! Invariants: a place has at most one start under way; a report is about one installation, by its number, and moves no
//! other; what a status says is what the shell last reported; whatever fails is tried again, ever more seldom, or is left
//! alone until somebody changes it.

mod binding;
mod component;
mod components;
mod effect;
mod failures;
mod manager;
mod objects;
mod place;
mod status;

pub use component::{Component, LoadError, Loader, Loading};
pub use effect::{About, Effect, Event, Failure, Harm, LoadFailure, Loaded, StartFailure, Started, Tone};
pub use manager::PluginManager;
pub use objects::{Binding, ComponentKey, FailurePolicy, Limits, Memory, Plugin, Version};
pub use place::{Place, RoleName};
pub use status::with_removals;
