//! `kubectl.kubernetes.io/last-applied-configuration`: what kubectl applied from its own side.
//!
//! Who changes from client-side to server-side apply meets what the client's writes own as `Update`s. What the annotation
//! shows to be the client's own is taken over without a conflict, and the annotation is kept true, so that the way back is
//! open too.

use berth_json::Value;

use super::set::FieldSet;
use super::{check, compare, owned};
use crate::decode::{Budget, Spent};
use crate::kinds::meta::ANNOTATIONS_BYTES_MAX;
use crate::schema::{Schema, Type};

/// The one manager for whom all this is done: the name that kubectl has unless its user says otherwise.
pub(super) const MANAGER: &str = "kubectl";

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The fields that were last applied and are still as they were then; none when nobody applied from the client's side.
///
/// # Errors
/// When the budget is spent.
pub(super) fn still_there(
    schema: &Schema,
    budget: &Budget,
    root: &Type,
    live: &Value,
    api_version: &str,
) -> Result<FieldSet, Spent> {
    let none = Ok(FieldSet::default());
    let Some(text) = annotation(live) else { return none };
    budget.bytes(text.len())?;
    let Ok(applied @ Value::Object(_)) = serde_json::from_str::<Value>(text) else { return none };
    let Value::Object(fields) = &applied else { return none };
    let is_same_version = fields.get("apiVersion").and_then(Value::as_str) == Some(api_version);
    if !is_same_version || check::problems(schema, budget, root, fields)?.is_some() {
        return none;
    }
    let mut set = owned::fields(schema, root, fields);
    let (changed, gone) = compare::objects(schema, root, Some(&applied), live);
    set.remove(&changed);
    set.remove(&gone);
    Ok(set)
}

/// Puts `config` into the annotation of an object that has one.
pub(super) fn keep_true(object: &mut Value, config: &Value) {
    if annotation(object).is_none() {
        return;
    }
    let mut config = config.clone();
    if let Some(annotations) = annotations_of(&mut config) {
        annotations.remove(ANNOTATION);
    }
    let Some(annotations) = annotations_of(object) else { return };
    let text = format!("{config}\n");
    annotations.insert(ANNOTATION, text.into());
    let bytes = annotations.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len));
    if bytes.sum::<usize>() > ANNOTATIONS_BYTES_MAX {
        annotations.remove(ANNOTATION);
    }
}

fn annotation(object: &Value) -> Option<&str> {
    let text = object.get("metadata")?.get("annotations")?.get(ANNOTATION)?.as_str()?;
    (!text.is_empty()).then_some(text)
}

fn annotations_of(object: &mut Value) -> Option<&mut berth_json::Map> {
    object.get_mut("metadata")?.get_mut("annotations")?.as_object_mut()
}
