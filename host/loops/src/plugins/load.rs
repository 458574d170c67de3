//! Bringing a component from the store.

use std::sync::Arc;

use berth_cluster::Leader;
use berth_lifecycle::{Component, ComponentKey, LoadError, LoadFailure, Loader};

/// Reads a component's bytes, checks and compiles them; how many there are.
pub(super) async fn load(
    leader: &Leader,
    loader: &dyn Loader,
    key: &ComponentKey,
) -> Result<(Arc<dyn Component>, u64), LoadFailure> {
    let digest = &key.digest;
    let bytes = match leader.get_blob(digest).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            let why = format!(
                "no component with the digest {digest} was uploaded; upload it with `berth plugin install FILE`"
            );
            return Err(LoadFailure { why, size: 0, passing: true });
        }
        Err(error) => return Err(LoadFailure { why: error.message, size: 0, passing: true }),
    };
    let size = bytes.len() as u64;
    loader.load(bytes, key.limits).await.map(|component| (component, size)).map_err(|error| match error {
        LoadError::Refused(why) => LoadFailure { why, size, passing: false },
        LoadError::Machine(why) => LoadFailure { why, size, passing: true },
    })
}
