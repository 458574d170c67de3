//! Types and calls made from `wit/policy.wit`.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "scheduler",
});

pub(crate) use berth::policy::{log, types};
pub(crate) use exports::berth::policy::{cluster, planning, scoring};

/// The version of the contract this host serves.
pub(crate) const VERSION: &str = "0.1.0-unstable";

/// The full name of one of the contract's interfaces.
pub(crate) fn interface(name: &str) -> String {
    format!("berth:policy/{name}@{VERSION}")
}
