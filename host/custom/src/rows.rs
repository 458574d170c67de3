//! A structural schema as rows of a schema table, which tell who owns which fields.

use std::collections::BTreeMap;

use berth_api::Schema;
use berth_json::{Text, Value, json};

use crate::kinds::metadata_types;
use crate::structural::{Additional, JsonType, ListType, SchemaError, Structural, is_meta_field};

/// The types of one version of a custom kind.
pub(crate) struct Types {
    /// The table.
    pub(crate) schema: Schema,
    /// The type that a body is decoded as: metadata, and anything.
    pub(crate) whole: String,
    /// The type that tells who owns which fields.
    pub(crate) owned: String,
}

/// A number or a text.
const INT_OR_STRING: &str = "int-or-string";
/// Any value, owned as a whole.
const ANY: &str = "any";
/// Any value, owned by its shape.
const DEDUCED: &str = "deduced";

pub(crate) fn types(
    group: &str,
    version: &str,
    kind: &str,
    schema: &Structural,
) -> Result<Types, SchemaError> {
    let (whole, owned) = (format!("custom.{version}.{kind}"), format!("custom.{version}.{kind}.fields"));
    let mut rows = Rows { rows: Vec::new(), prefix: &owned };
    rows.rows.push(json!({
        "name": whole, "kinds": [format!("{group}/{version}/{kind}")], "open": true, "fields": whole_fields(),
    }));
    for (name, scalar) in [(INT_OR_STRING, INT_OR_STRING), (ANY, ANY)] {
        rows.rows.push(json!({ "name": name, "scalar": scalar }));
    }
    let mut fields = whole_fields();
    fields.extend(rows.fields(schema, is_meta_field));
    rows.rows.push(json!({ "name": owned, "open": schema.preserves_unknown, "fields": fields }));
    let text: Vec<String> = rows.rows.iter().map(Value::to_string).collect();
    let mut table = metadata_types();
    table.extend(&text.join("\n")).map_err(|why| SchemaError::Rows(why.to_string()))?;
    Ok(Types { schema: table, whole, owned })
}

/// `apiVersion`, `kind` and `metadata`, as every kind has them.
fn whole_fields() -> Vec<Value> {
    vec![
        json!({ "name": "", "type": "meta.v1.TypeMeta", "inline": true }),
        json!({ "name": "metadata", "type": "meta.v1.ObjectMeta", "omitempty": true }),
    ]
}

struct Rows<'p> {
    rows: Vec<Value>,
    prefix: &'p str,
}

/// What a value is, and how many of it a field holds.
struct Held {
    word: String,
    is_list: bool,
    is_map: bool,
}

impl Held {
    fn single(word: impl Into<String>) -> Self {
        Self { word: word.into(), is_list: false, is_map: false }
    }
}

impl Rows<'_> {
    /// The fields of an object, but those that stand there anyway.
    fn fields(&mut self, schema: &Structural, skips: fn(&str) -> bool) -> Vec<Value> {
        let known: &BTreeMap<Text, Structural> = &schema.properties;
        let fields = known.iter().filter(|(name, _)| !skips(name));
        fields.map(|(name, place)| self.field(name, place)).collect()
    }

    fn field(&mut self, name: &str, place: &Structural) -> Value {
        let held = self.held(place);
        let mut field = json!({
            "name": name, "type": held.word, "list": held.is_list, "map": held.is_map, "pointer": true,
            "omitempty": true,
        });
        match &place.list {
            _ if !held.is_list => {}
            ListType::Atomic => field["listType"] = "atomic".into(),
            ListType::Set => field["listType"] = "set".into(),
            ListType::Map(keys) => {
                field["listType"] = "map".into();
                field["listKeys"] = keys.iter().map(|key| key.as_str()).collect();
            }
        }
        if place.is_atomic {
            field["mapType"] = "atomic".into();
        }
        // Elements are told apart by keys that may be left to their defaults.
        if let Some(default) = &place.default {
            field["default"] = default.clone();
        }
        field
    }

    fn held(&mut self, place: &Structural) -> Held {
        if place.int_or_string {
            return Held::single(INT_OR_STRING);
        }
        match place.json_type {
            Some(JsonType::String) => Held::single("string"),
            Some(JsonType::Integer) => Held::single("int64"),
            Some(JsonType::Number) => Held::single("float64"),
            Some(JsonType::Boolean) => Held::single("bool"),
            Some(JsonType::Array) => {
                let word =
                    place.items.as_ref().map_or_else(|| ANY.to_owned(), |items| self.element(items, ANY));
                Held { word, is_list: true, is_map: false }
            }
            Some(JsonType::Object) => match &place.additional {
                Additional::Schema(values) if place.properties.is_empty() => {
                    Held { word: self.element(values, DEDUCED), is_list: false, is_map: true }
                }
                _ => Held::single(self.object(place)),
            },
            None => Held::single(DEDUCED),
        }
    }

    /// An element of a list or a map; the table has no lists of lists, for which `otherwise` stands.
    fn element(&mut self, place: &Structural, otherwise: &str) -> String {
        let held = self.held(place);
        if held.is_list || held.is_map { otherwise.to_owned() } else { held.word }
    }

    /// A row for an object with fields; one of which nothing is known is what its value is.
    fn object(&mut self, place: &Structural) -> String {
        if place.properties.is_empty() && !place.embedded {
            return DEDUCED.to_owned();
        }
        let mut fields = if place.embedded { whole_fields() } else { Vec::new() };
        let skips = if place.embedded { is_meta_field } else { |_: &str| false };
        fields.extend(self.fields(place, skips));
        let name = format!("{}.{}", self.prefix, self.rows.len());
        let map_type = if place.is_atomic { "atomic" } else { "" };
        self.rows.push(json!({
            "name": name, "open": place.preserves_unknown, "mapType": map_type, "fields": fields,
        }));
        name
    }
}

#[cfg(test)]
mod tests {
    use berth_api::schema::{ListType, Shape, ValueKind};
    use berth_json::json;

    use super::types;
    use crate::Structural;

    #[test]
    fn fields_by_their_owners_grain() {
        let schema = Structural::parse(&json!({"type": "object", "properties": {
            "metadata": {"type": "object"},
            "spec": {"type": "object", "properties": {
                "items": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "properties": {
                        "name": {"type": "string"}, "port": {"type": "integer", "default": 80},
                    }}},
                "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "whole": {"type": "object", "properties": {"a": {"type": "string"}}, "x-kubernetes-map-type": "atomic"},
                "io": {"x-kubernetes-int-or-string": true},
                "nested": {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            }},
        }}))
        .unwrap();
        let types = types("g.example", "v1", "Rack", &schema).unwrap();
        let table = &types.schema;
        let owned = table.named(&types.owned).unwrap();
        let ValueKind::Struct(spec) = table.field(owned, "spec").unwrap().kind else { panic!("spec") };
        let field = |name: &str| table.field(table.get(spec), name).unwrap();
        assert_eq!(field("items").list, ListType::Map(vec!["name".into()]));
        let ValueKind::Struct(item) = field("items").kind else { panic!("items") };
        assert_eq!(table.field(table.get(item), "port").unwrap().default, Some(json!(80)));
        assert_eq!((field("tags").list.clone(), field("tags").kind), (ListType::Set, ValueKind::String));
        assert_eq!((field("labels").shape, field("labels").kind), (Shape::Map, ValueKind::String));
        assert!(field("whole").atomic);
        assert_eq!(field("io").kind, ValueKind::IntOrString);
        assert_eq!((field("nested").shape, field("nested").kind), (Shape::List, ValueKind::Any));
        assert_eq!((field("free").shape, field("free").kind), (Shape::Single, ValueKind::Deduced));
        assert!(matches!(table.field(owned, "metadata").unwrap().kind, ValueKind::Struct(_)));
        let whole = table.of_kind("g.example/v1", "Rack").unwrap();
        assert_eq!(&*whole.name, types.whole);
        assert!(
            whole.open && table.field(whole, "apiVersion").is_some() && table.field(whole, "spec").is_none()
        );
    }
}
