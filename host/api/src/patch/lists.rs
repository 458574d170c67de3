//! Lists in strategic merge patches: merging by key or as sets, and the order of the result.

use std::collections::{HashMap, HashSet};

use berth_json::{Map, Value};

use super::strategic::{DIRECTIVE, Known, Merge, PatchError, go_print, without_directives};
use crate::decode::{Budget, Spent};

/// How many bytes of what tells elements apart are compared in the time in which an element is looked at.
const IDENTITY_BYTES_PER_STEP: usize = 64;

/// Merges `patch` into `original`: objects by `merge_key`, scalars as a set (when the key is empty).
pub(super) fn merge(
    merge: Merge<'_>,
    original: Vec<Value>,
    patch: Vec<Value>,
    merge_key: &str,
    values: Known<'_>,
) -> Result<Vec<Value>, PatchError> {
    let budget = merge.budget;
    if merge_key.is_empty() {
        let (server_order, patch_order) =
            (Places::of(&original, merge_key, budget)?, Places::of(&patch, merge_key, budget)?);
        let merged = distinct(original.into_iter().chain(patch).collect(), budget)?;
        return Ok(in_order(merged, &patch_order, &server_order, merge_key, budget)?);
    }
    let (mut original, patch) = directives(original, patch, merge_key, budget)?;
    let server_order = Places::of(&original, merge_key, budget)?;
    let patch_order = Places::of(&patch, merge_key, budget)?;
    let mut places = server_order.clone();
    for element in patch {
        let Value::Object(fields) = element else { return Err(PatchError::MixedList) };
        let Some(key) = fields.get(merge_key) else { return Err(no_merge_key(&fields.into(), merge_key)) };
        let key = text_of(key, budget)?;
        match places.0.get(&key).and_then(|at| original.get_mut(*at)) {
            Some(Value::Object(old)) => {
                *old = merge.objects(std::mem::take(old), fields, values)?;
            }
            _ => {
                places.0.insert(key, original.len());
                original.extend(without_directives(fields.into()));
            }
        }
    }
    Ok(in_order(original, &patch_order, &server_order, merge_key, budget)?)
}

/// Carries out the `$patch` elements of a list; what is left is merged.
fn directives(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    merge_key: &str,
    budget: &Budget,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let (mut plain, mut deleted, mut replaces) = (Vec::new(), HashSet::new(), false);
    for element in patch {
        match element.get(DIRECTIVE) {
            None => plain.push(element),
            Some(Value::String(word)) if word == "delete" => {
                let key = element.get(merge_key).ok_or_else(|| no_merge_key(&element, merge_key))?;
                deleted.insert(text_of(key, budget)?);
            }
            Some(Value::String(word)) if word == "replace" => replaces = true,
            Some(Value::String(word)) if word == "merge" => return Err(PatchError::MergeDirective),
            Some(other) => return Err(PatchError::Directive(go_print(other))),
        }
    }
    if replaces {
        let values = plain.into_iter().filter_map(without_directives).collect();
        return Ok((values, Vec::new()));
    }
    if !deleted.is_empty() {
        original = without(original, &deleted, merge_key, budget)?;
    }
    Ok((original, plain))
}

/// The values that none of `deleted` tells apart.
fn without(
    values: Vec<Value>,
    deleted: &HashSet<String>,
    merge_key: &str,
    budget: &Budget,
) -> Result<Vec<Value>, Spent> {
    let mut kept = Vec::with_capacity(values.len());
    for value in values {
        let is_deleted = match identity(&value, merge_key) {
            Some(identity) => deleted.contains(&text_of(identity, budget)?),
            None => false,
        };
        if !is_deleted {
            kept.push(value);
        }
    }
    Ok(kept)
}

/// `$deleteFromPrimitiveList/<name>`: takes these scalars out of the list `name`.
pub(super) fn delete_scalars(
    object: &mut Map,
    name: &str,
    deleted: &Value,
    budget: &Budget,
) -> Result<(), PatchError> {
    let Value::Array(deleted) = deleted else { return Err(PatchError::NotAList(name.to_owned())) };
    let deleted = deleted.iter().map(|value| text_of(value, budget)).collect::<Result<_, _>>()?;
    if let Some(Value::Array(values)) = object.get_mut(name) {
        *values = without(std::mem::take(values), &deleted, "", budget)?;
    }
    Ok(())
}

/// Checks that the elements of a patch stand in the order that `$setElementOrder` gives.
pub(super) fn check_order(patch: &[Value], order: &[Value], merge_key: &str) -> Result<(), PatchError> {
    let mut rest = order.iter();
    let merged = patch.iter().filter(|element| element.get(DIRECTIVE).is_none());
    for element in merged {
        let wanted = identity(element, merge_key);
        if !rest.any(|one| identity(one, merge_key) == wanted) {
            return Err(PatchError::Order {
                patch: go_print(&patch.to_vec().into()),
                order: go_print(&order.to_vec().into()),
            });
        }
    }
    Ok(())
}

/// Orders a merged list: what the patch names stands in `patch_order`, the rest as on the server, and where the two
/// meet, what the server has in front of a named element stays in front of it.
pub(super) fn in_order(
    merged: Vec<Value>,
    patch_order: &Places,
    server_order: &Places,
    merge_key: &str,
    budget: &Budget,
) -> Result<Vec<Value>, Spent> {
    let mut all = Vec::with_capacity(merged.len());
    let (mut named, mut others) = (Vec::new(), Vec::new());
    for value in merged {
        let key = identity(&value, merge_key).map(|identity| text_of(identity, budget)).transpose()?;
        let on_server = key.as_ref().and_then(|key| server_order.find(key));
        match key.as_ref().and_then(|key| patch_order.find(key)) {
            Some(place) => named.push((place, on_server, value)),
            None => others.push((on_server, value)),
        }
    }
    named.sort_by_key(|(place, ..)| *place);
    others.sort_by_key(|(on_server, _)| on_server.unwrap_or(usize::MAX));
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    while let (Some((_, name, _)), Some((other, _))) = (named.peek(), others.peek()) {
        let in_front = matches!((other, name), (Some(other), Some(name)) if other < name);
        all.extend(match in_front {
            true => others.next().map(|(_, value)| value),
            false => named.next().map(|(.., value)| value),
        });
    }
    all.extend(named.map(|(.., value)| value));
    all.extend(others.map(|(_, value)| value));
    Ok(all)
}

/// Where the elements of a list stand, by what tells them apart: lists may be long, so nothing here is quadratic.
#[derive(Clone)]
pub(super) struct Places(HashMap<String, usize>);

impl Places {
    pub(super) fn of(values: &[Value], merge_key: &str, budget: &Budget) -> Result<Self, Spent> {
        let mut places = HashMap::with_capacity(values.len());
        for (at, value) in values.iter().enumerate() {
            if let Some(identity) = identity(value, merge_key) {
                places.entry(text_of(identity, budget)?).or_insert(at);
            }
        }
        Ok(Self(places))
    }

    fn find(&self, key: &str) -> Option<usize> {
        self.0.get(key).copied()
    }
}

/// A value as a key. Whoever sends the same element a thousand times makes the whole list be looked at as often: it is paid for.
fn text_of(value: &Value, budget: &Budget) -> Result<String, Spent> {
    let text = value.to_string();
    budget.steps(1 + text.len() / IDENTITY_BYTES_PER_STEP)?;
    Ok(text)
}

/// By what two elements are the same: their merge key, or all of them.
fn identity<'v>(value: &'v Value, merge_key: &str) -> Option<&'v Value> {
    if merge_key.is_empty() { Some(value) } else { value.get(merge_key) }
}

fn distinct(values: Vec<Value>, budget: &Budget) -> Result<Vec<Value>, Spent> {
    let (mut seen, mut kept) = (HashSet::new(), Vec::with_capacity(values.len()));
    for value in values {
        if seen.insert(text_of(&value, budget)?) {
            kept.push(value);
        }
    }
    Ok(kept)
}

fn no_merge_key(element: &Value, key: &str) -> PatchError {
    PatchError::NoMergeKey { map: go_print(element), key: key.to_owned() }
}
