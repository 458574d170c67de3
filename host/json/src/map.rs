//! An object: entries sorted by key.

use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::{iter, mem, slice, vec};

use crate::{Text, Value};

/// Entries up to which a map is one list. Nearly all are: the widest type of Kubernetes (a pod's spec) has 40 fields. A
/// longer one (a ConfigMap's data) is a tree, so that no order in which a client sends its keys makes inserting slow.
const LISTED_MAX: usize = 64;
/// Entries among which a key is sought one by one: comparing lengths rules most of them out faster than halving would.
const SCANNED_MAX: usize = 16;

/// An object's entries, sorted by key.
#[derive(Clone, Default)]
pub struct Map(Entries);

#[derive(Clone)]
enum Entries {
    List(Vec<(Text, Value)>),
    Tree(BTreeMap<Text, Value>),
}

impl Default for Entries {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl Map {
    /// An empty map.
    pub const fn new() -> Self {
        Self(Entries::List(Vec::new()))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Entries::List(list) => list.len(),
            Entries::Tree(tree) => tree.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match &self.0 {
            Entries::List(list) => find(list, key).map(|at| &list[at].1),
            Entries::Tree(tree) => tree.get(key),
        }
    }

    /// The value of a key, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        match &mut self.0 {
            Entries::List(list) => find(list, key).map(|at| &mut list[at].1),
            Entries::Tree(tree) => tree.get_mut(key),
        }
    }

    /// Whether the key is there.
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Puts a value at a key; returns the one that was there.
    pub fn insert(&mut self, key: impl Into<Text>, value: Value) -> Option<Value> {
        let key = key.into();
        self.make_room_for(&key);
        match &mut self.0 {
            Entries::List(list) => match place(list, &key) {
                Ok(at) => Some(mem::replace(&mut list[at].1, value)),
                Err(at) => {
                    list.insert(at, (key, value));
                    None
                }
            },
            Entries::Tree(tree) => tree.insert(key, value),
        }
    }

    /// Takes a key's value out.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        match &mut self.0 {
            Entries::List(list) => find(list, key).map(|at| list.remove(at).1),
            Entries::Tree(tree) => tree.remove(key),
        }
    }

    /// The place of a key, taken or free.
    pub fn entry(&mut self, key: impl Into<Text>) -> Entry<'_> {
        Entry { map: self, key: key.into() }
    }

    /// Keeps the entries for which `keep` says true.
    pub fn retain(&mut self, mut keep: impl FnMut(&Text, &mut Value) -> bool) {
        match &mut self.0 {
            Entries::List(list) => list.retain_mut(|(key, value)| keep(key, value)),
            Entries::Tree(tree) => tree.retain(keep),
        }
    }

    /// The entries, sorted by key.
    pub fn iter(&self) -> Iter<'_> {
        match &self.0 {
            Entries::List(list) => Iter(Either::List(list.iter())),
            Entries::Tree(tree) => Iter(Either::Tree(tree.iter())),
        }
    }

    /// The entries, their values to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Text, &mut Value)> {
        match &mut self.0 {
            Entries::List(list) => Either::List(list.iter_mut().map(|(key, value)| (&*key, value))),
            Entries::Tree(tree) => Either::Tree(tree.iter_mut()),
        }
    }

    /// The keys, sorted.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &Text> {
        self.iter().map(|(key, _)| key)
    }

    /// The values, sorted by key.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Value> {
        self.iter().map(|(_, value)| value)
    }

    /// The values, to change them.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        self.iter_mut().map(|(_, value)| value)
    }

    /// A map of entries in any order; of those with the same key the last one counts.
    pub(crate) fn from_entries(mut entries: Vec<(Text, Value)>) -> Self {
        if !entries.is_sorted_by(|before, after| before.0 < after.0) {
            // The last of a kind becomes its first, which is the one that is kept.
            entries.reverse();
            entries.sort_by(|before, after| before.0.cmp(&after.0));
            entries.dedup_by(|later, first| later.0 == first.0);
        }
        Self(if entries.len() <= LISTED_MAX { Entries::List(entries) } else { tree_of(entries) })
    }

    /// Makes a full list a tree before a further key is put in.
    fn make_room_for(&mut self, key: &str) {
        if let Entries::List(list) = &mut self.0
            && list.len() == LISTED_MAX
            && find(list, key).is_none()
        {
            self.0 = tree_of(mem::take(list));
        }
    }
}

fn tree_of(sorted: Vec<(Text, Value)>) -> Entries {
    Entries::Tree(sorted.into_iter().collect())
}

/// Where the key stands.
fn find(list: &[(Text, Value)], key: &str) -> Option<usize> {
    if list.len() <= SCANNED_MAX {
        return list.iter().position(|(here, _)| here == key);
    }
    list.binary_search_by(|(here, _)| here.as_str().cmp(key)).ok()
}

/// Where the key stands, or where it belongs. Most keys come in their order: the end is looked at first.
fn place(list: &[(Text, Value)], key: &str) -> Result<usize, usize> {
    if list.last().is_none_or(|(last, _)| last.as_str() < key) {
        return Err(list.len());
    }
    list.binary_search_by(|(here, _)| here.as_str().cmp(key))
}

/// The place of a key in a map, taken or free.
pub struct Entry<'m> {
    map: &'m mut Map,
    key: Text,
}

impl<'m> Entry<'m> {
    /// The value there; `value` when it is free.
    pub fn or_insert(self, value: Value) -> &'m mut Value {
        self.or_insert_with(|| value)
    }

    /// The value there; what `make` makes when it is free.
    pub fn or_insert_with(self, make: impl FnOnce() -> Value) -> &'m mut Value {
        self.map.make_room_for(&self.key);
        match &mut self.map.0 {
            Entries::List(list) => {
                let at = place(list, &self.key).unwrap_or_else(|at| {
                    list.insert(at, (self.key, make()));
                    at
                });
                &mut list[at].1
            }
            Entries::Tree(tree) => tree.entry(self.key).or_insert_with(make),
        }
    }
}

/// One of the two ways in which entries are walked.
#[derive(Clone)]
enum Either<L, T> {
    List(L),
    Tree(T),
}

impl<I, L: Iterator<Item = I>, T: Iterator<Item = I>> Iterator for Either<L, T> {
    type Item = I;

    fn next(&mut self) -> Option<I> {
        match self {
            Self::List(list) => list.next(),
            Self::Tree(tree) => tree.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::List(list) => list.size_hint(),
            Self::Tree(tree) => tree.size_hint(),
        }
    }
}

/// The entries of a [`Map`], sorted by key.
#[derive(Clone)]
pub struct Iter<'m>(Either<slice::Iter<'m, (Text, Value)>, btree_map::Iter<'m, Text, Value>>);

impl<'m> Iterator for Iter<'m> {
    type Item = (&'m Text, &'m Value);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Either::List(list) => list.next().map(|(key, value)| (key, value)),
            Either::Tree(tree) => tree.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Either::List(list) => list.size_hint(),
            Either::Tree(tree) => tree.size_hint(),
        }
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Either::List(list) => list.next_back().map(|(key, value)| (key, value)),
            Either::Tree(tree) => tree.next_back(),
        }
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'m> IntoIterator for &'m Map {
    type Item = (&'m Text, &'m Value);
    type IntoIter = Iter<'m>;

    fn into_iter(self) -> Iter<'m> {
        self.iter()
    }
}

/// The entries of a [`Map`] that is no more.
pub struct IntoIter(Either<vec::IntoIter<(Text, Value)>, btree_map::IntoIter<Text, Value>>);

impl Iterator for IntoIter {
    type Item = (Text, Value);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl IntoIterator for Map {
    type Item = (Text, Value);
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter(match self.0 {
            Entries::List(list) => Either::List(list.into_iter()),
            Entries::Tree(tree) => Either::Tree(tree.into_iter()),
        })
    }
}

impl<K: Into<Text>, V: Into<Value>> FromIterator<(K, V)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self::from_entries(entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl<K: Into<Text>, V: Into<Value>> Extend<(K, V)> for Map {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        entries.into_iter().for_each(|(key, value)| drop(self.insert(key, value.into())));
    }
}

impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && iter::zip(self, other).all(|(mine, theirs)| mine == theirs)
    }
}

impl Eq for Map {}

/// As JSON.
impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}
