//! The server as clients see it: over HTTPS, and called directly.
#![allow(clippy::unwrap_used)] // a test may

mod attacks;
mod derived;
mod harness;
mod identity;
mod rest;
mod session;
mod sockets;
