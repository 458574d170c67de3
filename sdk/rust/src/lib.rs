//! Write a Berth policy in Rust.
