//! Dropping the fields that a schema does not know.

use berth_api::decode::{FINDINGS_MAX, Finding};
use berth_json::{Map, Value};

use super::embedded;
use crate::path::Path;
use crate::structural::{Additional, Structural, is_meta_field};

/// How many unknown fields are remembered, and how long their paths may be together, before the first few of them are
/// told of in order.
const UNKNOWN_MAX: usize = 1000;
const UNKNOWN_BYTES_MAX: usize = 1 << 20;

/// Drops the unknown fields of a whole object, metadata of embedded objects included; tells of them, those of metadata
/// first, each sorted by path.
pub fn prune(schema: &Structural, object: &mut Value) -> Vec<Finding> {
    let mut findings = embedded::coerce(schema, object).sorted();
    let mut unknown = Unknown::default();
    Pruning { unknown: &mut unknown }.known(schema, true, object, &Path::Root);
    findings.extend(unknown.sorted());
    findings.truncate(FINDINGS_MAX);
    findings.into_iter().map(Finding::Unknown).collect()
}

/// Drops the unknown fields of a part of an object; whether there were any.
pub(crate) fn prune_place(schema: &Structural, value: &mut Value) -> bool {
    let mut unknown = Unknown::default();
    Pruning { unknown: &mut unknown }.known(schema, false, value, &Path::Root);
    !unknown.paths.is_empty()
}

/// The paths of unknown fields.
#[derive(Default)]
pub(super) struct Unknown {
    paths: Vec<String>,
    bytes: usize,
}

impl Unknown {
    pub(super) fn add(&mut self, path: impl FnOnce() -> String) {
        if self.paths.len() < UNKNOWN_MAX && self.bytes < UNKNOWN_BYTES_MAX {
            let path = path();
            self.bytes += path.len();
            self.paths.push(path);
        }
    }

    fn sorted(mut self) -> Vec<String> {
        self.paths.sort();
        self.paths
    }
}

struct Pruning<'u> {
    unknown: &'u mut Unknown,
}

impl Pruning<'_> {
    /// A place that the schema knows.
    fn known(&mut self, schema: &Structural, is_root: bool, value: &mut Value, path: &Path<'_>) {
        match value {
            Value::Object(fields) => self.fields(schema, is_root, fields, path),
            Value::Array(elements) => {
                for (at, element) in elements.iter_mut().enumerate() {
                    let path = Path::Index(path, at);
                    match &schema.items {
                        // Elements of a list without a schema of its own follow what is said of the list.
                        Some(items) => self.known(items, false, element, &path),
                        None if schema.preserves_unknown => {}
                        None => self.unknown(element, &path),
                    }
                }
            }
            _ => {}
        }
    }

    fn fields(&mut self, schema: &Structural, is_root: bool, fields: &mut Map, path: &Path<'_>) {
        let has_meta = schema.is_whole_object(is_root);
        fields.retain(|name, value| {
            if has_meta && is_meta_field(name) {
                return true;
            }
            let here = Path::Field(path, name);
            if let Some(place) = schema.properties.get(name) {
                self.known(place, false, value, &here);
                return true;
            }
            match &schema.additional {
                Additional::Schema(place) => self.known(place, false, value, &here),
                Additional::Allowed(_) if schema.preserves_unknown => {}
                Additional::Allowed(_) => self.unknown(value, &here),
                Additional::None if schema.preserves_unknown => {}
                Additional::None => {
                    self.unknown.add(|| here.dotted());
                    return false;
                }
            }
            true
        });
    }

    /// A place of which nothing is known: scalars stay, objects have no field that is known.
    fn unknown(&mut self, value: &mut Value, path: &Path<'_>) {
        match value {
            Value::Object(fields) => {
                fields.keys().for_each(|name| self.unknown.add(|| Path::Field(path, name).dotted()));
                *fields = Map::new();
            }
            Value::Array(elements) => {
                let at = elements.iter_mut().enumerate();
                at.for_each(|(at, element)| self.unknown(element, &Path::Index(path, at)));
            }
            _ => {}
        }
    }
}
