//! What will happen, in the order of virtual time.

use std::collections::BTreeMap;

use berth_api::Timestamp;

/// A queue of events by time; of two at the same moment the one that was entered first comes first.
#[derive(Debug)]
pub(crate) struct Agenda<E> {
    events: BTreeMap<(Timestamp, u64), E>,
    entered: u64,
}

impl<E> Agenda<E> {
    pub(crate) fn new() -> Self {
        Self { events: BTreeMap::new(), entered: 0 }
    }

    pub(crate) fn enter(&mut self, at: Timestamp, event: E) {
        self.entered += 1;
        self.events.insert((at, self.entered), event);
    }

    pub(crate) fn next(&mut self) -> Option<(Timestamp, E)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }

    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        self.events.first_key_value().map(|((at, _), _)| *at)
    }
}
