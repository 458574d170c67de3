//! Events: what controllers tell people, bounded and with repeats counted instead of repeated.

use std::collections::{HashMap, VecDeque};

use berth_api::{Catalogue, Timestamp};
use berth_json::{Value, json};
use berth_pipeline::Request;
use berth_state::{Key, Stored};

use crate::requests::Writer;

/// How many different events a recorder remembers in order to count repeats: the size of client-go's cache.
const REMEMBERED_MAX: usize = 4_096;
/// Repeats of one event that are written within a minute; more are only counted by the next one that is.
const REPEATS_PER_MINUTE: u32 = 10;

/// Whether an event is news or trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// As intended.
    Normal,
    /// Something needs a look.
    Warning,
}

/// Something worth telling about an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventNote {
    /// The object.
    pub about: Key,
    /// Its uid.
    pub uid: String,
    /// News or trouble.
    pub kind: EventKind,
    /// One word, e.g. `FailedCreate`.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

impl EventNote {
    /// A note about a stored object.
    pub fn new(about: &Stored, kind: EventKind, reason: &'static str, message: impl Into<String>) -> Self {
        let uid = about.meta().uid.to_string();
        Self { about: about.key.clone(), uid, kind, reason, message: message.into() }
    }
}

/// Turns notes into writes of Event objects, in the name of one component.
pub struct Recorder {
    writer: Writer,
    component: &'static str,
    seen: HashMap<EventNote, Seen>,
    order: VecDeque<EventNote>,
    /// Different events so far: tells those of one microsecond apart.
    recorded: u64,
}

struct Seen {
    event: Key,
    count: u32,
    minute: i64,
    in_minute: u32,
}

impl Recorder {
    /// A recorder for `component`, e.g. `deployment-controller`.
    pub fn new(component: &'static str, catalogue: std::sync::Arc<Catalogue>) -> Self {
        let writer = Writer::new(component, catalogue);
        Self { writer, component, seen: HashMap::new(), order: VecDeque::new(), recorded: 0 }
    }

    /// The write that records `note`; `None` when it repeats too often to be written again now.
    pub fn record(&mut self, note: EventNote, now: Timestamp) -> Option<Request> {
        if let Some(seen) = self.seen.get_mut(&note) {
            return seen.again(&self.writer, now);
        }
        let namespace = if note.about.namespace.is_empty() { "default" } else { &*note.about.namespace };
        // As client-go names them: by the nanosecond, so that events of one second are listed in the order in which they came,
        // whoever recorded them.
        let nanos = now.micros().unsigned_abs() * 1000 + self.recorded % 1000;
        self.recorded += 1;
        let name = format!("{}.{nanos:x}", note.about.name);
        let event = Key::new("events", namespace, name);
        let object = self.object(&note, &event, now);
        let request = self.writer.create("events", namespace, object);
        self.remember(note, event, now);
        Some(request)
    }

    fn remember(&mut self, note: EventNote, event: Key, now: Timestamp) {
        if self.order.len() == REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        self.order.push_back(note.clone());
        self.seen.insert(note, Seen { event, count: 1, minute: now.seconds() / 60, in_minute: 0 });
    }

    fn object(&self, note: &EventNote, event: &Key, now: Timestamp) -> Value {
        let resource = self.writer.resource(&note.about.resource);
        let time = now.rfc3339();
        json!({
            "metadata": {"name": &*event.name, "namespace": &*event.namespace},
            "involvedObject": {
                "kind": resource.kind, "apiVersion": resource.api_version(), "name": &*note.about.name,
                "namespace": &*note.about.namespace, "uid": note.uid,
            },
            "reason": note.reason, "message": note.message,
            "type": match note.kind { EventKind::Normal => "Normal", EventKind::Warning => "Warning" },
            "source": {"component": self.component}, "reportingComponent": self.component,
            "reportingInstance": "", "firstTimestamp": time, "lastTimestamp": time, "count": 1,
        })
    }
}

impl Seen {
    fn again(&mut self, writer: &Writer, now: Timestamp) -> Option<Request> {
        self.count += 1;
        let minute = now.seconds() / 60;
        if minute != self.minute {
            (self.minute, self.in_minute) = (minute, 0);
        }
        self.in_minute += 1;
        let patch = json!({"count": self.count, "lastTimestamp": now.rfc3339()});
        (self.in_minute <= REPEATS_PER_MINUTE).then(|| writer.merge(&self.event, "", &patch))
    }
}
