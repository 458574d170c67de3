//! What a version says: its schema, subresources, columns and selectable fields.

use std::collections::BTreeSet;

use berth_api::Problems;
use berth_api::kinds::cursor::Cursor;
use berth_json::Value;

use super::schema;
use super::view::Part;
use crate::field_path;
use crate::structural::{JsonType, Structural};

/// How many fields of a version may be selected by.
const SELECTABLE_MAX: usize = 8;
/// What a column may be of, in the order in which messages list it.
pub(crate) const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 8] =
    ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];

/// The parts of one version, or of all alike, with their places.
pub(super) struct Parts<'d> {
    places: [(String, &'d Value); 4],
    has_status: bool,
    is_shared: bool,
}

const PARTS: [Part; 4] = [Part::Schema, Part::Subresources, Part::Columns, Part::Selectable];

impl<'d> Parts<'d> {
    /// What all versions say.
    pub(super) fn shared(of: impl Fn(Part) -> &'d Value, has_status: bool) -> Self {
        let places = PARTS.map(|part| (part.shared_path().to_owned(), of(part)));
        Self { places, has_status, is_shared: true }
    }

    /// What one version says alone.
    pub(super) fn of_version(version: &Cursor<'_>, of: impl Fn(Part) -> &'d Value, has_status: bool) -> Self {
        let places = PARTS.map(|part| (version.child(part.field()).path(), of(part)));
        Self { places, has_status, is_shared: false }
    }
}

pub(super) fn validate(parts: &Parts<'_>, problems: &mut Problems) {
    let [said_schema, subresources, columns, selectable] = &parts.places;
    let schema = Cursor::named(&said_schema.0, said_schema.1);
    let openapi = schema.child("openAPIV3Schema");
    if openapi.exists() {
        schema::validate(&openapi, parts.has_status, problems);
    }
    scale(&Cursor::named(&subresources.0, subresources.1), problems);
    Cursor::named(&columns.0, columns.1).items().for_each(|at| column(&at, problems));
    let selectable = Cursor::named(&selectable.0, selectable.1);
    if selectable.items().len() > 0 {
        match Structural::parse(openapi.value()) {
            Ok(schema) => selectable_fields(&selectable, &schema, problems),
            Err(_) if parts.is_shared && !openapi.exists() => {
                problems.invalid(
                    selectable,
                    &"".into(),
                    "may only be set when validations.schema is included",
                );
            }
            Err(why) => problems.invalid(schema.child("openAPIV3Schema"), &"".into(), &why.to_string()),
        }
    }
}

fn scale(subresources: &Cursor<'_>, problems: &mut Problems) {
    let scale = subresources.child("scale");
    if !scale.exists() {
        return;
    }
    for (name, roots) in [("specReplicasPath", &[".spec."][..]), ("statusReplicasPath", &[".status."])] {
        let path = scale.child(name);
        if path.is_empty() {
            problems.required(path, "");
        } else if is_simple_path(&path, problems) && !roots.iter().any(|root| path.text().starts_with(root)) {
            let root = roots.join("").trim_end_matches('.').to_owned();
            problems.invalid(path, path.value(), &format!("should be a json path under {root}"));
        }
    }
    let selector = scale.child("labelSelectorPath");
    if !selector.is_empty() && is_simple_path(&selector, problems) {
        let is_below = [".spec.", ".status."].into_iter().any(|root| selector.text().starts_with(root));
        if !is_below {
            let detail = "should be a json path under either .spec or .status";
            problems.invalid(selector, selector.value(), detail);
        }
    }
}

fn is_simple_path(path: &Cursor<'_>, problems: &mut Problems) -> bool {
    let is_simple = path.text().starts_with('.');
    if !is_simple {
        problems.invalid(path, path.value(), "must be a simple json path starting with .");
    }
    is_simple
}

fn column(column: &Cursor<'_>, problems: &mut Problems) {
    let (name, json_type, format) = (column.child("name"), column.child("type"), column.child("format"));
    if name.is_empty() {
        problems.required(name, "");
    }
    let one_of = |words: &[&str]| format!("must be one of {}", words.join(","));
    if json_type.is_empty() {
        problems.required(json_type, &one_of(&COLUMN_TYPES));
    } else if !COLUMN_TYPES.contains(&json_type.text()) {
        problems.invalid(json_type, json_type.value(), &one_of(&COLUMN_TYPES));
    }
    if !format.is_empty() && !COLUMN_FORMATS.contains(&format.text()) {
        problems.invalid(format, format.value(), &one_of(&COLUMN_FORMATS));
    }
    let path = format!("{column}.JSONPath");
    let path = Cursor::named(&path, column.child("jsonPath").value());
    if path.is_empty() {
        problems.required(path, "");
    } else {
        is_simple_path(&path, problems);
    }
}

fn selectable_fields(fields: &Cursor<'_>, schema: &Structural, problems: &mut Problems) {
    let mut known = BTreeSet::new();
    for field in fields.items() {
        let path = field.child("jsonPath");
        if path.is_empty() {
            problems.required(path, "");
            continue;
        }
        match field_path::follow(path.text(), schema, false) {
            Err(why) => problems.invalid(path, path.value(), &format!("is an invalid path: {why}")),
            Ok((steps, place)) => {
                if matches!(steps.first(), Some(field_path::Step::Field(first)) if first == "metadata") {
                    problems.invalid(path, path.value(), "must not point to fields in metadata");
                }
                let selectable = [JsonType::String, JsonType::Boolean, JsonType::Integer];
                if !place.json_type.is_some_and(|json_type| selectable.contains(&json_type)) {
                    let detail = "must point to a field of type string, boolean or integer. Enum string fields and \
                                  strings with formats are allowed.";
                    problems.invalid(path, path.value(), detail);
                }
                if !known.insert(path.text().to_owned()) {
                    problems.duplicate(path, path.value());
                }
            }
        }
    }
    if known.len() > SELECTABLE_MAX {
        problems.too_many(fields, known.len(), SELECTABLE_MAX);
    }
}
