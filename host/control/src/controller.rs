//! What a controller is: which changes wake it, and what it does about one object.

use std::sync::Arc;

use berth_api::Timestamp;
use berth_state::{Change, Key, State, Stored};

use crate::manager::Work;
use crate::outcome::Outcome;
use crate::queue::Queue;
use crate::requests::Writer;

/// Brings objects of one kind nearer to what was asked for. It looks at the state alone; a change only wakes it.
pub trait Controller: Send {
    /// The name under which the controller writes and tells events: kube-controller-manager's own, where it has the controller.
    fn name(&self) -> &'static str;

    /// Of which resources [`Controller::wake`] wants to hear.
    fn hears_of(&self) -> Hears {
        Hears::All
    }

    /// Wakes the controller for every object that a change may concern. Too many cost time; one too few is lost work.
    fn wake(&mut self, news: &News<'_>, wake: &mut Wake<'_>);

    /// What is to be done about one object now.
    fn reconcile(&mut self, look: &Look<'_>, stored: &Arc<Stored>) -> Outcome;
}

/// Which resources' changes a controller hears of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hears {
    /// Those of every resource, defined ones included.
    All,
    /// Those of these: `pods`, `deployments.apps`, ….
    Of(&'static [&'static str]),
}

/// One change, and the state that holds it already. After a start, and when changes were missed, every object comes as if it
/// had just been created.
pub struct News<'a> {
    /// The state after the change, or a later one.
    pub state: &'a State,
    old: Option<&'a Arc<Stored>>,
    latest: &'a Arc<Stored>,
    is_gone: bool,
}

impl<'a> News<'a> {
    pub(crate) fn of(state: &'a State, change: &'a Change) -> Self {
        Self { state, old: change.old.as_ref(), latest: change.latest(), is_gone: change.new.is_none() }
    }

    pub(crate) fn found(state: &'a State, stored: &'a Arc<Stored>) -> Self {
        Self { state, old: None, latest: stored, is_gone: false }
    }

    /// The object's resource.
    pub fn resource(&self) -> &'a str {
        &self.latest.key.resource
    }

    /// The object's name.
    pub fn key(&self) -> &'a Key {
        &self.latest.key
    }

    /// The object as it is now, or as it was when it was deleted.
    pub fn latest(&self) -> &'a Arc<Stored> {
        self.latest
    }

    /// What was there before, if anything was; of an object that is gone that is [`News::latest`].
    pub fn old(&self) -> Option<&'a Arc<Stored>> {
        self.old
    }

    /// Whether the object was deleted.
    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// The owners that are there, of those that the object has or had before: one that was let go concerns the owner it had.
    pub fn owners(&self) -> impl Iterator<Item = &'a Arc<Stored>> + use<'a> {
        let (state, before) = (self.state, self.old.filter(|_| !self.is_gone));
        let references = [Some(self.latest), before].into_iter().flatten().flat_map(|stored| {
            let owners: &'a [_] = &stored.meta().owner_references;
            owners
        });
        references.filter_map(|owner| state.by_uid(&owner.uid))
    }

    /// Whether the object belongs to nobody: any workload that selects it may make it its own.
    pub fn is_unowned(&self) -> bool {
        self.latest.controller().is_none()
    }
}

/// Takes down what a controller is to look at.
pub struct Wake<'a> {
    pub(crate) controller: &'static str,
    pub(crate) queue: &'a mut Queue<Work>,
}

impl Wake<'_> {
    /// The controller will look at that object soon; if it is gone by then, it is not asked.
    pub fn up(&mut self, key: &Key) {
        self.queue.add(Work { controller: self.controller, key: key.clone() });
    }

    /// The same of several.
    pub fn all<'s>(&mut self, objects: impl IntoIterator<Item = &'s Arc<Stored>>) {
        objects.into_iter().for_each(|stored| self.up(&stored.key));
    }
}

/// What a controller sees when it looks at an object.
pub struct Look<'a> {
    /// All objects.
    pub state: &'a State,
    /// The time.
    pub now: Timestamp,
    /// Makes the requests, in the controller's name.
    pub writer: &'a Writer,
    /// Why the last attempt at this object failed, if it did. After one that succeeds the controller is asked once more, without.
    pub failure: Option<&'a str>,
}
