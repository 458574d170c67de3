//! Which endpoints serve a registry, how to trust them, and with which credentials.

use std::path::Path;

use crate::ImageError;

/// Credentials for one pull (an image pull secret); they win over the configuration file's.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// User name and password.
    Basic {
        /// The user.
        username: String,
        /// The password or access token.
        password: String,
    },
    /// A bearer token the registry takes as it is.
    Bearer(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Credentials::Basic { username, .. } => write!(f, "Basic({username:?}, …)"),
            Credentials::Bearer(_) => f.write_str("Bearer(…)"),
        }
    }
}

/// Mirrors, trust and credentials by registry.
#[derive(Clone, Debug, Default)]
pub struct RegistryConfig {}

impl RegistryConfig {
    /// Reads the file; a missing file is the empty configuration.
    pub fn load(path: &Path) -> Result<RegistryConfig, ImageError> {
        let _ = path;
        unimplemented!()
    }
}
