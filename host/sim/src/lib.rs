//! The whole control plane under virtual time, from one seed, and the simulated nodes it runs on.

pub mod nodes;
