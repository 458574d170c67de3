//! The objects of one resource, the indexes over them, and their recent history.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::history::History;
use crate::stored::StoredField;
use crate::{Change, Key, Revision, Stored};

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
    field: Cow<'static, str>,
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
        let first = Indexed { field: field.into(), value: value.into(), place: Place::before("") };
        let wanted = first.value.clone();
        let range = (Bound::Included(first), Bound::Unbounded);
        let entries = self.by_field.range(range);
        let same = move |entry: &&Indexed| entry.field == field && entry.value == wanted;
        entries.take_while(same).filter_map(|entry| self.objects.get(&entry.place))
    }

    /// Whether the kind has an index over the field, as far as its objects show it.
    pub(crate) fn indexes(&self, field: &str) -> bool {
        let first = self.objects.values().next();
        first.is_none_or(|stored| stored.fields().iter().any(|known| known.name == field && known.is_indexed))
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
    let fields = stored.fields().iter().filter(|field| field.is_indexed && !field.value.is_empty());
    fields.map(|StoredField { name, value, .. }| Indexed {
        field: name.clone(),
        value: Arc::from(&**value),
        place: place.clone(),
    })
}
