//! What a controller wants done.

use berth_api::{Reason, Status, Timestamp};
use berth_pipeline::Request;

use crate::events::EventNote;

/// The result of one reconciliation.
#[derive(Default)]
pub struct Outcome {
    /// Writes, to be carried out in this order; after a failed one the rest is dropped and the work is tried again.
    pub steps: Vec<Step>,
    /// When to look again although nothing changed.
    pub again_at: Option<Timestamp>,
}

/// One write, and what to tell people about it.
pub struct Step {
    /// The write.
    pub request: Request,
    /// The event when it succeeded; `{name}` in its message stands for the written object's name.
    pub succeeded: Option<EventNote>,
    /// The event when it failed; `{error}` in its message stands for the answer.
    pub failed: Option<EventNote>,
    /// Whether it is of no consequence that the object is gone, or is not the one that was meant.
    pub may_miss: bool,
}

impl Step {
    /// A write that must succeed and needs no event.
    pub fn new(request: Request) -> Self {
        Self { request, succeeded: None, failed: None, may_miss: false }
    }

    /// The same, with an event on success.
    #[must_use]
    pub fn telling(mut self, note: EventNote) -> Self {
        self.succeeded = Some(note);
        self
    }

    /// The same, with an event on failure.
    #[must_use]
    pub fn warning(mut self, note: EventNote) -> Self {
        self.failed = Some(note);
        self
    }

    /// The same, where it is of no consequence that the object is gone or has changed.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.may_miss = true;
        self
    }

    /// Whether this answer leaves nothing to do: the object is gone, or its change brings the controller back. Any other
    /// failure (a full disk, a full queue) must be tried again, for nothing else will.
    pub fn is_settled_by(&self, error: &Status) -> bool {
        self.may_miss && matches!(error.reason, Reason::NotFound | Reason::Conflict)
    }
}

impl Outcome {
    /// Adds a step.
    pub fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Asks to be called again at `moment`, or earlier if that was asked for already.
    pub fn look_again(&mut self, moment: Timestamp) {
        self.again_at = Some(self.again_at.map_or(moment, |at| at.min(moment)));
    }
}
