//! Configurations.

use serde::de::DeserializeOwned;

/// Reads a configuration; one that is empty is `{}`. Say `#[serde(deny_unknown_fields)]`, so that a mistyped key is no silent
/// default.
///
/// # Errors
/// What is wrong with it and where, for the person who wrote it.
pub fn config<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    let json = if json.is_empty() { b"{}" } else { json };
    serde_json::from_slice(json).map_err(|error| error.to_string())
}
