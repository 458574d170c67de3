//! The keywords of schemas that the schema table lets pass: those below `items` and `additionalProperties`, which may be a
//! schema or something else.

use std::collections::BTreeSet;

use berth_api::Schema;
use berth_api::decode::{FINDINGS_MAX, Finding};
use berth_api::schema::Type;
use berth_json::{Map, Value};

use super::schema::leads_down;
use super::view;
use crate::formats::Format;
use crate::path::Path;

const PROPS: &str = "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// Drops unknown keywords, and empty ones, from all schemas of a definition.
pub(super) fn prune(definition: &mut Value) -> Vec<Finding> {
    let table = Schema::builtin();
    let Some(props) = table.named(PROPS) else { return Vec::new() };
    let mut pruning = Pruning { table, props, findings: Vec::new() };
    let versions = definition.pointer_mut("/spec/versions").and_then(Value::as_array_mut);
    for (at, version) in versions.into_iter().flatten().enumerate() {
        if let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema") {
            let path = format!("spec.versions[{at}].schema.openAPIV3Schema");
            pruning.schema(schema, &Path::Named(&path));
        }
    }
    pruning.findings
}

struct Pruning<'t> {
    table: &'t Schema,
    props: &'t Type,
    findings: Vec<Finding>,
}

impl Pruning<'_> {
    fn schema(&mut self, schema: &mut Value, path: &Path<'_>) {
        let Value::Object(keywords) = schema else { return };
        keywords.retain(|keyword, said| {
            let here = Path::Field(path, keyword);
            let Some(field) = self.table.field(self.props, keyword) else {
                if self.findings.len() < FINDINGS_MAX {
                    self.findings.push(Finding::Unknown(here.dotted()));
                }
                return false;
            };
            if keyword == "properties" {
                let fields = said.as_object_mut().map(Map::iter_mut).into_iter().flatten();
                fields.for_each(|(name, field)| self.schema(field, &Path::Field(&here, name)));
            } else if let Value::Array(clauses) = said
                && leads_down(keyword)
            {
                let clauses = clauses.iter_mut().enumerate();
                clauses.for_each(|(at, clause)| self.schema(clause, &Path::Index(&here, at)));
            } else if leads_down(keyword) {
                self.schema(said, &here);
            }
            !said.is_null() && (field.pointer || !is_empty(said))
        });
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        value => *value == false,
    }
}

/// What a definition says that nobody will check or ask, or that applying cannot do.
pub(super) fn warnings(definition: &Value) -> Vec<String> {
    let (mut formats, mut sets) = (BTreeSet::new(), BTreeSet::new());
    for schema in view::schemas(definition) {
        warn(schema, &mut formats, &mut sets);
    }
    let webhook = view::has_webhook(definition).then(|| NO_WEBHOOKS.to_owned());
    formats.into_iter().chain(sets).chain(webhook).collect()
}

/// What is told of a conversion that nobody asks for.
const NO_WEBHOOKS: &str =
    "spec.conversion.webhook: conversion webhooks are not called here; the stored version alone is served";

fn warn(schema: &Value, formats: &mut BTreeSet<String>, sets: &mut BTreeSet<String>) {
    let Value::Object(keywords) = schema else { return };
    let text = |of: &Value, keyword: &str| of[keyword].as_str().unwrap_or_default().to_owned();
    let (format, json_type) = (text(schema, "format"), text(schema, "type"));
    if !format.is_empty() && Format::of(&format, &json_type).is_none() {
        formats.insert(format!("unrecognized format {}", Value::from(format)));
    }
    let items = text(&schema["items"], "type");
    if schema["x-kubernetes-list-type"] == "set" && matches!(&*items, "object" | "array") {
        sets.insert(format!(
            "x-kubernetes-list-type: set for items of type \"{items}\" is not supported by server-side apply or CEL \
             validation rules"
        ));
    }
    for (keyword, said) in keywords.iter().filter(|(keyword, _)| leads_down(keyword)) {
        match said {
            Value::Object(fields) if keyword == "properties" => {
                fields.values().for_each(|field| warn(field, formats, sets));
            }
            Value::Array(clauses) => clauses.iter().for_each(|clause| warn(clause, formats, sets)),
            other => warn(other, formats, sets),
        }
    }
}

#[cfg(test)]
mod tests {
    use berth_api::decode::Finding;
    use berth_json::json;

    use super::{prune, warnings};

    #[test]
    fn keywords_where_the_table_sees_none() {
        let mut definition = json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": {
            "type": "object",
            "properties": {"l": {"type": "array", "description": "", "items": {
                "type": "string", "typo": 1, "enum": [], "nullable": false, "maxLength": 0,
                "x-kubernetes-preserve-unknown-fields": false,
            }}},
            "anyOf": [{"required": ["l"], "other": true}],
        }}}]}});
        let schema = "spec.versions[0].schema.openAPIV3Schema";
        assert_eq!(
            prune(&mut definition),
            [
                Finding::Unknown(format!("{schema}.anyOf[0].other")),
                Finding::Unknown(format!("{schema}.properties.l.items.typo")),
            ]
        );
        let pruned = definition.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap();
        assert_eq!(
            *pruned,
            json!({
                "type": "object",
                "properties": {"l": {"type": "array", "items": {
                    "type": "string", "maxLength": 0, "x-kubernetes-preserve-unknown-fields": false,
                }}},
                "anyOf": [{"required": ["l"]}],
            })
        );
    }

    #[test]
    fn what_is_warned_of() {
        let definition = json!({"spec": {
            "conversion": {"strategy": "Webhook"},
            "versions": [{"schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "a": {"type": "string", "format": "odd"}, "b": {"type": "string", "format": "date"},
                "c": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}},
            }}}}],
        }});
        let warnings = warnings(&definition);
        assert_eq!(warnings.len(), 3);
        assert_eq!(warnings[0], "unrecognized format \"odd\"");
        assert!(
            warnings[1].contains("items of type \"object\"") && warnings[2].contains("webhooks"),
            "{warnings:?}"
        );
    }
}
