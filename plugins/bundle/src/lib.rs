//! The built-in policies as compiled components, for the binary to install when a cluster starts for the first time.

/// Least allocated first: `plugins/spread`.
pub const SPREAD: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/spread.wasm"));

/// Most allocated first: `plugins/binpack`.
pub const BINPACK: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/binpack.wasm"));
