//! `Event`: what happened to an object, for people.

use berth_json::Value;

use super::cursor::Cursor;
use super::meta::{reject, validate_meta_update};
use super::view::{int_at, name, since, str_at};
use super::{Names, column, names};
use crate::resource::{Column, Kind, Resource, Scope, Selectable};
use crate::status::Problems;
use crate::time::Timestamp;

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
            column("Last Seen", "string", 0, "When the event was last seen."),
            column("Type", "string", 0, "Normal or Warning."),
            column("Reason", "string", 0, "Why, in one word."),
            column("Object", "string", 0, "What the event is about."),
            column("Subobject", "string", 1, "Which part of the object the event is about."),
            column("Source", "string", 1, "Who reported the event."),
            column("Message", "string", 0, "What happened."),
            column("First Seen", "string", 1, "When the event was first seen."),
            column("Count", "string", 1, "How often the event was seen."),
            Column { format: "name".into(), ..column("Name", "string", 1, "Name of the event.") },
        ]
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let first = since(first_of(object, "firstTimestamp", "eventTime"), now);
        let series = object.get("series").filter(|series| !series.is_null());
        let last = match (series, str_at(object, "lastTimestamp")) {
            (Some(series), _) => since(str_at(series, "lastObservedTime"), now),
            (None, "") => first.clone(),
            (None, time) => since(time, now),
        };
        let count = series.map_or_else(|| int_at(object, "count"), |series| int_at(series, "count"));
        let kind = str_at(object, "involvedObject.kind").to_lowercase();
        let target = match str_at(object, "involvedObject.name") {
            "" => kind,
            name => format!("{kind}/{name}"),
        };
        let component = first_of(object, "source.component", "reportingComponent");
        let source = match first_of(object, "source.host", "reportingInstance") {
            "" => component.to_owned(),
            instance => format!("{component}, {instance}"),
        };
        vec![
            last.into(),
            str_at(object, "type").into(),
            str_at(object, "reason").into(),
            target.into(),
            str_at(object, "involvedObject.fieldPath").into(),
            source.into(),
            str_at(object, "message").trim().into(),
            first.into(),
            count.filter(|&count| count != 0 || series.is_some()).unwrap_or(1).into(),
            name(object).into(),
        ]
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
