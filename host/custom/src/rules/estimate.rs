//! What rules may cost, estimated from the sizes that a schema allows, and what is wrong with how they are written.

use berth_api::Problems;
use berth_api::kinds::cursor::Cursor;
use berth_api::kinds::meta::as_go;
use berth_cel::ESTIMATE_MAX;

use super::types::{REQUEST_BYTES_MAX, declared};
use super::{Compiled, RuleFault, compile};
use crate::structural::{Additional, JsonType, ListType, Structural};

/// What all rules of a schema may be estimated to cost together.
const SCHEMA_COST_MAX: u64 = 100_000_000;
/// How many of the costliest rules are named when all are too much, and from what cost on.
const NAMED_MAX: usize = 4;
const NAMED_COST_MIN: u64 = SCHEMA_COST_MAX / 100;

/// The costs of the rules of one schema.
#[derive(Default)]
pub(crate) struct Estimates {
    total: u64,
    costliest: Vec<(u64, String)>,
}

/// What is known of a place from the places above it.
#[derive(Clone, Copy)]
struct Around<'a> {
    is_root: bool,
    /// How often the place can be in an object; none when nothing bounds it.
    times: Option<u64>,
    /// The first place above whose parts cannot be told to be what they were.
    uncorrelatable: Option<&'a str>,
}

impl Estimates {
    /// Judges the rules of a schema, which stands at `schema`.
    pub(crate) fn judge(schema: &Cursor<'_>, parsed: &Structural, problems: &mut Problems) {
        let mut estimates = Self::default();
        let around = Around { is_root: true, times: Some(1), uncorrelatable: None };
        estimates.place(schema, parsed, around, problems);
        if estimates.total > SCHEMA_COST_MAX {
            for (_, path) in estimates.costliest {
                let detail = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
                problems.forbidden(path, detail);
            }
            let name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
            problems.forbidden(schema, &too_much(name, estimates.total, SCHEMA_COST_MAX));
        }
    }

    fn place(&mut self, at: &Cursor<'_>, schema: &Structural, around: Around<'_>, problems: &mut Problems) {
        if !schema.has_rules() {
            return;
        }
        if !schema.rules.is_empty() {
            self.rules(at, schema, around, problems);
        }
        let below = Around { is_root: false, times: times_below(schema, around.times), ..around };
        let properties = at.child("properties");
        for (name, field) in &schema.properties {
            self.place(&properties.key(name), field, below, problems);
        }
        if let Additional::Schema(others) = &schema.additional {
            self.place(&at.child("additionalProperties"), others, below, problems);
        }
        if let Some(items) = &schema.items {
            let path = at.path();
            let is_correlatable = matches!(schema.list, ListType::Map(_));
            let here = if is_correlatable { None } else { Some(path.as_str()) };
            let below = Around { uncorrelatable: around.uncorrelatable.or(here), ..below };
            self.place(&at.child("items"), items, below, problems);
        }
    }

    fn rules(&mut self, at: &Cursor<'_>, schema: &Structural, around: Around<'_>, problems: &mut Problems) {
        let rules = at.child("x-kubernetes-validations");
        let Some((declared, bytes)) = declared(schema, around.is_root || schema.embedded) else {
            let detail = "unable to convert structural schema to CEL declarations";
            return problems.invalid(rules, &"".into(), detail);
        };
        let times = around.times.unwrap_or(REQUEST_BYTES_MAX / (bytes + 1));
        for (rule, written) in schema.rules.iter().zip(rules.items()) {
            let place = written.child("rule");
            match compile(schema, rule, &declared) {
                Ok(compiled) => {
                    self.estimate(&written, &compiled, times, problems);
                    let unused = !compiled.uses_old && rule.optional_old_self.is_some();
                    if unused {
                        let optional = written.child("optionalOldSelf");
                        problems.invalid(
                            optional,
                            optional.value(),
                            "may not be set if oldSelf is not used in rule",
                        );
                    } else if let Some(above) = around.uncorrelatable.filter(|_| compiled.uses_old) {
                        let detail = format!(
                            "oldSelf cannot be used on the uncorrelatable portion of the schema within {above}"
                        );
                        problems.invalid(place, place.value(), &detail);
                    }
                }
                Err(RuleFault::Rule(why)) => problems.invalid(place, &as_go(written.value()), &why),
                Err(RuleFault::Message(why)) => {
                    problems.invalid(written.child("messageExpression"), &as_go(written.value()), &why);
                }
            }
        }
    }

    fn estimate(&mut self, written: &Cursor<'_>, compiled: &Compiled, times: u64, problems: &mut Problems) {
        let cost = compiled.program.estimated_cost().saturating_mul(times);
        let place = written.child("rule");
        if cost > ESTIMATE_MAX {
            problems.forbidden(place, &too_much("estimated rule cost", cost, ESTIMATE_MAX));
        }
        self.observe(place.path(), cost);
        let Some(message) = &compiled.message else { return };
        let (cost, place) = (message.estimated_cost(), written.child("messageExpression"));
        if cost > ESTIMATE_MAX {
            problems.forbidden(place, &too_much("estimated messageExpression cost", cost, ESTIMATE_MAX));
        }
        self.observe(place.path(), cost);
    }

    fn observe(&mut self, path: String, cost: u64) {
        self.total = self.total.saturating_add(cost);
        if cost >= NAMED_COST_MIN {
            self.costliest.push((cost, path));
            self.costliest.sort_by(|(a, _), (b, _)| b.cmp(a));
            self.costliest.truncate(NAMED_MAX);
        }
    }
}

/// How often the parts of a place can be in an object.
fn times_below(schema: &Structural, times: Option<u64>) -> Option<u64> {
    let checks = schema.checks.as_deref();
    let each = match schema.json_type {
        Some(JsonType::Array) => checks.and_then(|checks| checks.max_items)?,
        Some(JsonType::Object) if !matches!(schema.additional, Additional::None) => {
            checks.and_then(|checks| checks.max_properties)?
        }
        _ => 1,
    };
    Some(times?.saturating_mul(each))
}

fn too_much(name: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{name} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}
