//! Strategic merge patch: a merge patch that knows from the schema which lists are merged, and by which key.
//!
//! The order of steps is that of `k8s.io/apimachinery/pkg/util/strategicpatch`, because kubectl computes its patches
//! with it: what is in the schema decides, directives (`$patch`, `$retainKeys`, `$setElementOrder/…`,
//! `$deleteFromPrimitiveList/…`) may change it.

use std::collections::HashSet;

use berth_json::{Map, Text, Value};

use super::lists::{self, Places};
use crate::decode::{Budget, Spent};
use crate::schema::{Field, PatchStrategy, Schema, Shape, Type, ValueKind};

/// A patch that contradicts itself or the schema.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatchError {
    #[error("unknown patch type: {0} in map")]
    Directive(String),
    #[error("map: {map} does not contain declared merge key: {key}")]
    NoMergeKey { map: String, key: String },
    #[error("invalid patch format of retainKeys")]
    RetainKeys,
    #[error("merging lists cannot yet be specified in the patch")]
    MergeDirective,
    #[error("{0} takes a list")]
    NotAList(String),
    #[error("The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n")]
    Order { patch: String, order: String },
    #[error("a list holds values of different kinds")]
    MixedList,
    #[error(transparent)]
    Spent(#[from] Spent),
}

pub(super) const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ORDER_PREFIX: &str = "$setElementOrder/";
const DELETE_PREFIX: &str = "$deleteFromPrimitiveList/";

/// What the schema says about a place.
#[derive(Clone, Copy)]
pub(super) enum Known<'s> {
    Struct(&'s Type),
    /// A map whose values are of this kind.
    Map(ValueKind),
    /// Nothing: lists are replaced.
    Nothing,
}

/// Applies `patch` to the fields of an object.
pub(super) fn apply(
    schema: &Schema,
    schema_type: &str,
    object: Map,
    patch: Map,
    budget: &Budget,
) -> Result<Map, PatchError> {
    let known = schema.named(schema_type).map_or(Known::Nothing, Known::Struct);
    Merge { schema, budget }.objects(object, patch, known)
}

#[derive(Clone, Copy)]
pub(super) struct Merge<'s> {
    schema: &'s Schema,
    pub(super) budget: &'s Budget,
}

/// What is known of one field: how it is patched, and what its values are.
struct FieldRule<'s> {
    strategy: PatchStrategy,
    values: Known<'s>,
}

impl<'s> Merge<'s> {
    pub(super) fn objects(
        self,
        mut original: Map,
        mut patch: Map,
        known: Known<'s>,
    ) -> Result<Map, PatchError> {
        match patch.remove(DIRECTIVE) {
            None => {}
            Some(Value::String(word)) if word == "replace" => return Ok(patch),
            Some(Value::String(word)) if word == "delete" => return Ok(Map::new()),
            Some(Value::String(word)) if word == "merge" => {}
            Some(other) => return Err(PatchError::Directive(go_print(&other))),
        }
        self.budget.steps(1 + original.len() + patch.len())?;
        retain_keys(&mut original, &mut patch)?;
        self.ordered_lists(&mut original, &mut patch, known)?;
        for (key, value) in patch {
            if let Some(list) = key.strip_prefix(DELETE_PREFIX) {
                lists::delete_scalars(&mut original, list, &value, self.budget)?;
            } else if value.is_null() {
                original.remove(&key);
            } else {
                self.field(&mut original, key, value, known)?;
            }
        }
        Ok(original)
    }

    fn field(self, original: &mut Map, key: Text, patch: Value, known: Known<'s>) -> Result<(), PatchError> {
        let rule = self.rule(known, &key);
        let merged = match (original.remove(&key), patch) {
            (Some(Value::Object(old)), Value::Object(new)) if !rule.strategy.replace => {
                Some(self.objects(old, new, rule.values)?.into())
            }
            (Some(Value::Array(old)), Value::Array(new)) if rule.strategy.merge => {
                Some(lists::merge(self, old, new, &rule.strategy.merge_key, rule.values)?.into())
            }
            // A list that is replaced keeps its elements as they are, directives too: strict decoding names them.
            (Some(Value::Array(_)), list @ Value::Array(_)) => Some(list),
            (_, new) => without_directives(new),
        };
        if let Some(value) = merged {
            original.insert(key, value);
        }
        Ok(())
    }

    /// Lists that come with `$setElementOrder`: merged and ordered here, and taken out of the patch.
    fn ordered_lists(self, original: &mut Map, patch: &mut Map, known: Known<'s>) -> Result<(), PatchError> {
        let directives: Vec<Text> =
            patch.keys().filter(|key| key.starts_with(ORDER_PREFIX)).cloned().collect();
        for directive in directives {
            let key = &directive[ORDER_PREFIX.len()..];
            let order = list(patch.remove(&directive), &directive)?.unwrap_or_default();
            let rule = self.rule(known, key);
            let old = list(original.remove(key), key)?;
            let new = match patch.get(key) {
                Some(Value::Null) | None => None,
                Some(_) => list(patch.remove(key), key)?,
            };
            let merge_key = &*rule.strategy.merge_key;
            lists::check_order(new.as_deref().unwrap_or_default(), &order, merge_key)?;
            let server_order = Places::of(old.as_deref().unwrap_or_default(), merge_key, self.budget)?;
            let merged = match (old, new) {
                (None, None) => continue,
                (Some(old), None) => old,
                (None, Some(new)) => match without_directives(new.into()) {
                    Some(Value::Array(values)) => values,
                    _ => continue,
                },
                (Some(old), Some(new)) if rule.strategy.merge => {
                    lists::merge(self, old, new, merge_key, rule.values)?
                }
                (Some(_), Some(new)) => new,
            };
            let order = Places::of(&order, merge_key, self.budget)?;
            let ordered = lists::in_order(merged, &order, &server_order, merge_key, self.budget)?;
            original.insert(key.to_owned(), ordered.into());
        }
        Ok(())
    }

    fn rule(self, known: Known<'s>, key: &str) -> FieldRule<'s> {
        match known {
            Known::Struct(parent) => {
                self.schema.field(parent, key).map_or(FieldRule::NONE, |field| self.of(field))
            }
            Known::Map(kind) => FieldRule { strategy: PatchStrategy::default(), values: self.values(kind) },
            Known::Nothing => FieldRule::NONE,
        }
    }

    fn of(self, field: &Field) -> FieldRule<'s> {
        let values = if field.shape == Shape::Map { Known::Map(field.kind) } else { self.values(field.kind) };
        FieldRule { strategy: field.patch.clone(), values }
    }

    fn values(self, kind: ValueKind) -> Known<'s> {
        match kind {
            ValueKind::Struct(id) => Known::Struct(self.schema.get(id)),
            _ => Known::Nothing,
        }
    }
}

impl FieldRule<'_> {
    const NONE: Self = Self {
        strategy: PatchStrategy {
            merge_key: String::new(),
            merge: false,
            retain_keys: false,
            replace: false,
        },
        values: Known::Nothing,
    };
}

/// `$retainKeys`: every other key of the original goes.
fn retain_keys(original: &mut Map, patch: &mut Map) -> Result<(), PatchError> {
    let Some(directive) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(kept) = directive else { return Err(PatchError::RetainKeys) };
    let kept: HashSet<&str> = kept.iter().filter_map(Value::as_str).collect();
    let is_kept = |key: &str| kept.contains(key);
    let is_directive = |key: &str| key.starts_with(DELETE_PREFIX) || key.starts_with(ORDER_PREFIX);
    if patch.iter().any(|(key, value)| !value.is_null() && !is_directive(key) && !is_kept(key)) {
        return Err(PatchError::RetainKeys);
    }
    original.retain(|key, _| is_kept(key));
    Ok(())
}

/// What is left of a patch where nothing was before: no directives, no nulls; `None` for an element with `$patch`.
pub(super) fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(fields) => {
            if fields.contains_key(DIRECTIVE) {
                return None;
            }
            let is_directive = |key: &str| {
                key == RETAIN_KEYS || key.starts_with(ORDER_PREFIX) || key.starts_with(DELETE_PREFIX)
            };
            let kept = fields.into_iter().filter(|(key, value)| !value.is_null() && !is_directive(key));
            Some(Value::Object(
                kept.filter_map(|(key, value)| Some((key, without_directives(value)?))).collect(),
            ))
        }
        Value::Array(values) => Some(values.into_iter().filter_map(without_directives).collect()),
        other => Some(other),
    }
}

fn list(value: Option<Value>, name: &str) -> Result<Option<Vec<Value>>, PatchError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(values)) => Ok(Some(values)),
        Some(_) => Err(PatchError::NotAList(name.to_owned())),
    }
}

/// A value as Go's `%v` prints it: `map[name:c port:82]`.
pub(super) fn go_print(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.to_string(),
        Value::Array(values) => format!("[{}]", values.iter().map(go_print).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let entries: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key}:{}", go_print(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
        other => other.to_string(),
    }
}
