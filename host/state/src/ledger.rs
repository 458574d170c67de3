//! Turning commits into changes: preconditions are checked and revisions given here, by one writer.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use berth_api::resource::Claim;

use crate::{Change, Draft, Key, Revision, State, Stored};

/// Writes that happen all or not at all.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// What is written, in this order.
    pub ops: Vec<Op>,
    /// What must still be true of the writer, beyond the objects it writes.
    pub fence: Option<Fence>,
    /// Objects that must still be there, though they are not written: the namespace of a new object.
    pub needs: Vec<Need>,
}

/// An object a commit relies on: that it is there, and stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Which object.
    pub key: Key,
    /// Its uid: one of the same name that came later is another one.
    pub uid: Box<str>,
}

/// One object is written or deleted, if it is still what the writer saw.
#[derive(Clone, Debug)]
pub struct Op {
    /// Which object.
    pub key: Key,
    /// What must be there.
    pub expect: Expect,
    /// What is done.
    pub action: Action,
}

/// The precondition of an [`Op`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// There is no object of that name.
    Absent,
    /// The object is there, last written at this revision.
    At(Revision),
}

/// What an [`Op`] does.
#[derive(Clone, Debug)]
pub enum Action {
    /// The object becomes this.
    Put(Draft),
    /// The object goes.
    Delete,
}

/// A leader's proof: its lease still carries the epoch (`spec.leaseTransitions`) it won.
///
/// A leader that was paused and has been replaced cannot commit any more, whatever it believes.
#[derive(Clone, Debug)]
pub struct Fence {
    /// The lease.
    pub lease: Key,
    /// `spec.leaseTransitions` when the leader took it.
    pub epoch: String,
}

impl Fence {
    /// Whether the lease, as it is, still carries the epoch.
    pub fn holds(&self, lease: Option<&Stored>) -> bool {
        lease.is_some_and(|lease| lease.field("spec.leaseTransitions") == Some(self.epoch.as_str()))
    }
}

/// Why a commit was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// An object is not what the writer saw, or has what the commit claims; `found` is its present revision, if it is there.
    #[error("{key} is at {found:?}, not as expected")]
    Conflict {
        /// Which object.
        key: Key,
        /// Its revision now.
        found: Option<Revision>,
    },
    /// The writer is no longer the leader.
    #[error("the writer has lost its lease {lease}")]
    Fenced {
        /// The lease.
        lease: Key,
    },
    /// Too many commits wait to be written: nothing was written, try again later.
    #[error("too many writes are waiting")]
    Busy,
    /// The store failed: nothing was written, and it is unknown whether a retry will work.
    #[error("{0}")]
    Store(String),
}

impl Commit {
    /// What was staged as `changes`, to be staged once more on a newer state. Its fence and its needs are not in them.
    pub fn of(changes: &[Arc<Change>]) -> Self {
        let op = |change: &Arc<Change>| Op {
            key: change.key.clone(),
            expect: change.old.as_ref().map_or(Expect::Absent, |old| Expect::At(old.revision)),
            action: change.new.as_ref().map_or(Action::Delete, |new| Action::Put(new.draft().clone())),
        };
        Self { ops: changes.iter().map(op).collect(), ..Self::default() }
    }
}

/// The writer's view: the published state, and over it what is staged but not yet durable.
#[derive(Debug, Default)]
pub struct Ledger {
    staged: HashMap<Key, Option<Arc<Stored>>>,
    /// Everything that a staged version of an object has claimed, whether or not the last one still does.
    claims: BTreeSet<(Claim, Key)>,
    last: Revision,
}

impl Ledger {
    /// Checks a commit and gives its changes their revisions. They are durable only after `Store::commit`.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] or [`CommitError::Fenced`]; nothing is staged then.
    pub fn stage(&mut self, state: &State, commit: Commit) -> Result<Vec<Arc<Change>>, CommitError> {
        if let Some(fence) = &commit.fence {
            self.check_fence(state, fence)?;
        }
        for need in &commit.needs {
            self.check_need(state, need)?;
        }
        for op in &commit.ops {
            self.check(state, op)?;
        }
        self.check_claims(state, &commit.ops)?;
        debug_assert!(keys_differ(&commit.ops), "an object stands twice in one commit");
        self.last = self.last.max(state.revision());
        Ok(commit.ops.into_iter().map(|op| self.take(state, op)).collect())
    }

    /// Forgets what was staged: it is published now, or its batch failed.
    pub fn clear(&mut self, state: &State) {
        self.staged.clear();
        self.claims.clear();
        self.last = state.revision();
    }

    fn current<'a>(&'a self, state: &'a State, key: &Key) -> Option<&'a Arc<Stored>> {
        match self.staged.get(key) {
            Some(staged) => staged.as_ref(),
            None => state.get(key),
        }
    }

    fn check(&self, state: &State, op: &Op) -> Result<(), CommitError> {
        let found = self.current(state, &op.key).map(|stored| stored.revision);
        let holds = match op.expect {
            Expect::Absent => found.is_none(),
            Expect::At(revision) => found == Some(revision),
        };
        if holds { Ok(()) } else { Err(CommitError::Conflict { key: op.key.clone(), found }) }
    }

    /// Whether nobody has what the commit claims, once all of it is done: two objects may exchange what they have. What an
    /// object has already it keeps, even where older data has given it to two.
    fn check_claims(&self, state: &State, ops: &[Op]) -> Result<(), CommitError> {
        if ops.iter().all(|op| op.claims().is_empty()) {
            return Ok(());
        }
        let by_key: HashMap<&Key, &Op> = ops.iter().map(|op| (&op.key, op)).collect();
        let mut wanted: HashMap<&Claim, &Key> = HashMap::new();
        for op in ops {
            let kept = self.current(state, &op.key).map_or(&[][..], |stored| stored.claims());
            for claim in op.claims().iter().filter(|claim| !kept.contains(claim)) {
                let has = |key: &&Key| match by_key.get(key) {
                    Some(op) => op.claims().contains(claim),
                    None => self.current(state, key).is_some_and(|stored| stored.claims().contains(claim)),
                };
                let staged = self.claims.range((claim.clone(), Key::new("", "", ""))..);
                let staged = staged.take_while(|(staged, _)| staged == claim).map(|(_, key)| key);
                let others = wanted.insert(claim, &op.key).into_iter();
                let mut others =
                    others.chain(state.claimed_by(claim)).chain(staged).filter(|key| **key != op.key);
                if let Some(other) = others.find(has) {
                    let found = self.current(state, other).map(|stored| stored.revision);
                    return Err(CommitError::Conflict { key: other.clone(), found });
                }
            }
        }
        Ok(())
    }

    fn check_need(&self, state: &State, need: &Need) -> Result<(), CommitError> {
        let found = self.current(state, &need.key);
        let stays =
            |stored: &Stored| stored.meta().uid == need.uid && stored.meta().deletion_timestamp.is_none();
        if found.is_some_and(|stored| stays(stored)) {
            return Ok(());
        }
        Err(CommitError::Conflict { key: need.key.clone(), found: found.map(|stored| stored.revision) })
    }

    fn check_fence(&self, state: &State, fence: &Fence) -> Result<(), CommitError> {
        let holds = fence.holds(self.current(state, &fence.lease).map(Arc::as_ref));
        if holds { Ok(()) } else { Err(CommitError::Fenced { lease: fence.lease.clone() }) }
    }

    fn take(&mut self, state: &State, op: Op) -> Arc<Change> {
        self.last = self.last.next();
        let old = self.current(state, &op.key).cloned();
        let new = match op.action {
            Action::Put(draft) => Some(Arc::new(Stored::new(op.key.clone(), self.last, draft))),
            Action::Delete => None,
        };
        let claims = new.iter().flat_map(|new| new.claims());
        self.claims.extend(claims.map(|claim| (claim.clone(), op.key.clone())));
        self.staged.insert(op.key.clone(), new.clone());
        Arc::new(Change { revision: self.last, key: op.key, old, new })
    }
}

impl Op {
    fn claims(&self) -> &[Claim] {
        match &self.action {
            Action::Put(draft) => &draft.claims,
            Action::Delete => &[],
        }
    }
}

fn keys_differ(ops: &[Op]) -> bool {
    let keys: HashSet<&Key> = ops.iter().map(|op| &op.key).collect();
    keys.len() == ops.len()
}
