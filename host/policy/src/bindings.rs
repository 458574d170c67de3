//! Types and calls made from `wit/policy.wit`.

wasmtime::component::bindgen!({
    inline: "
        package berth:host;
        world every-role {
            include berth:policy/scheduler@0.1.0-unstable;
            include berth:policy/admission@0.1.0-unstable;
            include berth:policy/autoscaler@0.1.0-unstable;
            include berth:policy/configured@0.1.0-unstable;
        }
    ",
    path: "../../wit",
});

pub(crate) use berth::policy::{log, types};
pub(crate) use exports::berth::policy::{cluster, configuring, planning, reviewing, scaling, scoring};

/// The version of the contract this host serves.
pub(crate) const VERSION: &str = "0.1.0-unstable";

/// The full name of one of the contract's interfaces.
pub(crate) fn interface(name: &str) -> String {
    format!("berth:policy/{name}@{VERSION}")
}
