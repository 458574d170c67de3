//! Encoding events, one JSON object a line.

use std::sync::Arc;

use berth_api::table::{self, IncludeObject};
use berth_api::{Resource, Status, Timestamp};
use berth_json::{Value, json};
use berth_state::{Change, Revision, Stored};

use crate::list::Selection;
use crate::negotiate::Transform;

/// What a change is to one watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Added,
    Modified,
    /// Gone, or out of the selection.
    Deleted,
}

/// Writes the events of one watch.
pub(super) struct Encoder {
    resource: Arc<Resource>,
    transform: Transform,
    include: IncludeObject,
    /// Only a watch's first table says what its columns are.
    columns_sent: bool,
}

impl Encoder {
    pub(super) fn new(resource: Arc<Resource>, transform: Transform, include: IncludeObject) -> Self {
        Self { resource, transform, include, columns_sent: false }
    }

    /// An object that is there at the beginning.
    pub(super) fn initial(&mut self, out: &mut Vec<u8>, object: &Stored, now: Timestamp) {
        self.event(out, Kind::Added, object, object.revision, now);
    }

    /// A change, as a watcher with that selection sees it; nothing when it does not.
    pub(super) fn change(
        &mut self,
        out: &mut Vec<u8>,
        change: &Change,
        selection: &Selection,
        now: Timestamp,
    ) {
        let Some((kind, object)) = seen(change, selection) else { return };
        self.event(out, kind, object, change.revision, now);
    }

    /// A bookmark; `ends_initial` marks the end of the initial events.
    pub(super) fn bookmark(
        &mut self,
        out: &mut Vec<u8>,
        revision: Revision,
        ends_initial: bool,
        now: Timestamp,
    ) {
        let mut object = json!({
            "kind": self.resource.kind, "apiVersion": self.resource.api_version(),
            "metadata": { "resourceVersion": revision.to_string() },
        });
        if ends_initial {
            object["metadata"]["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let object = self.transformed(object, now);
        line(out, "BOOKMARK", &object);
    }

    /// The watch is over, for this reason.
    pub(super) fn error(&self, out: &mut Vec<u8>, status: &Status) {
        line(out, "ERROR", &status.to_value());
    }

    fn event(&mut self, out: &mut Vec<u8>, kind: Kind, object: &Stored, revision: Revision, now: Timestamp) {
        if self.transform == Transform::None && object.revision == revision {
            out.extend_from_slice(b"{\"type\":\"");
            out.extend_from_slice(kind.as_str().as_bytes());
            out.extend_from_slice(b"\",\"object\":");
            object.write_json(out, &self.resource, true);
            out.extend_from_slice(b"}\n");
            return;
        }
        let mut value = object.to_value(&self.resource);
        value["metadata"]["resourceVersion"] = revision.to_string().into();
        let value = self.transformed(value, now);
        line(out, kind.as_str(), &value);
    }

    fn transformed(&mut self, object: Value, now: Timestamp) -> Value {
        match self.transform {
            Transform::None => object,
            Transform::Metadata(version) | Transform::MetadataList(version) => {
                table::partial_object_metadata(&object, version.as_str())
            }
            Transform::Table(version) => {
                let metadata = json!({ "resourceVersion": object["metadata"]["resourceVersion"] });
                let (resource, include) = (&self.resource, self.include);
                let mut table = table::table(resource, [&object], metadata, include, version.as_str(), now);
                if self.columns_sent {
                    table["columnDefinitions"] = json!([]);
                }
                self.columns_sent = true;
                table
            }
        }
    }
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// What a change is to a watcher with that selection, and which version of the object it is shown.
fn seen<'a>(change: &'a Change, selection: &Selection) -> Option<(Kind, &'a Stored)> {
    let selected = |stored: &'a Option<Arc<Stored>>| stored.as_deref().filter(|s| selection.matches(s));
    match (selected(&change.old), selected(&change.new)) {
        (None, None) => None,
        (None, Some(new)) => Some((Kind::Added, new)),
        (Some(_), Some(new)) => Some((Kind::Modified, new)),
        (Some(old), None) => Some((Kind::Deleted, old)),
    }
}

fn line(out: &mut Vec<u8>, kind: &str, object: &Value) {
    let text = format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n");
    out.extend_from_slice(text.as_bytes());
}
