//! Reads the table's rows and links the types to each other.

use std::borrow::Cow;
use std::collections::HashMap;

use berth_json::Value;
use serde::Deserialize;

use super::{Field, JsonField, ListType, PatchStrategy, Schema, Shape, Type, TypeId, ValueKind};

/// Why rows cannot be added to the schema table.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A line is no row.
    #[error("line {line} of the schema table is no type: {source}")]
    Row {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A field has a type that neither the rows nor the schema declare.
    #[error("field \"{field}\" of schema type {parent} has the unknown type {name}: declare it in the table")]
    UnknownType {
        /// The type that has the field.
        parent: String,
        /// The field.
        field: String,
        /// The unknown type.
        name: String,
    },
    /// Types embed each other in a circle, or more deeply than [`EMBEDDING_MAX`].
    #[error("schema type {name} embeds types more than {EMBEDDING_MAX} deep: break the circle")]
    Embedding {
        /// The outer type.
        name: String,
    },
}

/// How deep types may embed types; the Kubernetes API needs 3.
const EMBEDDING_MAX: usize = 8;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    fields: Vec<FieldRow<'a>>,
    #[serde(borrow, default)]
    kinds: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    map_type: Cow<'a, str>,
    #[serde(borrow, default)]
    scalar: Cow<'a, str>,
    #[serde(default)]
    open: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FieldRow<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default)]
    list: bool,
    #[serde(default)]
    map: bool,
    #[serde(default)]
    pointer: bool,
    #[serde(default)]
    inline: bool,
    #[serde(default)]
    proto: u32,
    #[serde(default)]
    omitempty: bool,
    #[serde(default)]
    required: bool,
    #[serde(borrow, default)]
    list_type: Cow<'a, str>,
    #[serde(borrow, default)]
    list_keys: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    map_type: Cow<'a, str>,
    #[serde(borrow, default)]
    patch_strategy: Cow<'a, str>,
    #[serde(borrow, default)]
    patch_merge_key: Cow<'a, str>,
    #[serde(borrow, rename = "enum", default)]
    values: Vec<Cow<'a, str>>,
    #[serde(default)]
    default: Option<Value>,
}

pub(super) fn extend(schema: &mut Schema, text: &str) -> Result<(), SchemaError> {
    let rows = parse(text)?;
    let mut grown = schema.clone();
    let mut kinds: HashMap<&str, ValueKind> = HashMap::with_capacity(rows.len());
    let mut ids = Vec::with_capacity(rows.len());
    for row in &rows {
        let id = grown.place(&row.name);
        kinds.insert(&row.name, scalar(&row.scalar).unwrap_or(ValueKind::Struct(id)));
        ids.push(id);
    }
    for (row, id) in rows.iter().zip(&ids) {
        let fields =
            row.fields.iter().map(|field| field.link(row, &grown, &kinds)).collect::<Result<_, _>>()?;
        for kind in &row.kinds {
            grown.by_kind.insert((**kind).into(), *id);
        }
        grown.types[id.0 as usize] = Type {
            name: (*row.name).into(),
            fields,
            kinds: row.kinds.iter().map(|kind| (**kind).into()).collect(),
            atomic: row.map_type == "atomic",
            open: row.open,
            scalar: scalar(&row.scalar),
            json: Vec::new(),
            by_digest: Vec::new(),
            printed_unset: Vec::new(),
        };
    }
    // All types, not only the new ones: a type that was replaced may be embedded in others.
    for id in (0..grown.types.len()).map(|index| TypeId(index as u32)) {
        let mut json = Vec::new();
        flatten(&grown, id, 0, &mut json)?;
        json.sort_by(|a, b| a.name.cmp(&b.name));
        grown.index(id, json);
    }
    *schema = grown;
    Ok(())
}

fn parse(text: &str) -> Result<Vec<Row<'_>>, SchemaError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            serde_json::from_str(line).map_err(|source| SchemaError::Row { line: at + 1, source })
        })
        .collect()
}

/// The table's `scalar` words. The three unions of JSONSchemaProps are any JSON: custom resources are not served yet,
/// and nothing else has them.
fn scalar(word: &str) -> Option<ValueKind> {
    Some(match word {
        "quantity" => ValueKind::Quantity,
        "date-time" => ValueKind::Time,
        "date-time-micro" => ValueKind::MicroTime,
        "duration" => ValueKind::Duration,
        "int-or-string" => ValueKind::IntOrString,
        "any-object" => ValueKind::AnyObject,
        "any" | "schema-or-array" | "schema-or-bool" | "schema-or-strings" => ValueKind::Any,
        _ => return None,
    })
}

fn primitive(word: &str) -> Option<ValueKind> {
    Some(match word {
        "string" => ValueKind::String,
        "int32" => ValueKind::Int32,
        "int64" => ValueKind::Int64,
        "float64" => ValueKind::Float64,
        "bool" => ValueKind::Bool,
        "bytes" => ValueKind::Bytes,
        "list-of-string" => ValueKind::Strings,
        "deduced" => ValueKind::Deduced,
        _ => return None,
    })
}

impl FieldRow<'_> {
    fn link(
        &self,
        parent: &Row<'_>,
        schema: &Schema,
        new: &HashMap<&str, ValueKind>,
    ) -> Result<Field, SchemaError> {
        let known = || {
            schema.by_name.get(&*self.kind).map(|id| schema.get(*id).scalar.unwrap_or(ValueKind::Struct(*id)))
        };
        let kind = primitive(&self.kind).or_else(|| new.get(&*self.kind).copied()).or_else(known);
        let kind = kind.ok_or_else(|| SchemaError::UnknownType {
            parent: parent.name.to_string(),
            field: self.name.to_string(),
            name: self.kind.to_string(),
        })?;
        Ok(Field {
            name: (*self.name).into(),
            kind,
            shape: self.shape(),
            pointer: self.pointer,
            inline: self.inline,
            number: self.proto,
            omit_empty: self.omitempty,
            required: self.required,
            list: self.list_type(),
            atomic: self.map_type == "atomic",
            patch: self.patch(),
            values: self.values.iter().map(|value| (**value).into()).collect(),
            default: self.default.clone(),
        })
    }

    fn shape(&self) -> Shape {
        match (self.list, self.map) {
            (true, _) => Shape::List,
            (_, true) => Shape::Map,
            _ => Shape::Single,
        }
    }

    fn list_type(&self) -> ListType {
        match &*self.list_type {
            "map" => ListType::Map(self.list_keys.iter().map(|key| (**key).into()).collect()),
            "set" => ListType::Set,
            "atomic" => ListType::Atomic,
            _ => ListType::Undeclared,
        }
    }

    fn patch(&self) -> PatchStrategy {
        let has = |word| self.patch_strategy.split(',').any(|strategy| strategy == word);
        PatchStrategy {
            merge_key: self.patch_merge_key.to_string(),
            merge: has("merge"),
            retain_keys: has("retainKeys"),
            replace: has("replace"),
        }
    }
}

impl Schema {
    /// The place of the type `name`: its old one, or a new one at the end that is filled in later.
    pub(super) fn place(&mut self, name: &str) -> TypeId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = TypeId(u32::try_from(self.types.len()).expect("a schema has fewer than 2^32 types"));
        self.types.push(Type::empty());
        self.by_name.insert(name.into(), id);
        id
    }
}

impl Type {
    fn empty() -> Self {
        Self {
            name: "".into(),
            fields: Vec::new(),
            kinds: Vec::new(),
            atomic: false,
            open: false,
            scalar: None,
            json: Vec::new(),
            by_digest: Vec::new(),
            printed_unset: Vec::new(),
        }
    }
}

fn flatten(schema: &Schema, id: TypeId, depth: usize, json: &mut Vec<JsonField>) -> Result<(), SchemaError> {
    let parent = schema.get(id);
    if depth > EMBEDDING_MAX {
        return Err(SchemaError::Embedding { name: parent.name.to_string() });
    }
    for (index, field) in parent.fields.iter().enumerate() {
        match field.kind {
            ValueKind::Struct(inner) if field.inline => flatten(schema, inner, depth + 1, json)?,
            _ if field.name.is_empty() => {}
            _ => {
                let index = u32::try_from(index).expect("a type has fewer than 2^32 fields");
                json.push(JsonField { name: field.name.clone(), owner: id, index });
            }
        }
    }
    Ok(())
}
