//! All objects as they are at one revision, the indexes over them, and the recent history.

use std::sync::Arc;

use berth_api::ResourceName;
use berth_api::resource::Claim;
use imbl::{HashMap, OrdMap, OrdSet};

use crate::history::Held;
use crate::table::Table;
use crate::{Change, Key, Revision, Stored};

/// The objects of a cluster at one revision: a value. A clone costs a few counters and shares everything, so whoever
/// wants to think takes one and holds nobody up; it stays as it is while the cluster goes on.
///
/// Rebuilt from a store with [`State::restored`], then kept up with [`State::publish`]. A replica that is fed the same
/// changes is equal.
#[derive(Clone, Debug, Default)]
pub struct State {
    revision: Revision,
    /// The revision with which this state began: nothing before it is known.
    began: Revision,
    tables: OrdMap<ResourceName, Table>,
    by_uid: HashMap<Arc<str>, Key>,
    dependents: OrdSet<(Arc<str>, Key)>,
    /// Who has what. The ledger sees to it that there is one for each claim; data of a version that did not may have more.
    claims: OrdSet<(Claim, Key)>,
    /// What the histories of all tables hold together.
    held: Held,
}

impl State {
    /// The state that a store's records make, at the store's `revision`.
    pub fn restored(revision: Revision, objects: impl IntoIterator<Item = Arc<Stored>>) -> Self {
        let mut state = Self { revision, began: revision, ..Self::default() };
        for stored in objects {
            state.index(&stored, None);
            state.table_mut(&stored.key.resource).insert(&stored, None);
        }
        state
    }

    /// The revision of the last published change.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Takes in one durable change. Changes must come in order, each once.
    ///
    /// # Panics
    /// When `change` is not newer than the state: whoever feeds this replica has lost its place.
    pub fn publish(&mut self, change: Arc<Change>) {
        assert!(change.revision > self.revision, "change {} published twice", change.revision);
        self.revision = change.revision;
        match (&change.old, &change.new) {
            (old, Some(new)) => self.index(new, old.as_deref()),
            (Some(old), None) => self.unindex(old),
            (None, None) => {}
        }
        self.held.changes += 1;
        self.held.bytes += change.bytes_held();
        let table = self.table_mut(&change.key.resource);
        match (&change.old, &change.new) {
            (old, Some(new)) => table.insert(new, old.as_deref()),
            (Some(old), None) => table.remove(old),
            (None, None) => {}
        }
        table.push(change);
        self.forget_what_is_too_much();
    }

    /// Everything up to `revision` is known, though nothing of it is left to see.
    pub fn reach(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }

    /// The object of that name.
    pub fn get(&self, key: &Key) -> Option<&Arc<Stored>> {
        self.tables.get(&key.resource)?.get(key)
    }

    /// The object with that uid.
    pub fn by_uid(&self, uid: &str) -> Option<&Arc<Stored>> {
        self.by_uid.get(uid).and_then(|key| self.get(key))
    }

    /// The objects that name `uid` in an owner reference, sorted by key.
    pub fn dependents<'a>(&'a self, uid: &str) -> impl Iterator<Item = &'a Arc<Stored>> + use<'a> {
        let uid: Arc<str> = uid.into();
        let first = (uid.clone(), Key::new("", "", ""));
        let entries = self.dependents.range(first..).take_while(move |(owner, _)| *owner == uid);
        entries.filter_map(|(_, key)| self.get(key))
    }

    /// Who has a claim: as a rule one, or nobody.
    pub fn claimed_by<'a>(&'a self, claim: &str) -> impl Iterator<Item = &'a Key> + use<'a> {
        let claim: Claim = claim.into();
        let first = (claim.clone(), Key::new("", "", ""));
        self.claims.range(first..).take_while(move |(held, _)| *held == claim).map(|(_, key)| key)
    }

    /// The claims that several objects have, each with two of these: they were written by a version that did not look.
    pub fn contested(&self) -> impl Iterator<Item = (&Claim, &Key, &Key)> {
        let pairs = self.claims.iter().zip(self.claims.iter().skip(1));
        pairs.filter(|(one, other)| one.0 == other.0).map(|(one, other)| (&one.0, &one.1, &other.1))
    }

    /// The objects of a resource whose indexed field has that value, sorted by key.
    ///
    /// # Panics
    /// In debug builds, when the kind has no index over the field: a bug of the caller.
    pub fn by_field<'a>(
        &'a self,
        resource: &str,
        field: &'static str,
        value: &str,
    ) -> impl Iterator<Item = &'a Arc<Stored>> + use<'a> {
        let table = self.tables.get(resource);
        debug_assert!(table.is_none_or(|table| table.indexes(field)), "{resource} has no index on {field}");
        table.map(|table| table.by_field(field, value)).into_iter().flatten()
    }

    /// The objects of a resource, in one namespace or (with an empty one) in all, sorted by key.
    pub fn list<'a>(
        &'a self,
        resource: &str,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Stored>> + use<'a> {
        self.list_after(&Key::new(resource, namespace, ""), namespace)
    }

    /// The objects of `from`'s resource that come after `from`, in `namespace` or (with an empty one) in all.
    pub fn list_after<'a>(
        &'a self,
        from: &Key,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Stored>> + use<'a> {
        self.tables.get(&from.resource).map(|table| table.after(from, namespace)).into_iter().flatten()
    }

    /// The revision of the last change of a resource's objects, or with which this state began.
    pub fn revision_of(&self, resource: &str) -> Revision {
        self.tables.get(resource).map_or(self.began, |table| table.revision)
    }

    /// What `list` gave at an earlier `revision`, sorted by key; `None` when that is too long ago (410 Expired).
    pub fn list_at(&self, revision: Revision, resource: &str, namespace: &str) -> Option<Vec<Arc<Stored>>> {
        match self.tables.get(resource) {
            Some(table) => table.list_at(revision, namespace),
            None => (revision >= self.began).then(Vec::new),
        }
    }

    /// The changes of one resource after `revision`, oldest first; `None` when some of them are forgotten.
    pub fn changes_of(
        &self,
        resource: &str,
        revision: Revision,
    ) -> Option<impl Iterator<Item = &Arc<Change>>> {
        if revision < self.complete_after_of(resource) {
            return None;
        }
        let table = self.tables.get(resource).filter(|table| table.revision > revision);
        Some(table.and_then(|table| table.history.after(revision)).into_iter().flatten())
    }

    /// The change that brought a resource to `revision`, unless it is forgotten.
    pub fn change_of(&self, resource: &str, revision: Revision) -> Option<&Arc<Change>> {
        self.tables.get(resource)?.history.at(revision)
    }

    /// The changes of all resources after `revision`, oldest first; `None` when some of them are forgotten.
    pub fn changes_after(&self, revision: Revision) -> Option<Vec<&Arc<Change>>> {
        if revision < self.began {
            return None;
        }
        let mut all = Vec::new();
        for (_, table) in self.tables.iter().filter(|(_, table)| table.revision > revision) {
            all.extend(table.history.after(revision)?);
        }
        all.sort_unstable_by_key(|change| change.revision);
        Some(all)
    }

    /// The revision after which every change of a resource is still known.
    pub fn complete_after_of(&self, resource: &str) -> Revision {
        self.tables.get(resource).map_or(self.began, |table| table.history.complete_after())
    }

    /// The revision after which every change is still known.
    pub fn complete_after(&self) -> Revision {
        let tables = self.tables.values().map(|table| table.history.complete_after());
        tables.max().unwrap_or_default().max(self.began)
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.tables.values().map(Table::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every object, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.tables.values().flat_map(Table::iter)
    }

    fn table_mut(&mut self, resource: &ResourceName) -> &mut Table {
        let began = self.began;
        self.tables.entry(resource.clone()).or_insert_with(|| Table::starting_after(began))
    }

    fn index(&mut self, new: &Stored, old: Option<&Stored>) {
        self.move_claims(&new.key, old.map_or(&[], Stored::claims), new.claims());
        let is_same = |old: &Stored| {
            old.meta().uid == new.meta().uid && old.meta().owner_references == new.meta().owner_references
        };
        if old.is_some_and(is_same) {
            return;
        }
        old.into_iter().for_each(|old| self.unindex_owners(old));
        self.by_uid.insert(Arc::from(&*new.meta().uid), new.key.clone());
        for owner in &new.meta().owner_references {
            self.dependents.insert((Arc::from(&*owner.uid), new.key.clone()));
        }
    }

    fn unindex(&mut self, old: &Stored) {
        self.move_claims(&old.key, old.claims(), &[]);
        self.unindex_owners(old);
    }

    fn move_claims(&mut self, key: &Key, old: &[Claim], new: &[Claim]) {
        if old == new {
            return;
        }
        for claim in old {
            self.claims.remove(&(claim.clone(), key.clone()));
        }
        for claim in new {
            self.claims.insert((claim.clone(), key.clone()));
        }
    }

    fn unindex_owners(&mut self, old: &Stored) {
        self.by_uid.remove(&*old.meta().uid);
        for owner in &old.meta().owner_references {
            self.dependents.remove(&(Arc::from(&*owner.uid), old.key.clone()));
        }
    }

    /// Brings the histories back within what they may hold: the one that holds most forgets first.
    fn forget_what_is_too_much(&mut self) {
        while self.held.is_too_much() {
            let share = |table: &Table| table.history.held().share();
            // Those that keep the little that each may keep cannot give any.
            let givers = self.tables.iter().filter(|(_, table)| table.history.can_forget());
            let largest = givers.max_by(|a, b| share(a.1).total_cmp(&share(b.1)));
            let Some(resource) = largest.map(|(resource, _)| resource.clone()) else { return };
            let Some(gone) = self.table_mut(&resource).history.forget_oldest() else { return };
            self.held.changes -= 1;
            self.held.bytes -= gone.bytes_held();
        }
    }
}
