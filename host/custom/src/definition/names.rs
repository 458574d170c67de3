//! The names of a kind.

use berth_api::Problems;
use berth_api::kinds::cursor::Cursor;
use berth_api::kinds::view;
use berth_json::Value;

use crate::names::label_1035;

/// Judges the names at `path`; absent ones are fine.
pub(super) fn validate(definition: &Value, path: &str, problems: &mut Problems) {
    let names = Cursor::named(path, view::at(definition, path).unwrap_or(&Value::Null));
    for name in ["plural", "singular"] {
        label(&names.child(name), problems);
    }
    for name in ["kind", "listKind"] {
        let here = names.child(name);
        let faults = label_1035(&here.text().to_lowercase());
        if !here.is_empty() && !faults.is_empty() {
            let detail = format!("may have mixed case, but should otherwise match: {}", faults.join(","));
            problems.invalid(here, here.value(), &detail);
        }
    }
    for short in names.child("shortNames").items() {
        label_of_list(&short, problems);
    }
    let (kind, list_kind) = (names.child("kind"), names.child("listKind"));
    if !kind.is_empty() && kind.text() == list_kind.text() {
        problems.invalid(list_kind, list_kind.value(), "kind and listKind may not be the same");
    }
    for category in names.child("categories").items() {
        label_of_list(&category, problems);
    }
}

/// A name that may be absent.
fn label(at: &Cursor<'_>, problems: &mut Problems) {
    if !at.is_empty() {
        label_of_list(at, problems);
    }
}

pub(super) fn label_of_list(at: &Cursor<'_>, problems: &mut Problems) {
    let faults = label_1035(at.text());
    if !faults.is_empty() {
        problems.invalid(at, at.value(), &faults.join(","));
    }
}
