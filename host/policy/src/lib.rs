//! The Wasm policy engine: load, verify, limit, feed, swap.
