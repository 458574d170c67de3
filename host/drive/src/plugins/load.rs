//! Bringing a component from the store.

use berth_lifecycle::{ComponentKey, LoadFailure};
use berth_pipeline::cluster::Cluster;
use berth_policy::{Component, Digest, Limits};

use crate::compile::{CompileError, Compiler};

/// Reads a component's bytes, checks and compiles them; how many there are.
pub(super) async fn load(
    cluster: &Cluster,
    compiler: &Compiler,
    key: &ComponentKey,
) -> Result<(Component, u64), LoadFailure> {
    let digest = &key.digest;
    let bytes = match cluster.get_blob(digest).await {
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
    let failure = |why: String, passing| LoadFailure { why, size, passing };
    if format!("sha256:{}", Digest::of(&bytes)) != *digest {
        return Err(failure(format!("what is stored under the digest {digest} does not have it"), false));
    }
    let limits =
        Limits::new(usize::try_from(key.limits.memory_bytes).unwrap_or(usize::MAX), key.limits.deadline_ms);
    compiler.load(bytes, limits).await.map(|component| (component, size)).map_err(|error| {
        let passing = matches!(error, CompileError::Machine(_));
        failure(error.to_string(), passing)
    })
}
