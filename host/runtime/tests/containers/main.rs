//! Real containers on this machine. They need root, and the busybox that `make setup` unpacks.

// A failed step of a test is a failed test.
#![allow(clippy::unwrap_used)]

mod crash;
mod exec;
mod logs;
mod mounts;
mod run;
mod security;
mod support;
