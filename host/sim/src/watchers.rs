//! Clients that watch: each change once, in order, across disconnections and restarts of the server.

use berth_state::{Revision, State};

use crate::oracle::Oracle;

/// A watch with a picture of what it watches.
pub(crate) struct Watcher {
    /// Empty: everything.
    resource: &'static str,
    /// Everything up to here was delivered; `None` before the first list.
    upto: Option<Revision>,
    /// How many times it had to list.
    pub(crate) lists: u64,
    /// How many changes it saw.
    pub(crate) seen: u64,
}

impl Watcher {
    pub(crate) fn new(resource: &'static str) -> Self {
        Self { resource, upto: None, lists: 0, seen: 0 }
    }

    /// Takes in what the server has, up to `limit` changes; whether there is more.
    pub(crate) fn deliver(&mut self, state: &State, oracle: &Oracle, limit: usize) -> bool {
        if self.upto.is_some_and(|upto| upto > state.revision()) {
            return true; // another server, which does not know of it yet: it would answer that the version is too large
        }
        let changes = self.upto.and_then(|upto| Some((upto, state.changes_after(upto)?)));
        let Some((after, changes)) = changes else {
            self.list(state, oracle);
            return false;
        };
        let mut taken = Vec::new();
        let mut upto = after;
        let mut more = false;
        for change in changes {
            if taken.len() == limit {
                more = true;
                break;
            }
            upto = change.revision;
            if self.resource.is_empty() || *change.key.resource == *self.resource {
                taken.push(change);
            }
        }
        let watches = |key: &berth_state::Key| self.resource.is_empty() || *key.resource == *self.resource;
        let expected = oracle.between(after, upto).iter().filter(|change| watches(&change.key));
        let expected: Vec<Revision> = expected.map(|change| change.revision).collect();
        let got: Vec<Revision> = taken.iter().map(|change| change.revision).collect();
        assert_eq!(got, expected, "a watch of {} after {after}", self.resource);
        assert!(got.is_sorted_by(|a, b| a < b), "a watch goes forward");
        self.seen += got.len() as u64;
        self.upto = Some(upto);
        more
    }

    fn list(&mut self, state: &State, oracle: &Oracle) {
        let listed: Vec<(&str, Revision)> = if self.resource.is_empty() {
            state.iter().map(|stored| (&*stored.key.name, stored.revision)).collect()
        } else {
            state.list(self.resource, "").map(|stored| (&*stored.key.name, stored.revision)).collect()
        };
        let expected = oracle.list_at(self.resource, state.revision());
        let expected = expected.iter().map(|stored| (&*stored.key.name, stored.revision));
        assert!(listed.into_iter().eq(expected), "a list of {} at {}", self.resource, state.revision());
        self.lists += 1;
        self.upto = Some(state.revision());
    }
}
