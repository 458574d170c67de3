//! Why a component is not served. Each text is one sentence that can stand in a plugin's status.

use crate::limits::{COMPONENT_BYTES_MAX, INSTANCES_MAX};
use berth_scheduler::policy::{ManifestError, PolicyError};

/// Why bytes are no component this host can serve.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Too many bytes.
    #[error("the plugin has {bytes} bytes, and more than {COMPONENT_BYTES_MAX} are not accepted")]
    TooLarge {
        /// How many it has.
        bytes: usize,
    },
    /// Something else altogether.
    #[error("the file is not WebAssembly: it does not begin with the bytes of a Wasm component")]
    NotWasm,
    /// A module without component types.
    #[error(
        "the file is a core Wasm module, not a component: make one of it with `wasm-tools component new`, or build for the \
         component model"
    )]
    CoreModule,
    /// Invalid, or using features this host does not offer.
    #[error("the component does not compile: {0}")]
    Invalid(String),
    /// Made for another version of the contract.
    #[error("the component was built for {found}, and this host serves {served}")]
    OtherVersion {
        /// What it exports.
        found: String,
        /// What would be served.
        served: String,
    },
    /// No role.
    #[error("the component exports no policy: it has {found}, and one of {known} is needed", found = list(.found), known = .known.join(", "))]
    ExportsNothing {
        /// All it exports.
        found: Vec<String>,
        /// What would do.
        known: Vec<String>,
    },
    /// Wants powers no policy has.
    #[error("the component imports what no policy is granted: {}", .0.join(", "))]
    Ungranted(Vec<String>),
    /// An interface has the right name and the wrong shape.
    #[error("the component does not keep to {interface}: {reason}")]
    Mismatch {
        /// Which interface.
        interface: String,
        /// The first difference.
        reason: String,
    },
}

/// Why a component does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It is of another role.
    #[error("the component is for the role {role}, and is bound in the role {wanted}")]
    Role {
        /// What it is for.
        role: berth_lifecycle::RoleName,
        /// What it was to be.
        wanted: berth_lifecycle::RoleName,
    },
    /// No instance more can be alive.
    #[error(
        "all {INSTANCES_MAX} places for running policies are taken; delete a binding, or wait until a swap has ended"
    )]
    NoPlace,
    /// It could not be instantiated.
    #[error("the component does not start: {0}")]
    Instantiate(String),
    /// It refused its configuration.
    #[error("the plugin refuses its configuration: {0}")]
    Config(String),
    /// It failed while it was asked what it is.
    #[error("asked to describe itself, {0}")]
    Describe(#[from] PolicyError),
    /// It is not what this host can serve.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Its manifest uses a code this host does not know, or is too long.
    #[error("the plugin's manifest is not usable: {0}")]
    BadManifest(String),
    /// Its manifest promises what it does not export.
    #[error("the plugin's manifest says that it {does}, but it does not export {interface}")]
    MissingInterface {
        /// What it promises.
        does: &'static str,
        /// What that takes.
        interface: String,
    },
}

impl StartError {
    /// Whether the same component would fail in the same way with the same configuration.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Role { .. }
            | Self::Config(_)
            | Self::Manifest(_)
            | Self::BadManifest(_)
            | Self::MissingInterface { .. } => true,
            Self::NoPlace | Self::Instantiate(_) | Self::Describe(_) => false,
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "no exports".to_owned() } else { names.join(", ") }
}
