//! The schema table: every type of the API with its fields, as data.
//!
//! One row describes one type: JSON names, protobuf numbers, list keys, merge keys. Pruning, strict decoding,
//! protobuf, strategic merge, field ownership and OpenAPI all read this table; nothing is listed a second time.
//! `host/api/schema/README.md` tells how the table is made.

mod part;
mod rows;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

pub use rows::SchemaError;

/// The types of the Kubernetes API that this build knows.
const KUBERNETES: &str = include_str!("../schema/v1.37.jsonl");

/// Types of `meta.k8s.io` that no client library registers as a kind: what metadata clients ask for with `Accept`.
const META: &str = include_str!("../schema/meta.jsonl");

/// The types of Berth's own API group, declared as any custom type is.
const BERTH: &str = include_str!("../schema/berth.jsonl");

/// All known types. Types can be added at run time, as Berth's own and custom resources are.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    types: Vec<Type>,
    by_name: HashMap<Box<str>, TypeId>,
    by_kind: HashMap<Box<str>, TypeId>,
}

/// The place of a [`Type`] in its [`Schema`]; only meaningful together with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TypeId(u32);

/// One type of the API.
#[derive(Clone, Debug)]
pub struct Type {
    /// The name in the table: `core.v1.Pod`.
    pub name: Box<str>,
    /// The fields in the order of their declaration, embedded types as one field of [`Field::inline`].
    pub fields: Vec<Field>,
    /// Under which `group/version/Kind` the type is served; empty for parts of other types.
    pub kinds: Vec<Box<str>>,
    /// Whether server-side apply sees the whole object as one value.
    pub atomic: bool,
    /// Whether fields that the type does not name are kept as they are, as [`ValueKind::Deduced`].
    pub open: bool,
    /// What the type is in JSON when it is no object with fields.
    pub scalar: Option<ValueKind>,
    /// The fields as JSON sees them: those of embedded types stand among the type's own.
    json: Vec<JsonField>,
    /// The same fields by the digest of their names: fields are looked up many times for each request.
    by_digest: Vec<(u32, u32)>,
    /// Those of them that Go's encoder prints though nobody set them.
    printed_unset: Vec<u32>,
}

#[derive(Clone, Debug)]
struct JsonField {
    name: Box<str>,
    owner: TypeId,
    index: u32,
}

/// One field of a [`Type`].
#[derive(Clone, Debug)]
pub struct Field {
    /// JSON name; empty for an embedded type.
    pub name: Box<str>,
    /// What one value is: of a list the element, of a map the value.
    pub kind: ValueKind,
    /// Whether the field holds one value, a list or a map with string keys.
    pub shape: Shape,
    /// Whether absence differs from the zero value (a Go pointer).
    pub pointer: bool,
    /// Whether the JSON fields of [`Field::kind`] stand in the parent.
    pub inline: bool,
    /// Protobuf field number; 0 when the field does not travel in protobuf.
    pub number: u32,
    /// Whether the zero value is left out of JSON.
    pub omit_empty: bool,
    /// Whether OpenAPI names the field as required.
    pub required: bool,
    /// How server-side apply and field ownership see a list.
    pub list: ListType,
    /// Whether server-side apply sees the map or struct in this field as one value.
    pub atomic: bool,
    /// How strategic merge patch treats the field.
    pub patch: PatchStrategy,
    /// The allowed values, when the type is an enumeration.
    pub values: Vec<Box<str>>,
    /// The declared default of the OpenAPI document (not what defaulting does).
    pub default: Option<berth_json::Value>,
}

/// What a single value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// A string.
    String,
    /// A 32-bit integer.
    Int32,
    /// A 64-bit integer.
    Int64,
    /// A 64-bit float.
    Float64,
    /// A boolean.
    Bool,
    /// Bytes; base64 in JSON.
    Bytes,
    /// A list of strings that is a message of its own in protobuf (`v1.ExtraValue`, `v1.Verbs`).
    Strings,
    /// A quantity such as `100m`.
    Quantity,
    /// `meta/v1.Time`.
    Time,
    /// `meta/v1.MicroTime`.
    MicroTime,
    /// A duration as Go writes it: `1h2m3s`.
    Duration,
    /// A number or a string.
    IntOrString,
    /// Any JSON object, as it is.
    AnyObject,
    /// Any JSON value, as it is.
    Any,
    /// Any JSON value, as it is, that is owned by its shape: an object entry by entry, anything else as one value.
    Deduced,
    /// Another type of the table.
    Struct(TypeId),
}

/// How many values a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One.
    Single,
    /// A list.
    List,
    /// A map with string keys.
    Map,
}

/// `x-kubernetes-list-type` with its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListType {
    /// Not declared: one value that is replaced as a whole.
    Undeclared,
    /// One value that is replaced as a whole.
    Atomic,
    /// A set of scalars.
    Set,
    /// Objects told apart by these keys.
    Map(Vec<Box<str>>),
}

/// `x-kubernetes-patch-strategy` with its merge key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists are merged by this key; empty for lists of scalars that merge as sets.
    pub merge_key: String,
    /// Whether lists (and maps) are merged instead of replaced.
    pub merge: bool,
    /// Whether `$retainKeys` is understood.
    pub retain_keys: bool,
    /// Whether an object is replaced instead of merged.
    pub replace: bool,
}

impl Schema {
    /// The table of this build: the Kubernetes types and Berth's own. Parsed once.
    pub fn builtin() -> &'static Arc<Self> {
        static BUILTIN: LazyLock<Arc<Schema>> = LazyLock::new(|| {
            let mut schema = Schema::default();
            if let Err(error) = schema.extend(&[KUBERNETES, META, BERTH].concat()) {
                panic!("the schema table of this build is broken: {error}");
            }
            Arc::new(schema)
        });
        &BUILTIN
    }

    /// The type called `name` in the table, e.g. `core.v1.Pod`.
    pub fn named(&self, name: &str) -> Option<&Type> {
        self.by_name.get(name).map(|id| self.get(*id))
    }

    /// The type served as `kind` of `api_version` (`v1`, `apps/v1`).
    pub fn of_kind(&self, api_version: &str, kind: &str) -> Option<&Type> {
        self.by_kind.get(format!("{api_version}/{kind}").as_str()).map(|id| self.get(*id))
    }

    /// The type at `id`.
    pub fn get(&self, id: TypeId) -> &Type {
        &self.types[id.0 as usize]
    }

    /// All types, in the order of the table.
    pub fn types(&self) -> impl Iterator<Item = &Type> {
        self.types.iter()
    }

    /// Adds the types of a table in the format of `host/api/schema/v1.37.jsonl`, one JSON object a line; they may
    /// refer to each other and to types that are there. A type of the same name is replaced.
    ///
    /// # Errors
    /// A line that is no row, or a field of a type that nobody declares; the schema is then unchanged.
    pub fn extend(&mut self, rows: &str) -> Result<(), SchemaError> {
        rows::extend(self, rows)
    }

    /// The field `name` of `parent` as JSON sees it: fields of embedded types are found too.
    pub fn field<'a>(&'a self, parent: &'a Type, name: &str) -> Option<&'a Field> {
        let wanted = digest(name);
        let from = parent.by_digest.partition_point(|(digest, _)| *digest < wanted);
        let same = parent.by_digest[from..].iter().take_while(|(digest, _)| *digest == wanted);
        let mut entries = same.map(|(_, at)| &parent.json[*at as usize]);
        entries.find(|entry| *entry.name == *name).map(|entry| self.field_at(entry))
    }

    /// The place of the type of that name.
    pub fn id_of(&self, name: &str) -> Option<TypeId> {
        self.by_name.get(name).copied()
    }

    /// The fields of `parent` as JSON sees them, sorted by name.
    pub fn json_fields<'a>(&'a self, parent: &'a Type) -> impl Iterator<Item = &'a Field> {
        parent.json.iter().map(|entry| self.field_at(entry))
    }

    /// The fields of `parent` that Go's encoder prints though nobody set them, sorted by name.
    pub(crate) fn printed_unset<'a>(&'a self, parent: &'a Type) -> impl Iterator<Item = &'a Field> {
        parent.printed_unset.iter().map(|at| self.field_at(&parent.json[*at as usize]))
    }

    fn field_at(&self, entry: &JsonField) -> &Field {
        &self.get(entry.owner).fields[entry.index as usize]
    }

    /// Fills in what is looked up in a type by the JSON names of its fields.
    fn index(&mut self, id: TypeId, json: Vec<JsonField>) {
        let positions = || (0..).zip(&json);
        let mut by_digest: Vec<(u32, u32)> =
            positions().map(|(at, entry)| (digest(&entry.name), at)).collect();
        by_digest.sort_unstable();
        let printed = |entry: &JsonField| is_printed_unset(self.get(id), self.field_at(entry));
        let printed_unset = positions().filter(|(_, entry)| printed(entry)).map(|(at, _)| at).collect();
        let indexed = &mut self.types[id.0 as usize];
        (indexed.json, indexed.by_digest, indexed.printed_unset) = (json, by_digest, printed_unset);
    }
}

/// Length and three bytes of a name: enough to tell most fields of a type apart without comparing texts.
fn digest(name: &str) -> u32 {
    let bytes = name.as_bytes();
    let at = |index: usize| bytes.get(index).copied().unwrap_or_default();
    u32::from_be_bytes([bytes.len() as u8, at(0), at(bytes.len() / 2), at(bytes.len().wrapping_sub(1))])
}

/// Whether Go's encoder prints a field of `parent` that nobody set.
fn is_printed_unset(parent: &Type, field: &Field) -> bool {
    match (field.shape, field.kind) {
        _ if field.pointer => !field.omit_empty,
        // The one time that Go's encoder leaves out (`omitzero`).
        (Shape::Single, ValueKind::Time) if &*parent.name == "meta.v1.ObjectMeta" => false,
        (
            Shape::Single,
            ValueKind::Struct(_)
            | ValueKind::Time
            | ValueKind::MicroTime
            | ValueKind::Quantity
            | ValueKind::IntOrString
            | ValueKind::Duration,
        ) => true,
        _ => !field.omit_empty,
    }
}

impl Type {
    /// `Pod` for `core.v1.Pod`.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }

    /// The name as Go prints it: `v1.Pod` for `core.v1.Pod`.
    pub fn go_name(&self) -> &str {
        let tail = self.name.rmatch_indices('.').nth(1).map_or(0, |(dot, _)| dot + 1);
        &self.name[tail..]
    }
}

#[cfg(test)]
mod tests {
    use super::{ListType, Schema, SchemaError, Shape, ValueKind};

    #[test]
    fn the_table_of_this_build() {
        let schema = Schema::builtin();
        let pod = schema.of_kind("v1", "Pod").unwrap();
        assert_eq!((&*pod.name, pod.short_name(), pod.go_name()), ("core.v1.Pod", "Pod", "v1.Pod"));
        assert!(schema.types().count() > 600);
        let container = schema.named("core.v1.Container").unwrap();
        let ports = schema.field(container, "ports").unwrap();
        assert_eq!(
            (ports.shape, ports.number, ports.patch.merge_key.as_str()),
            (Shape::List, 6, "containerPort")
        );
        assert_eq!(ports.list, ListType::Map(vec!["containerPort".into(), "protocol".into()]));
        let volumes = schema.field(schema.named("core.v1.PodSpec").unwrap(), "volumes").unwrap();
        assert!(volumes.patch.merge && volumes.patch.retain_keys);
        assert_eq!(schema.of_kind("v1", "Nothing").map(|found| found.short_name()), None);
    }

    #[test]
    fn embedded_fields_stand_in_the_parent() {
        let schema = Schema::builtin();
        let volume = schema.named("core.v1.Volume").unwrap();
        assert!(matches!(schema.field(volume, "emptyDir").unwrap().kind, ValueKind::Struct(_)));
        assert!(schema.field(volume, "").is_none());
        assert_eq!(schema.json_fields(volume).filter(|field| &*field.name == "name").count(), 1);
    }

    #[test]
    fn types_are_added_and_replaced_at_run_time() {
        let mut schema = Schema::clone(Schema::builtin());
        let rows = r#"{"name":"x.v1.A","kinds":["x.dev/v1/A"],"fields":[{"name":"b","type":"x.v1.B"}]}
            {"name":"x.v1.B","fields":[{"name":"when","type":"meta.v1.Time"}]}"#;
        schema.extend(rows).unwrap();
        let ValueKind::Struct(inner) =
            schema.field(schema.of_kind("x.dev/v1", "A").unwrap(), "b").unwrap().kind
        else {
            panic!("a struct was declared")
        };
        assert_eq!(schema.field(schema.get(inner), "when").unwrap().kind, ValueKind::Time);
        schema.extend(r#"{"name":"x.v1.B","fields":[{"name":"then","type":"string"}]}"#).unwrap();
        assert!(schema.field(schema.get(inner), "when").is_none());
        assert!(schema.field(schema.get(inner), "then").is_some());
    }

    #[test]
    fn broken_rows_change_nothing() {
        let mut schema = Schema::default();
        let circle = r#"{"name":"a","fields":[{"name":"","type":"a","inline":true}]}"#;
        assert!(matches!(schema.extend(circle), Err(SchemaError::Embedding { .. })));
        let error =
            schema.extend("{\"name\":\"a\",\"fields\":[{\"name\":\"x\",\"type\":\"Nowhere\"}]}").unwrap_err();
        assert_eq!(
            error.to_string(),
            "field \"x\" of schema type a has the unknown type Nowhere: declare it in the table"
        );
        assert!(matches!(schema.extend("\n\n[]"), Err(SchemaError::Row { line: 3, .. })));
        assert_eq!(schema.types().count(), 0);
    }
}
