//! What an applier is told who would take what is another's.

use super::entry::{Entry, Operation};
use super::set::FieldSet;
use super::step::{self, Paths};
use crate::status::{Cause, Details, Reason, Status};

/// 409 with every field that the configuration would take from its manager.
pub(super) fn refused(mut conflicts: Vec<(&Entry, FieldSet)>) -> Status {
    // By what the API server sorts by: the manager's entry as JSON.
    conflicts.sort_by_key(|(entry, _)| {
        let version = (entry.operation == Operation::Update).then_some(entry.api_version.as_str());
        serde_json::to_string(&(
            &entry.manager,
            entry.operation == Operation::Update,
            version,
            &entry.subresource,
        ))
        .unwrap_or_default()
    });
    let number: usize = conflicts.iter().map(|(_, set)| step::count(set)).sum();
    let mut lines = Vec::new();
    let mut causes = Vec::new();
    let mut paths = Paths::default();
    for (entry, set) in conflicts {
        let manager = shown(entry);
        paths.add(&set);
        lines.push(format!("conflicts with {manager}:"));
        for field in paths.shown.drain(..) {
            lines.push(format!("- {field}"));
            let message = format!("conflict with {manager}");
            causes.push(Cause { reason: "FieldManagerConflict", message, field });
        }
    }
    let message = match &causes[..] {
        [only] if number == 1 => format!("Apply failed with 1 conflict: {}: {}", only.message, only.field),
        _ => format!("Apply failed with {number} conflicts: {}", lines.join("\n")),
    };
    let details = Details { causes, ..Details::default() };
    Status { details: Some(Box::new(details)), ..Status::new(Reason::Conflict, message) }
}

/// `"kubectl" with subresource "scale" using apps/v1`
fn shown(entry: &Entry) -> String {
    let Entry { manager, subresource, api_version, operation, .. } = entry;
    let mut shown = format!("{manager:?}");
    if !subresource.is_empty() {
        shown.push_str(&format!(" with subresource {subresource:?}"));
    }
    if *operation == Operation::Update {
        shown.push_str(&format!(" using {api_version}"));
    }
    shown
}
