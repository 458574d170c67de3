//! All objects as they are now, the indexes over them, and the recent history.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use crate::{Change, History, Key, Revision, Stored};

/// Fields with an index, so that "the pods of a node" does not read all pods.
const INDEXED_FIELDS: &[(&str, &str)] = &[
    ("pods", "spec.nodeName"),
    ("services", "spec.clusterIP"),
    ("events", "involvedObject.uid"),
    ("secrets", "type"),
];

/// Resource, field, value.
type FieldValue = (Box<str>, &'static str, Box<str>);

/// The objects of a cluster at one revision.
///
/// Rebuilt from a store with [`State::restored`], then kept up with [`State::publish`]. A replica that is fed the same
/// changes is equal; the objects themselves are shared between replicas.
#[derive(Debug, Default)]
pub struct State {
    revision: Revision,
    objects: BTreeMap<Key, Arc<Stored>>,
    by_uid: HashMap<Box<str>, Key>,
    dependents: HashMap<Box<str>, BTreeSet<Key>>,
    by_field: HashMap<FieldValue, BTreeSet<Key>>,
    history: History,
}

impl State {
    /// The state that a store's records make, at the store's `revision`.
    pub fn restored(revision: Revision, objects: impl IntoIterator<Item = Arc<Stored>>) -> Self {
        let mut state = Self { revision, history: History::starting_after(revision), ..Self::default() };
        for stored in objects {
            state.index(&stored);
            state.objects.insert(stored.key.clone(), stored);
        }
        state
    }

    /// A copy that shares the objects but begins its own history.
    pub fn replica(&self) -> Self {
        Self::restored(self.revision, self.objects.values().cloned())
    }

    /// The revision of the last published change.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The recent changes.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Takes in one durable change. Changes must come in order, each once.
    ///
    /// # Panics
    /// When `change` is not newer than the state: whoever feeds this replica has lost its place.
    pub fn publish(&mut self, change: Arc<Change>) {
        assert!(change.revision > self.revision, "change {} published twice", change.revision);
        self.revision = change.revision;
        if let Some(old) = &change.old {
            self.unindex(old);
        }
        match &change.new {
            Some(new) => {
                self.index(new);
                self.objects.insert(change.key.clone(), new.clone());
            }
            None => {
                self.objects.remove(&change.key);
            }
        }
        self.history.push(change);
    }

    /// The object of that name.
    pub fn get(&self, key: &Key) -> Option<&Arc<Stored>> {
        self.objects.get(key)
    }

    /// The object with that uid.
    pub fn by_uid(&self, uid: &str) -> Option<&Arc<Stored>> {
        self.by_uid.get(uid).and_then(|key| self.objects.get(key))
    }

    /// The objects that name `uid` in an owner reference, sorted by key.
    pub fn dependents<'a>(&'a self, uid: &str) -> impl Iterator<Item = &'a Arc<Stored>> + 'a {
        self.dependents.get(uid).into_iter().flatten().filter_map(|key| self.objects.get(key))
    }

    /// The objects of a resource whose indexed field has that value, sorted by key.
    ///
    /// # Panics
    /// When the field is not in the list of indexed fields: a bug of the caller.
    pub fn by_field<'a>(
        &'a self,
        resource: &str,
        field: &'static str,
        value: &str,
    ) -> impl Iterator<Item = &'a Arc<Stored>> + 'a {
        assert!(INDEXED_FIELDS.contains(&(resource, field)), "{resource} has no index on {field}");
        let keys = self.by_field.get(&(resource.into(), field, value.into()));
        keys.into_iter().flatten().filter_map(|key| self.objects.get(key))
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
        let resource = from.resource.clone();
        self.objects
            .range((Bound::Excluded(from), Bound::Unbounded))
            .take_while(move |(key, _)| {
                key.resource == resource && (namespace.is_empty() || *key.namespace == *namespace)
            })
            .map(|(_, stored)| stored)
    }

    /// What `list` gave at an earlier `revision`, sorted by key; `None` when that is too long ago (410 Expired).
    pub fn list_at(&self, revision: Revision, resource: &str, namespace: &str) -> Option<Vec<Arc<Stored>>> {
        let mut objects: BTreeMap<&Key, Arc<Stored>> =
            self.list(resource, namespace).map(|stored| (&stored.key, stored.clone())).collect();
        for change in self.history.after(revision)?.rev() {
            let key = &change.key;
            if *key.resource != *resource || !(namespace.is_empty() || *key.namespace == *namespace) {
                continue;
            }
            match &change.old {
                Some(old) => objects.insert(key, old.clone()),
                None => objects.remove(key),
            };
        }
        Some(objects.into_values().collect())
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Every object, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.objects.values()
    }

    fn index(&mut self, stored: &Stored) {
        let meta = stored.meta();
        self.by_uid.insert(meta.uid.clone(), stored.key.clone());
        for owner in &meta.owner_references {
            self.dependents.entry(owner.uid.clone()).or_default().insert(stored.key.clone());
        }
        for (resource, field, value) in indexed(stored) {
            self.by_field.entry((resource, field, value)).or_default().insert(stored.key.clone());
        }
    }

    fn unindex(&mut self, stored: &Stored) {
        let meta = stored.meta();
        self.by_uid.remove(&meta.uid);
        for owner in &meta.owner_references {
            remove_from(&mut self.dependents, &owner.uid, &stored.key);
        }
        for index in indexed(stored) {
            remove_from(&mut self.by_field, &index, &stored.key);
        }
    }
}

fn indexed(stored: &Stored) -> impl Iterator<Item = FieldValue> + '_ {
    let wanted = |field: &str| INDEXED_FIELDS.contains(&(&*stored.key.resource, field));
    let fields = stored.fields().iter().filter(move |(field, value)| wanted(field) && !value.is_empty());
    fields.map(|(field, value)| (Box::from(&*stored.key.resource), *field, value.clone()))
}

fn remove_from<K: std::hash::Hash + Eq>(map: &mut HashMap<K, BTreeSet<Key>>, at: &K, key: &Key) {
    if let Some(keys) = map.get_mut(at) {
        keys.remove(key);
        if keys.is_empty() {
            map.remove(at);
        }
    }
}
