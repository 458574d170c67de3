//! The whole control plane under virtual time, from one seed.
