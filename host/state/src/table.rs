//! The objects of one resource, the indexes over them, and their recent history.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::history::History;
use crate::{Change, Key, Revision, Stored};

/// Fields with an index, so that "the pods of a node" does not read all pods.
const INDEXED_FIELDS: &[(&str, &str)] = &[
    ("pods", "spec.nodeName"),
    ("services", "spec.clusterIP"),
    ("events", "involvedObject.uid"),
    ("secrets", "type"),
];

/// Whether a field of a resource has an index.
pub(crate) fn is_indexed(resource: &str, field: &str) -> bool {
    INDEXED_FIELDS.contains(&(resource, field))
}

/// Where an object stands in its table: the order in which the API lists objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    namespace: Arc<str>,
    name: Arc<str>,
}

impl Place {
    pub(crate) fn of(key: &Key) -> Self {
        Self { namespace: key.namespace.clone(), name: key.name.clone() }
    }

    /// Before every object of a namespace, and with an empty one before all.
    fn before(namespace: &str) -> Self {
        Self { namespace: namespace.into(), name: Arc::default() }
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        // Objects of one namespace mostly share its text, and then nothing is compared.
        let namespaces = match Arc::ptr_eq(&self.namespace, &other.namespace) {
            true => Ordering::Equal,
            false => self.namespace.cmp(&other.namespace),
        };
        namespaces.then_with(|| self.name.cmp(&other.name))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// One object under one value of an indexed field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Indexed {
    field: &'static str,
    value: Arc<str>,
    place: Place,
}

/// The objects of one resource. A clone shares everything and costs nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    objects: OrdMap<Place, Arc<Stored>>,
    by_field: OrdSet<Indexed>,
    pub(crate) history: History,
    /// The revision of the last change.
    pub(crate) revision: Revision,
}

impl Table {
    /// A table whose history begins after `revision`.
    pub(crate) fn starting_after(revision: Revision) -> Self {
        Self { history: History::starting_after(revision), revision, ..Self::default() }
    }

    pub(crate) fn insert(&mut self, new: &Arc<Stored>, old: Option<&Stored>) {
        let place = Place::of(&new.key);
        if old.is_none_or(|old| old.fields() != new.fields()) {
            old.into_iter().for_each(|old| self.unindex(old));
            for entry in entries(new, &place) {
                self.by_field.insert(entry);
            }
        }
        self.objects.insert(place, new.clone());
    }

    pub(crate) fn remove(&mut self, old: &Stored) {
        self.unindex(old);
        self.objects.remove(&Place::of(&old.key));
    }

    pub(crate) fn push(&mut self, change: Arc<Change>) {
        self.revision = change.revision;
        self.history.push(change);
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Stored>> {
        self.objects.get(&Place::of(key))
    }

    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.objects.values()
    }

    /// The objects after `key`, in `namespace` or (with an empty one) in all.
    pub(crate) fn after<'a>(
        &'a self,
        key: &Key,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Stored>> + use<'a> {
        let range = (Bound::Excluded(Place::of(key)), Bound::Unbounded);
        let objects = self.objects.range(range);
        let within = move |place: &Place| namespace.is_empty() || *place.namespace == *namespace;
        objects.take_while(move |(place, _)| within(place)).map(|(_, stored)| stored)
    }

    /// The objects whose indexed field has that value, sorted by key.
    pub(crate) fn by_field<'a>(
        &'a self,
        field: &'static str,
        value: &str,
    ) -> impl Iterator<Item = &'a Arc<Stored>> + use<'a> {
        let first = Indexed { field, value: value.into(), place: Place::before("") };
        let wanted = first.value.clone();
        let range = (Bound::Included(first), Bound::Unbounded);
        let entries = self.by_field.range(range);
        let same = move |entry: &&Indexed| entry.field == field && entry.value == wanted;
        entries.take_while(same).filter_map(|entry| self.objects.get(&entry.place))
    }

    /// The objects as they were at an earlier `revision`; `None` when that is forgotten.
    pub(crate) fn list_at(&self, revision: Revision, namespace: &str) -> Option<Vec<Arc<Stored>>> {
        let mut objects = self.objects.clone();
        for change in self.history.after(revision)?.rev() {
            let place = Place::of(&change.key);
            match &change.old {
                Some(old) => objects.insert(place, old.clone()),
                None => objects.remove(&place),
            };
        }
        let within = |place: &Place| namespace.is_empty() || *place.namespace == *namespace;
        let from = objects.range(Place::before(namespace)..);
        Some(from.take_while(|(place, _)| within(place)).map(|(_, stored)| stored.clone()).collect())
    }

    fn unindex(&mut self, old: &Stored) {
        for entry in entries(old, &Place::of(&old.key)) {
            self.by_field.remove(&entry);
        }
    }
}

fn entries(stored: &Stored, place: &Place) -> impl Iterator<Item = Indexed> {
    let wanted = |field: &str| is_indexed(&stored.key.resource, field);
    let fields = stored.fields().iter().filter(move |(field, value)| wanted(field) && !value.is_empty());
    fields.map(|(field, value)| Indexed { field, value: Arc::from(&**value), place: place.clone() })
}
