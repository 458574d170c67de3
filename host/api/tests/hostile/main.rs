//! Whatever is sent, nothing panics, and memory and work stay bounded.
#![allow(clippy::unwrap_used)] // a test may

mod applies;
mod bombs;
mod fuzz;
mod measure;
