//! Defaults must be what they would be judged as.

use berth_api::Problems;
use berth_api::kinds::cursor::Cursor;

use crate::passes::{judge, prune_place};
use crate::rules::{self, Rules};
use crate::structural::Structural;
use crate::work::Work;

/// Judges the defaults of a schema, which stands at `schema`.
pub(super) fn validate(schema: &Cursor<'_>, parsed: &Structural, problems: &mut Problems) {
    place(schema, parsed, &Work::default(), problems);
}

fn place(schema: &Cursor<'_>, parsed: &Structural, work: &Work, problems: &mut Problems) {
    if let Some(default) = &parsed.default {
        let at = schema.child("default");
        if prune_place(parsed, &mut default.clone()) {
            problems.invalid(at, default, "must not have unknown fields");
        }
        let before = problems.causes.len();
        judge(parsed, default, None, &at.path(), work, problems);
        if let Some(rules) = Rules::of_part(parsed).filter(|_| problems.causes.len() == before) {
            problems.extend(rules::judge(&rules, parsed, default, None, &at.path()));
        }
    }
    // Of what stands below additionalProperties there are no defaults.
    if let Some(items) = &parsed.items {
        place(&schema.child("items"), items, work, problems);
    }
    let properties = schema.child("properties");
    for (name, field) in &parsed.properties {
        place(&properties.key(name), field, work, problems);
    }
}
