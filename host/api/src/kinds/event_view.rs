//! `Event` of `events.k8s.io/v1`: the same objects as the core group's, under the names that came later.

use std::borrow::Cow;

use berth_json::{Map, Value};

use super::Names;
use super::cursor::Cursor;
use super::event::{Event, MESSAGE_LENGTH_MAX, limit_length, validate_new_style};
use super::meta::{immutable, validate_meta, validate_meta_update};
use super::names;
use super::view::str_at;
use crate::column::Column;
use crate::resource::{Kind, Resource, Scope, Selectable};
use crate::status::Problems;

const NAMES: Names =
    Names { group: "events.k8s.io", version: "v1", kind: "Event", plural: "events", short: &["ev"] };

/// What is called otherwise: in the core group, and here.
const RENAMED: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];
/// Texts that the core group shows even when they are empty, and this one does not.
const SHOWN_EMPTY: [&str; 2] = ["reportingComponent", "reportingInstance"];
const TYPES: [&str; 2] = ["Normal", "Warning"];

pub(super) fn resource() -> Resource {
    let own = super::resource(&NAMES, Scope::Namespaced, EventView);
    Resource { id: "events".into(), is_storage: false, create_on_update: true, ..own }
}

struct EventView;

impl Kind for EventView {
    fn converts(&self) -> bool {
        true
    }

    fn to_served(&self, object: &mut Value) {
        let Some(fields) = object.as_object_mut() else { return };
        for name in SHOWN_EMPTY {
            if fields.get(name).is_some_and(|text| *text == "") {
                fields.remove(name);
            }
        }
        RENAMED.iter().for_each(|(core, own)| rename(fields, core, own));
    }

    fn to_stored(&self, object: &mut Value) {
        let Some(fields) = object.as_object_mut() else { return };
        RENAMED.iter().for_each(|(core, own)| rename(fields, own, core));
        for name in SHOWN_EMPTY {
            fields.entry(name).or_insert_with(|| "".into());
        }
    }

    fn validate(&self, object: &Value, problems: &mut Problems) {
        validate_meta(object, Scope::Namespaced, names::subdomain_1123, problems);
        if !Cursor::top(object, "eventTime").exists() {
            problems.required("eventTime", "");
            return;
        }
        validate_new_style(object, "reportingController", problems);
        let kind = str_at(object, "type");
        if !TYPES.contains(&kind) {
            problems.invalid("type", &"".into(), &format!("has invalid value: {kind}"));
        }
        // The API server names these as the core group does.
        limit_length(&Cursor::named("message", &object["note"]), MESSAGE_LENGTH_MAX, problems);
        for (core, own) in &RENAMED[3..] {
            let value = &object[*own];
            let is_empty = value.is_null() || *value == 0 || value.as_object().is_some_and(Map::is_empty);
            if !is_empty {
                problems.invalid(*core, &"".into(), "needs to be unset");
            }
        }
    }

    /// Of an event that is there only the series goes on.
    fn validate_update(&self, new: &Value, old: &Value, problems: &mut Problems) {
        validate_meta_update(new, old, problems);
        if !Cursor::top(old, "eventTime").exists() {
            return;
        }
        for name in [
            "regarding",
            "reason",
            "action",
            "related",
            "note",
            "type",
            "eventTime",
            "reportingController",
            "reportingInstance",
        ] {
            immutable(&Cursor::top(new, name), &Cursor::top(old, name), problems);
        }
    }

    /// Objects are stored, and found, as the core group has them.
    fn fields(&self, object: &Value) -> Vec<Selectable> {
        Event.fields(object)
    }

    fn selectable(&self) -> Vec<Cow<'static, str>> {
        let own = |name: Cow<'static, str>| match name.strip_prefix("involvedObject.") {
            Some(rest) => format!("regarding.{rest}").into(),
            None if name == "reportingComponent" => "reportingController".into(),
            None => name,
        };
        Event.selectable().into_iter().map(own).collect()
    }

    fn stored_field<'f>(&self, name: &'f str) -> Cow<'f, str> {
        match name.strip_prefix("regarding.") {
            Some(rest) => format!("involvedObject.{rest}").into(),
            None if name == "reportingController" => "reportingComponent".into(),
            None => name.into(),
        }
    }

    fn columns(&self) -> Vec<Column> {
        Event.columns()
    }

    fn tabled<'o>(&self, object: &'o Value) -> Cow<'o, Value> {
        let mut core = object.clone();
        self.to_stored(&mut core);
        Cow::Owned(core)
    }
}

fn rename(fields: &mut Map, from: &str, to: &str) {
    if let Some(value) = fields.remove(from) {
        fields.insert(to, value);
    }
}

#[cfg(test)]
mod tests {
    use berth_json::json;

    use super::EventView;
    use crate::resource::Kind;

    #[test]
    fn what_is_stored_comes_back_from_its_view() {
        let stored = json!({
            "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod"}, "message": "m", "source": {"component": "c"},
            "firstTimestamp": "2024-01-02T03:04:05Z", "lastTimestamp": null, "count": 3, "eventTime": null,
            "reason": "R", "reportingComponent": "", "reportingInstance": "i", "series": {"count": 2},
        });
        let mut object = stored.clone();
        EventView.to_served(&mut object);
        assert_eq!(object["regarding"]["kind"], "Pod");
        assert_eq!((object.get("reportingController"), &object["note"]), (None, &json!("m")));
        EventView.to_stored(&mut object);
        assert_eq!(object, stored);
    }
}
