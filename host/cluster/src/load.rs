//! Rebuilding the state from the store.

use std::sync::Arc;

use berth_api::Catalogue;
use berth_pipeline::Kinds;
use berth_pipeline::kinds::DEFINITIONS;
use berth_state::{Draft, Record, State, Store, Stored};

use crate::StartError;

/// Reads every object; the first one that cannot be read ends it, so that nothing is silently lost. Definitions come first:
/// they say what the others are.
pub(crate) async fn load<S: Store>(store: &mut S, kinds: &Kinds) -> Result<State, StartError> {
    let built_in = kinds.built_in();
    let (mut objects, mut definitions, mut others) = (Vec::new(), Vec::new(), Vec::new());
    let mut failed = None;
    let revision = store
        .load(&mut |record| {
            if built_in.named(&record.key.resource).is_none() {
                return others.push(record);
            }
            let is_definition = &*record.key.resource == DEFINITIONS;
            match restore(record, built_in) {
                Ok(stored) if is_definition => definitions.push(Arc::new(stored)),
                Ok(stored) => objects.push(Arc::new(stored)),
                Err(error) => failed = failed.take().or(Some(error)),
            }
        })
        .await?;
    if let Some(error) = failed {
        return Err(error);
    }
    let catalogue = kinds.defined_by(definitions.iter());
    for record in others {
        objects.push(Arc::new(restore(record, &catalogue)?));
    }
    objects.extend(definitions);
    let state = State::restored(revision, objects);
    for (claim, one, other) in state.contested() {
        tracing::warn!(%claim, %one, %other, "two objects have what only one can: change one of them");
    }
    Ok(state)
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
