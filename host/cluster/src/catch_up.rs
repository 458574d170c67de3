//! Learning what other servers wrote to the store.

use std::sync::Arc;

use berth_pipeline::Kinds;
use berth_state::{Change, Entry, Record, State, Store};

use crate::{StartError, errors, load};

/// What [`news`] found.
pub(crate) enum News {
    /// These changes lead from the state that was known to this one.
    Changes(State, Vec<Arc<Change>>),
    /// How it came to this state is not known any more.
    Anew(State),
}

/// What came after `state` in the store.
///
/// # Errors
/// One sentence, when the store cannot be read, or holds what this version cannot read.
pub(crate) async fn news<S: Store>(store: &mut S, state: &State, kinds: &Kinds) -> Result<News, String> {
    let failed = |error| errors::sentence(&error);
    match store.changes_after(state.revision()).await.map_err(|error| failed(StartError::Store(error)))? {
        Some(entries) => follow(state.clone(), entries, kinds).map_err(failed),
        None => load::load(store, kinds).await.map(News::Anew).map_err(failed),
    }
}

fn follow(mut state: State, entries: Vec<Entry>, kinds: &Kinds) -> Result<News, StartError> {
    let mut changes = Vec::with_capacity(entries.len());
    for Entry { key, revision, bytes } in entries {
        let old = state.get(&key).cloned();
        // A definition comes before its objects.
        let restore = |bytes| load::restore(Record { key: key.clone(), revision, bytes }, &kinds.at(&state));
        let new = bytes.map(restore).transpose()?;
        let key = new.as_ref().map_or(key, |new| new.key.clone());
        if old.is_none() && new.is_none() {
            state.reach(revision); // it came and went while nobody here looked
            continue;
        }
        let change = Arc::new(Change { revision, key, old, new });
        state.publish(change.clone());
        changes.push(change);
    }
    Ok(News::Changes(state, changes))
}
