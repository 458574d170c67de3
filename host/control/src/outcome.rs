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
    /// What it means that the object is gone, or is not the one that was meant.
    pub on_miss: OnMiss,
}

/// What becomes of a write that does not find its object as the controller saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMiss {
    /// The work is tried again.
    Retry,
    /// It is of no consequence: the object is gone, or its change brings the controller back.
    Accept,
}

impl OnMiss {
    /// Whether a failure leaves nothing to do. One for another reason (a full disk, a full queue) never does: nothing but
    /// another attempt will mend it.
    pub fn accepts(self, error: &Status) -> bool {
        let is_miss = matches!(error.reason, Reason::NotFound | Reason::Conflict) || is_of_another(error);
        self == Self::Accept && is_miss
    }
}

/// Whether a write named the uid of an object that has made way for another of its name: a patch that does is no conflict
/// to the API server, but a change of what cannot change.
fn is_of_another(error: &Status) -> bool {
    let causes = error.details.iter().flat_map(|details| &details.causes);
    error.reason == Reason::Invalid && causes.into_iter().any(|cause| cause.field == "metadata.uid")
}

impl Step {
    /// A write that must succeed and needs no event.
    pub fn new(request: Request) -> Self {
        Self { request, succeeded: None, failed: None, on_miss: OnMiss::Retry }
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
        self.on_miss = OnMiss::Accept;
        self
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

#[cfg(test)]
mod tests {
    use berth_api::Problems;
    use berth_api::status::Details;
    use berth_json::Value;

    use super::*;

    #[test]
    fn another_object_of_the_name_is_a_miss() {
        let invalid = |field: &str| {
            let mut problems = Problems::default();
            problems.invalid(field, &Value::from("u"), "field is immutable");
            let details = Details { causes: problems.causes, ..Details::default() };
            Status { details: Some(Box::new(details)), ..Status::new(Reason::Invalid, "") }
        };
        for (error, accepted) in [
            (invalid("metadata.uid"), true),
            (invalid("metadata.name"), false),
            (Status::new(Reason::Conflict, ""), true),
            (Status::new(Reason::NotFound, ""), true),
            (Status::new(Reason::ServiceUnavailable, ""), false),
        ] {
            assert_eq!(OnMiss::Accept.accepts(&error), accepted, "{error:?}");
            assert!(!OnMiss::Retry.accepts(&error));
        }
    }
}
