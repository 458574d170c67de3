//! A pod on this node: what is wanted, what is seen, what is done next, and what is told of it.

pub(crate) mod admission;
pub(crate) mod checkpoint;
pub(crate) mod converge;
pub(crate) mod dispatcher;
pub(crate) mod observed;
pub(crate) mod status;
pub(crate) mod worker;
pub(crate) mod workers;
