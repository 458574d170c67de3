//! Rebuilding the state from the store.

use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use berth_api::Catalogue;
use berth_pipeline::Kinds;
use berth_pipeline::kinds::DEFINITIONS;
use berth_state::{Draft, Record, State, Store, Stored};

use crate::StartError;

/// Objects for which a thread of its own is worth it: reading them takes some 10 ms.
const OBJECTS_PER_THREAD_MIN: usize = 2_000;

/// Reads every object; the first one that cannot be read ends it, so that nothing is silently lost. Definitions come first:
/// they say what the others are.
pub(crate) async fn load<S: Store>(store: &mut S, kinds: &Kinds) -> Result<State, StartError> {
    let (mut definitions, mut others) = (Vec::new(), Vec::new());
    let revision = store
        .load(&mut |record| match &*record.key.resource == DEFINITIONS {
            true => definitions.push(record),
            false => others.push(record),
        })
        .await?;
    let definitions = restore_all(definitions, kinds.built_in())?;
    let catalogue = kinds.defined_by(definitions.iter());
    let objects = restore_all(others, &catalogue)?;
    let state = State::restored(revision, objects.into_iter().chain(definitions));
    for (claim, one, other) in state.contested() {
        tracing::warn!(%claim, %one, %other, "two objects have what only one can: change one of them");
    }
    Ok(state)
}

/// Reads objects, where they are many on all processors: nothing else happens before they are there.
fn restore_all(records: Vec<Record>, catalogue: &Catalogue) -> Result<Vec<Arc<Stored>>, StartError> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let share = records.len().div_ceil(processors).max(OBJECTS_PER_THREAD_MIN);
    if records.len() <= share {
        return records.into_iter().map(|record| restore(record, catalogue)).collect();
    }
    let mut rest = records;
    let mut shares = Vec::with_capacity(processors);
    while !rest.is_empty() {
        let after = rest.split_off(rest.len().min(share));
        shares.push(std::mem::replace(&mut rest, after));
    }
    let restored: Vec<Result<Vec<_>, StartError>> = thread::scope(|scope| {
        let read = |records: Vec<Record>| records.into_iter().map(|r| restore(r, catalogue)).collect();
        let threads: Vec<_> = shares.into_iter().map(|share| scope.spawn(move || read(share))).collect();
        threads.into_iter().map(|thread| thread.join().expect("reading objects does not panic")).collect()
    });
    let mut objects = Vec::new();
    for share in restored {
        objects.extend(share?);
    }
    Ok(objects)
}

/// Reads one object of a kind of the catalogue.
pub(crate) fn restore(record: Record, catalogue: &Catalogue) -> Result<Arc<Stored>, StartError> {
    let Record { mut key, revision, bytes } = record;
    let object = || key.to_string();
    let resource =
        catalogue.named(&key.resource).ok_or_else(|| StartError::UnknownKind { object: object() })?;
    let draft =
        Draft::restore(resource, bytes).map_err(|source| StartError::Object { object: object(), source })?;
    key.resource = resource.id.clone();
    Ok(Arc::new(Stored::new(key, revision, draft)))
}
