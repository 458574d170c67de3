//! Rebuilding the state from the store.

use std::sync::Arc;

use berth_api::Catalogue;
use berth_state::{Draft, Record, State, Store, Stored};

use super::StartError;

/// Reads every object; the first one that cannot be read ends it, so that nothing is silently lost.
pub(super) async fn load<S: Store>(store: &mut S, catalogue: &Catalogue) -> Result<State, StartError> {
    let mut objects = Vec::new();
    let mut failed = None;
    let revision = store
        .load(&mut |record| match restore(record, catalogue) {
            Ok(stored) => objects.push(Arc::new(stored)),
            Err(error) => failed = failed.take().or(Some(error)),
        })
        .await?;
    match failed {
        Some(error) => Err(error),
        None => Ok(State::restored(revision, objects)),
    }
}

fn restore(record: Record, catalogue: &Catalogue) -> Result<Stored, StartError> {
    let Record { mut key, revision, bytes } = record;
    let object = || key.to_string();
    let resource =
        catalogue.named(&key.resource).ok_or_else(|| StartError::UnknownKind { object: object() })?;
    let draft =
        Draft::restore(resource, bytes).map_err(|source| StartError::Object { object: object(), source })?;
    key.resource = resource.id.clone();
    Ok(Stored::new(key, revision, draft))
}
