//! `Event`: what happened to an object, for people.

use berth_json::Value;

use super::cursor::Cursor;
use super::meta::{reject, validate_meta_update};
use super::view::{at, int_at, name, since, str_at};
use super::{Names, names};
use crate::column::Column;
use crate::resource::{Kind, Resource, Scope, Selectable};
use crate::status::Problems;

const NAMES: Names = Names { group: "", version: "v1", kind: "Event", plural: "events", short: &["ev"] };

/// The longest `action`, `reason` and `reportingInstance`.
const WORD_LENGTH_MAX: usize = 128;
/// The longest `message`.
pub(super) const MESSAGE_LENGTH_MAX: usize = 1024;

pub(super) fn resource() -> Resource {
    Resource { create_on_update: true, ..super::resource(&NAMES, Scope::Namespaced, Event) }
}

pub(super) struct Event;

impl Kind for Event {
    /// Events are validated more loosely than other objects: on create their metadata was never checked, and clients rely
    /// on it.
    fn validate(&self, object: &Value, problems: &mut Problems) {
        let namespace = str_at(object, "metadata.namespace");
        let involved = Cursor::top(object, "involvedObject");
        let involved_namespace = involved.child("namespace");
        let is_new_style = Cursor::top(object, "eventTime").exists();
        let matches = match (involved_namespace.text(), namespace) {
            ("", "default") => true,
            ("", "kube-system") => is_new_style,
            (involved, own) => is_new_style || involved == own,
        };
        if !matches || (involved_namespace.is_empty() && !matches!(namespace, "default" | "kube-system")) {
            let value = involved_namespace.text().into();
            problems.invalid(involved_namespace, &value, "does not match event.namespace");
        }
        if is_new_style {
            validate_new_style(object, "reportingComponent", problems);
        }
        for fault in names::subdomain_1123(namespace) {
            problems.invalid("namespace", &namespace.into(), &fault);
        }
        let metadata = Cursor::top(object, "metadata");
        reject(&metadata.child("name"), names::path_segment(name(object)), problems);
    }

    fn validate_update(&self, new: &Value, old: &Value, problems: &mut Problems) {
        validate_meta_update(new, old, problems);
        self.validate(new, problems);
    }

    fn fields(&self, object: &Value) -> Vec<Selectable> {
        let field = |key: &'static str, path: &str| Selectable::new(key, str_at(object, path));
        vec![
            field("involvedObject.kind", "involvedObject.kind"),
            field("involvedObject.namespace", "involvedObject.namespace"),
            field("involvedObject.name", "involvedObject.name"),
            Selectable::indexed("involvedObject.uid", str_at(object, "involvedObject.uid")),
            field("involvedObject.apiVersion", "involvedObject.apiVersion"),
            field("involvedObject.resourceVersion", "involvedObject.resourceVersion"),
            field("involvedObject.fieldPath", "involvedObject.fieldPath"),
            field("reason", "reason"),
            field("reportingComponent", "reportingComponent"),
            Selectable::new("source", first_of(object, "source.component", "reportingComponent")),
            field("type", "type"),
        ]
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::new("Last Seen", "string", 0, "When the event was last seen.", |event, now| {
                since(last_seen(event), now).into()
            }),
            Column::text("Type", 0, "Normal or Warning.", "type"),
            Column::text("Reason", 0, "Why, in one word.", "reason"),
            Column::new("Object", "string", 0, "What the event is about.", |event, _| about(event).into()),
            Column::text(
                "Subobject",
                1,
                "Which part of the object the event is about.",
                "involvedObject.fieldPath",
            ),
            Column::new("Source", "string", 1, "Who reported the event.", |event, _| reporter(event).into()),
            Column::new("Message", "string", 0, "What happened.", |event, _| {
                str_at(event, "message").trim().into()
            }),
            Column::new("First Seen", "string", 1, "When the event was first seen.", |event, now| {
                since(first_seen(event), now).into()
            }),
            Column::new("Count", "string", 1, "How often the event was seen.", |event, _| {
                count(event).into()
            }),
            Column {
                format: "name".into(),
                ..Column::text("Name", 1, "Name of the event.", "metadata.name")
            },
        ]
    }
}

fn first_seen(event: &Value) -> &str {
    first_of(event, "firstTimestamp", "eventTime")
}

fn last_seen(event: &Value) -> &str {
    match (at(event, "series"), str_at(event, "lastTimestamp")) {
        (Some(series), _) => str_at(series, "lastObservedTime"),
        (None, "") => first_seen(event),
        (None, time) => time,
    }
}

fn count(event: &Value) -> i64 {
    match at(event, "series") {
        Some(series) => int_at(series, "count").unwrap_or(1),
        None => int_at(event, "count").filter(|count| *count != 0).unwrap_or(1),
    }
}

fn about(event: &Value) -> String {
    let kind = str_at(event, "involvedObject.kind").to_lowercase();
    match str_at(event, "involvedObject.name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}

fn reporter(event: &Value) -> String {
    let component = first_of(event, "source.component", "reportingComponent");
    match first_of(event, "source.host", "reportingInstance") {
        "" => component.to_owned(),
        instance => format!("{component}, {instance}"),
    }
}

/// `reporter` is the field that names who reports.
pub(super) fn validate_new_style(object: &Value, reporter: &str, problems: &mut Problems) {
    let reporter = Cursor::top(object, reporter);
    if reporter.is_empty() {
        problems.required(reporter, "");
    }
    reject(&reporter, names::qualified_name(reporter.text()), problems);
    for key in ["reportingInstance", "action", "reason"] {
        let word = Cursor::top(object, key);
        if word.is_empty() {
            problems.required(word, "");
        }
        limit_length(&word, WORD_LENGTH_MAX, problems);
    }
    limit_length(&Cursor::top(object, "message"), MESSAGE_LENGTH_MAX, problems);
}

pub(super) fn limit_length(text: &Cursor<'_>, max: usize, problems: &mut Problems) {
    if text.text().len() > max {
        problems.invalid(text, &"".into(), &format!("can have at most {max} characters"));
    }
}

fn first_of<'a>(object: &'a Value, first: &str, second: &str) -> &'a str {
    match str_at(object, first) {
        "" => str_at(object, second),
        text => text,
    }
}
