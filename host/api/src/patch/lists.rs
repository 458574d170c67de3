//! Lists in strategic merge patches: merging by key or as sets, and the order of the result.

use std::collections::{HashMap, HashSet};

use berth_json::{Map, Value};

use super::strategic::{DIRECTIVE, Known, Merge, PatchError, go_print, without_directives};

/// Merges `patch` into `original`: objects by `merge_key`, scalars as a set (when the key is empty).
pub(super) fn merge(
    merge: Merge<'_>,
    original: Vec<Value>,
    patch: Vec<Value>,
    merge_key: &str,
    values: Known<'_>,
) -> Result<Vec<Value>, PatchError> {
    if merge_key.is_empty() {
        let merged = distinct(original.iter().chain(&patch).cloned().collect());
        return Ok(in_order(merged, &patch, &original, merge_key));
    }
    let (mut original, patch) = directives(original, patch, merge_key)?;
    let server_order = original.clone();
    let mut places = Places::of(&original, merge_key);
    for element in &patch {
        let Value::Object(fields) = element else { return Err(PatchError::MixedList) };
        let key = fields.get(merge_key).ok_or_else(|| no_merge_key(element, merge_key))?.to_string();
        match places.0.get(&key).and_then(|at| original.get_mut(*at)) {
            Some(Value::Object(old)) => {
                *old = merge.objects(std::mem::take(old), fields.clone(), values)?;
            }
            _ => {
                places.0.insert(key, original.len());
                original.extend(without_directives(element.clone()));
            }
        }
    }
    Ok(in_order(original, &patch, &server_order, merge_key))
}

/// Carries out the `$patch` elements of a list; what is left is merged.
fn directives(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    merge_key: &str,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let (mut plain, mut deleted, mut replaces) = (Vec::new(), HashSet::new(), false);
    for element in patch {
        match element.get(DIRECTIVE) {
            None => plain.push(element),
            Some(Value::String(word)) if word == "delete" => {
                let key = element.get(merge_key).ok_or_else(|| no_merge_key(&element, merge_key))?;
                deleted.insert(key.to_string());
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
        original
            .retain(|element| !element.get(merge_key).is_some_and(|key| deleted.contains(&key.to_string())));
    }
    Ok((original, plain))
}

/// `$deleteFromPrimitiveList/<name>`: takes these scalars out of the list `name`.
pub(super) fn delete_scalars(object: &mut Map, name: &str, deleted: &Value) -> Result<(), PatchError> {
    let Value::Array(deleted) = deleted else { return Err(PatchError::NotAList(name.to_owned())) };
    let deleted: HashSet<String> = deleted.iter().map(Value::to_string).collect();
    if let Some(Value::Array(values)) = object.get_mut(name) {
        values.retain(|value| !deleted.contains(&value.to_string()));
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
    patch_order: &[Value],
    server_order: &[Value],
    merge_key: &str,
) -> Vec<Value> {
    let (patch_order, server_order) =
        (Places::of(patch_order, merge_key), Places::of(server_order, merge_key));
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|value| patch_order.find(value, merge_key).is_some());
    named.sort_by_cached_key(|value| patch_order.find(value, merge_key));
    others.sort_by_cached_key(|value| server_order.find(value, merge_key).unwrap_or(usize::MAX));
    let mut all = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    while let (Some(name), Some(other)) = (named.peek(), others.peek()) {
        let in_front = match (server_order.find(other, merge_key), server_order.find(name, merge_key)) {
            (Some(other), Some(name)) => other < name,
            _ => false,
        };
        all.extend(if in_front { others.next() } else { named.next() });
    }
    all.extend(named);
    all.extend(others);
    all
}

/// Where the elements of a list stand, by what tells them apart: lists may be long, so nothing here is quadratic.
struct Places(HashMap<String, usize>);

impl Places {
    fn of(values: &[Value], merge_key: &str) -> Self {
        let mut places = HashMap::with_capacity(values.len());
        for (at, value) in values.iter().enumerate() {
            if let Some(identity) = identity(value, merge_key) {
                places.entry(identity.to_string()).or_insert(at);
            }
        }
        Self(places)
    }

    fn find(&self, value: &Value, merge_key: &str) -> Option<usize> {
        self.0.get(&identity(value, merge_key)?.to_string()).copied()
    }
}

/// By what two elements are the same: their merge key, or all of them.
fn identity<'v>(value: &'v Value, merge_key: &str) -> Option<&'v Value> {
    if merge_key.is_empty() { Some(value) } else { value.get(merge_key) }
}

fn distinct(values: Vec<Value>) -> Vec<Value> {
    let mut seen = HashSet::new();
    values.into_iter().filter(|value| seen.insert(value.to_string())).collect()
}

fn no_merge_key(element: &Value, key: &str) -> PatchError {
    PatchError::NoMergeKey { map: go_print(element), key: key.to_owned() }
}
