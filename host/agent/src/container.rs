//! What a container is made of and how it is looked after: its specification, its surroundings, logs, probes and end.

pub(crate) mod env;
pub(crate) mod etc;
pub(crate) mod fields;
pub(crate) mod keys;
pub(crate) mod logs;
pub(crate) mod probes;
pub(crate) mod resources;
pub(crate) mod sources;
pub(crate) mod spec;
pub(crate) mod termination;
pub(crate) mod volumes;
