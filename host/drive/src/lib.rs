//! The shell around control and scheduler: feeds, timers, retries, leases.
