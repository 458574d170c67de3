//! What must be true of every durable change, kept apart from the code that is being tried.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use berth_api::Catalogue;
use berth_pipeline::Answer;
use berth_state::{Change, Key, Revision, State, Stored};

use crate::invariants::{Holdings, Leadership, Placements};
use crate::servers::holder_of;

/// A finalizer that only clients of the simulation set and take away.
pub(crate) const HOLD: &str = "sim.berth.dev/hold";

/// Everything the disk has ever taken, and the objects that result.
pub(crate) struct Oracle {
    catalogue: Arc<Catalogue>,
    journal: Vec<Arc<Change>>,
    objects: BTreeMap<Key, Arc<Stored>>,
    placements: Placements,
    leadership: Leadership,
    holdings: Holdings,
    uids: BTreeSet<Box<str>>,
    /// Objects whose hold a client has asked to be taken away.
    released: BTreeSet<Key>,
}

impl Oracle {
    pub(crate) fn new(catalogue: Arc<Catalogue>) -> Self {
        let (journal, objects, released) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        Self {
            catalogue,
            journal,
            objects,
            placements: Placements::default(),
            leadership: Leadership::default(),
            holdings: Holdings::default(),
            uids: BTreeSet::new(),
            released,
        }
    }

    pub(crate) fn revision(&self) -> Revision {
        self.journal.last().map(|change| change.revision).unwrap_or_default()
    }

    pub(crate) fn release(&mut self, key: Key) {
        self.released.insert(key);
    }

    /// The disk took a change: it follows the one before, replaces what is there, and breaks no promise.
    pub(crate) fn took(&mut self, change: &Arc<Change>, server: usize, life: u64) {
        self.leadership.check(change, &holder_of(server, life));
        assert_eq!(
            change.revision,
            self.revision().next(),
            "revisions rise one by one in the order of commits"
        );
        let before = self.objects.get(&change.key);
        let is_same = match (before, &change.old) {
            (None, None) => true,
            (Some(before), Some(old)) => before.revision == old.revision && before.bytes() == old.bytes(),
            _ => false,
        };
        assert!(is_same, "change {} of {} does not replace what is durable", change.revision, change.key);
        self.check_finalizers(change);
        self.check_namespace(change);
        if let (None, Some(new)) = (&change.old, &change.new) {
            assert!(
                self.uids.insert(new.meta().uid.clone()),
                "{} has the uid of an earlier object",
                change.key
            );
        }
        self.placements.took(change);
        self.leadership.took(change);
        self.holdings.took(change);
        match &change.new {
            Some(new) => self.objects.insert(change.key.clone(), new.clone()),
            None => self.objects.remove(&change.key),
        };
        self.journal.push(change.clone());
    }

    fn check_finalizers(&self, change: &Change) {
        let (Some(old), None) = (&change.old, &change.new) else { return };
        let held = old.meta().finalizers.iter().any(|finalizer| &**finalizer == HOLD);
        assert!(
            !held || self.released.contains(&change.key),
            "{} went although its finalizer {HOLD} was not taken away",
            change.key
        );
        let others = old.meta().finalizers.iter().filter(|finalizer| &***finalizer != HOLD).count();
        assert!(others <= 1, "{} went with finalizers {:?}", change.key, old.meta().finalizers);
    }

    /// Nothing is made in a namespace that is not there, and none goes before it is empty.
    fn check_namespace(&self, change: &Change) {
        let namespace = &change.key.namespace;
        if change.old.is_none() && !namespace.is_empty() {
            let key = Key::new("namespaces", "", namespace.clone());
            assert!(self.objects.contains_key(&key), "{} was made in a namespace that is gone", change.key);
        }
        if change.new.is_none() && &*change.key.resource == "namespaces" {
            let left = self.objects.keys().find(|key| key.namespace == change.key.name);
            assert!(left.is_none(), "{} went with {left:?} in it", change.key);
        }
    }

    /// A state has what was durable at its revision: nothing is lost, nothing else is there.
    pub(crate) fn check_equal(&self, state: &State, whose: &str) {
        let objects = self.objects_at(state.revision());
        assert_eq!(state.len(), objects.len(), "{whose} has another number of objects than the disk");
        for (stored, (key, durable)) in state.iter().zip(&objects) {
            let is_same = stored.key == *key
                && stored.revision == durable.revision
                && (Arc::ptr_eq(stored, durable) || stored.bytes() == durable.bytes());
            assert!(
                is_same,
                "{whose} has {} at {}, the disk {key} at {}",
                stored.key, stored.revision, durable.revision
            );
        }
    }

    /// What a server publishes is durable, and nothing between `seen` and there is left out.
    pub(crate) fn check_published(&self, state: &State, seen: Revision, server: usize) {
        let upto = state.revision();
        assert!(upto <= self.revision(), "server {server} shows {upto}, the disk is at {}", self.revision());
        assert!(upto > seen, "server {server} went from {seen} back to {upto}");
        if seen == Revision(0) {
            return self.check_equal(state, &format!("server {server}, just started,"));
        }
        let mut last = BTreeMap::new();
        for change in self.between(seen, upto) {
            last.insert(&change.key, change.new.as_ref().map(|new| new.revision));
        }
        for (key, revision) in last {
            let found = state.get(key).map(|stored| stored.revision);
            assert_eq!(found, revision, "server {server} at {upto} has another {key} than the disk");
        }
    }

    fn objects_at(&self, revision: Revision) -> BTreeMap<Key, Arc<Stored>> {
        let mut objects = self.objects.clone();
        for change in self.between(revision, self.revision()).iter().rev() {
            match &change.old {
                Some(old) => objects.insert(change.key.clone(), old.clone()),
                None => objects.remove(&change.key),
            };
        }
        objects
    }

    /// How often a lease came to another process.
    pub(crate) fn leaders(&self) -> u64 {
        self.leadership.changes
    }

    /// A write that was answered with success is durable, and is what was answered.
    pub(crate) fn check_acknowledged(&self, key: &Key, answer: &Answer) {
        let object = answer.object();
        let Some(revision) =
            object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok())
        else {
            return;
        };
        let resource = self.catalogue.named(&key.resource).expect("a served kind");
        if object["kind"] != resource.kind.as_str() {
            return; // a Scale shows another kind with the object's revision
        }
        let change = self.at(Revision(revision));
        let change =
            change.unwrap_or_else(|| panic!("{key} was acknowledged at {revision}, which is not durable"));
        let durable = change.new.as_ref().map(|stored| stored.to_value(resource));
        let present = self.objects.get(key).map(|stored| &*stored.meta().uid);
        let is_gone = present != object["metadata"]["uid"].as_str();
        // A deletion is answered with the object as it would have been: marked, though nothing is left to mark.
        assert!(
            is_gone || durable.as_ref() == Some(&*object),
            "{key} was acknowledged otherwise than it is durable"
        );
    }

    fn at(&self, revision: Revision) -> Option<&Arc<Change>> {
        let index = self.journal.binary_search_by_key(&revision, |change| change.revision).ok()?;
        Some(&self.journal[index])
    }

    /// The durable changes after `after` up to `upto`.
    pub(crate) fn between(&self, after: Revision, upto: Revision) -> &[Arc<Change>] {
        let start = self.journal.partition_point(|change| change.revision <= after);
        let end = self.journal.partition_point(|change| change.revision <= upto);
        &self.journal[start..end.max(start)]
    }

    /// What a list of `resource` at a revision must show.
    pub(crate) fn list_at(&self, resource: &str, revision: Revision) -> Vec<Arc<Stored>> {
        let objects = self.objects_at(revision).into_values();
        objects.filter(|stored| resource.is_empty() || *stored.key.resource == *resource).collect()
    }
}
