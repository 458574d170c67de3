//! The components that somebody needs, and how far they are loaded.

use std::collections::{BTreeMap, BTreeSet};

use berth_api::Timestamp;

use crate::effect::{Effect, LoadFailure, Loaded};
use crate::failures::Failures;
use crate::objects::ComponentKey;

/// How far a component is.
#[derive(Debug, Default)]
struct Entry {
    is_loading: bool,
    /// What it is, once that is known.
    loaded: Option<Loaded>,
    /// Whether the shell has it ready to be started.
    is_kept: bool,
    /// Why the last attempt failed.
    failure: Option<LoadFailure>,
    failures: Failures,
}

/// All components that a plugin or a binding names.
#[derive(Debug, Default)]
pub(crate) struct Components(BTreeMap<ComponentKey, Entry>);

impl Components {
    /// Whether a policy of the component can be started now.
    pub(crate) fn is_kept(&self, key: &ComponentKey) -> bool {
        self.0.get(key).is_some_and(|entry| entry.is_kept)
    }

    /// What it is, or why it did not load; `None` while neither is known.
    pub(crate) fn result(&self, key: &ComponentKey) -> Option<Result<&Loaded, &LoadFailure>> {
        let entry = self.0.get(key)?;
        entry.failure.as_ref().map(Err).or(entry.loaded.as_ref().map(Ok))
    }

    /// Why it did not load.
    pub(crate) fn failure(&self, key: &ComponentKey) -> Option<&LoadFailure> {
        self.result(key)?.err()
    }

    /// Loads what is needed and lets go of the rest. What is `bound` is kept, ready to be started; what is only `named` by a
    /// plugin is loaded once, to see what it is.
    pub(crate) fn need(
        &mut self,
        bound: &BTreeSet<ComponentKey>,
        named: &BTreeSet<ComponentKey>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        self.0.retain(|key, entry| {
            let is_needed = bound.contains(key) || named.contains(key);
            if !is_needed && entry.is_loading {
                effects.push(Effect::CancelLoad(key.clone()));
            }
            if entry.is_kept && !bound.contains(key) {
                entry.is_kept = false;
                effects.push(Effect::Unload(key.clone()));
            }
            is_needed
        });
        // What a place waits for comes first.
        for key in bound.iter().chain(named.difference(bound)) {
            let entry = self.0.entry(key.clone()).or_default();
            let is_wanting = entry.loaded.is_none() || (bound.contains(key) && !entry.is_kept);
            let may_load =
                entry.failure.as_ref().is_none_or(|failure| failure.passing && entry.failures.may_retry(now));
            if !entry.is_loading && is_wanting && may_load {
                entry.is_loading = true;
                effects.push(Effect::Load(key.clone()));
            }
        }
    }

    /// A load has ended; whether that is news about something still needed.
    pub(crate) fn loaded(
        &mut self,
        key: &ComponentKey,
        result: Result<Loaded, LoadFailure>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(entry) = self.0.get_mut(key) else {
            if result.is_ok() {
                effects.push(Effect::Unload(key.clone()));
            }
            return false;
        };
        entry.is_loading = false;
        match result {
            Ok(loaded) => {
                *entry = Entry { loaded: Some(loaded), is_kept: true, ..Entry::default() };
            }
            Err(failure) => {
                entry.loaded = None;
                entry.failure = Some(failure);
                entry.failures.add(now);
            }
        }
        true
    }

    /// When something is to be tried again.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let passing = |entry: &&Entry| !entry.is_loading && entry.failure.as_ref().is_some_and(|f| f.passing);
        self.0.values().filter(passing).filter_map(|entry| entry.failures.retry_at()).min()
    }
}
