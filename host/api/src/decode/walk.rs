//! The walk over a value of a schema type: prunes, checks and normalises while it reads.
//!
//! It is a serde visitor, so that it reads JSON text in one pass and [`Value`]s (from YAML, protobuf and patches) alike.

use std::cell::RefCell;
use std::fmt;

use berth_json::{Map, Number, Text, Value};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::budget::{Budget, CONTAINER_BYTES, NODE_BYTES, STRUCT_BYTES};
use super::path::Path;
use super::scalar::{self, ScalarError};
use super::syntax;
use super::{DEPTH_MAX, FINDINGS_MAX, Finding, TypeMeta};
use crate::schema::{Field, Schema, Shape, Type, ValueKind};

/// What a walk finds besides the value.
pub(super) struct Walk<'s> {
    schema: &'s Schema,
    budget: &'s Budget,
    findings: RefCell<Vec<Finding>>,
    /// The first error, worded as Go words it; serde's own error only carries the news that there is one.
    error: RefCell<Option<String>>,
    meta: RefCell<TypeMeta>,
    untyped: Untyped,
}

/// What is done about duplicate keys where the schema says nothing.
#[derive(Clone, Copy, PartialEq)]
enum Untyped {
    /// Kept quiet: values of `RawExtension` are taken as they are.
    Opaque,
    /// Found: the body of a patch.
    Checked,
}

/// One place in the object: what is expected there.
#[derive(Clone, Copy)]
struct Place<'w, 's> {
    walk: &'w Walk<'s>,
    kind: ValueKind,
    shape: Shape,
    path: &'w Path<'w>,
    /// The struct whose field is being read: Go's errors name it.
    parent: Option<&'s Type>,
    depth: usize,
}

/// Reads one object of `root`.
pub(super) fn object<'de, 's, D: Deserializer<'de>>(
    schema: &'s Schema,
    root: &'s Type,
    budget: &'s Budget,
    deserializer: D,
) -> (Result<Value, D::Error>, Outcome) {
    let walk = Walk::new(schema, budget, Untyped::Opaque);
    let value = deserializer.deserialize_any(Root { walk: &walk, root });
    let outcome = Outcome {
        findings: walk.findings.into_inner(),
        error: walk.error.into_inner(),
        meta: walk.meta.into_inner(),
    };
    (value, outcome)
}

/// Reads JSON of no type, duplicate keys found: the later wins.
pub(crate) fn untyped(text: &[u8], budget: &Budget) -> Result<(Value, Vec<Finding>), String> {
    if let Some(error) = syntax::error(text) {
        return Err(error);
    }
    let schema = Schema::default();
    let walk = Walk::new(&schema, budget, Untyped::Checked);
    let value = Place::anything(&walk).deserialize(&mut serde_json::Deserializer::from_slice(text));
    value.map(|value| (value, walk.findings.into_inner())).map_err(|error| error.to_string())
}

/// Reads JSON of no type as it is.
pub(super) fn opaque(text: &[u8], budget: &Budget) -> Result<Value, serde_json::Error> {
    let schema = Schema::default();
    let walk = Walk::new(&schema, budget, Untyped::Opaque);
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Place::anything(&walk).deserialize(&mut reader)?;
    reader.end().map(|()| value)
}

/// What a walk found besides the value.
pub(super) struct Outcome {
    pub(super) findings: Vec<Finding>,
    /// The first type error; `None` when the syntax is at fault.
    pub(super) error: Option<String>,
    pub(super) meta: TypeMeta,
}

impl<'s> Walk<'s> {
    fn new(schema: &'s Schema, budget: &'s Budget, untyped: Untyped) -> Self {
        Self {
            schema,
            budget,
            untyped,
            findings: RefCell::default(),
            error: RefCell::default(),
            meta: RefCell::default(),
        }
    }

    /// A finding's path is only written when there is room for one: it can be as long as the body.
    fn find(&self, of: fn(String) -> Finding, path: &Path<'_>) {
        let mut findings = self.findings.borrow_mut();
        if findings.len() < FINDINGS_MAX && !self.budget.is_spent() {
            let path = path.text();
            if self.budget.bytes(path.capacity()).is_ok() {
                findings.push(of(path));
            }
        }
    }

    fn pay<E: Error>(&self, bytes: usize) -> Result<(), E> {
        self.budget.bytes(bytes).map_err(|spent| self.fail(spent.to_string()))
    }

    fn fail<E: Error>(&self, message: String) -> E {
        self.error.borrow_mut().get_or_insert(message);
        E::custom("a value has the wrong type")
    }
}

struct Root<'w, 's> {
    walk: &'w Walk<'s>,
    root: &'s Type,
}

impl<'de> Visitor<'de> for Root<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Map::new().into())
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Value, A::Error> {
        structure(self.walk, self.root, &Path::Root, 0, access).map(Value::Object)
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.depth > DEPTH_MAX {
            return Err(self.walk.fail(format!("exceeded max depth of {DEPTH_MAX}")));
        }
        self.walk.pay(NODE_BYTES)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        match (self.shape, self.kind) {
            (Shape::Single, ValueKind::Bool | ValueKind::Any | ValueKind::AnyObject | ValueKind::Deduced) => {
                Ok(value.into())
            }
            _ => Err(self.mismatch("bool")),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        match (self.shape, self.kind) {
            (Shape::Single, ValueKind::Int32 | ValueKind::IntOrString) if i32::try_from(value).is_ok() => {
                Ok(value.into())
            }
            (
                Shape::Single,
                ValueKind::Int64
                | ValueKind::Any
                | ValueKind::AnyObject
                | ValueKind::Deduced
                | ValueKind::Float64,
            ) => Ok(value.into()),
            (Shape::Single, ValueKind::Quantity) => self.quantity(&value.to_string()),
            (Shape::Single, ValueKind::Int32 | ValueKind::IntOrString) => {
                Err(self.mismatch(&format!("number {value}")))
            }
            _ => Err(self.mismatch("number")),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        match (i64::try_from(value), self.shape, self.kind) {
            (Ok(value), ..) => self.visit_i64(value),
            (
                _,
                Shape::Single,
                ValueKind::Any | ValueKind::AnyObject | ValueKind::Deduced | ValueKind::Float64,
            ) => Ok(value.into()),
            (_, Shape::Single, ValueKind::Quantity) => self.quantity(&value.to_string()),
            (_, Shape::Single, ValueKind::Int32 | ValueKind::Int64 | ValueKind::IntOrString) => {
                Err(self.mismatch(&format!("number {value}")))
            }
            _ => Err(self.mismatch("number")),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        match (self.shape, self.kind) {
            (
                Shape::Single,
                ValueKind::Float64 | ValueKind::Any | ValueKind::AnyObject | ValueKind::Deduced,
            ) => Ok(Number::from_f64(value).map_or(Value::Null, Value::Number)),
            (Shape::Single, ValueKind::Quantity) => self.quantity(&value.to_string()),
            (Shape::Single, ValueKind::Int32 | ValueKind::Int64 | ValueKind::IntOrString) => {
                Err(self.mismatch(&format!("number {value:?}")))
            }
            _ => Err(self.mismatch("number")),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        if self.shape != Shape::Single {
            return Err(self.mismatch("string"));
        }
        self.walk.pay(value.len())?;
        let normal = match self.kind {
            ValueKind::String
            | ValueKind::IntOrString
            | ValueKind::Any
            | ValueKind::AnyObject
            | ValueKind::Deduced => Ok(value.into()),
            ValueKind::Quantity => return self.quantity(value),
            ValueKind::Bytes => scalar::base64(value),
            ValueKind::Time => scalar::time(value),
            ValueKind::MicroTime => scalar::micro_time(value),
            ValueKind::Duration => scalar::duration(value),
            _ => return Err(self.mismatch("string")),
        };
        normal.map(Value::String).map_err(|ScalarError(message)| self.walk.fail(message))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let element = match (self.shape, self.kind) {
            (Shape::List, kind) => kind,
            (Shape::Single, ValueKind::Strings) => ValueKind::String,
            (Shape::Single, ValueKind::Any | ValueKind::AnyObject) => ValueKind::Any,
            (Shape::Single, ValueKind::Deduced) => ValueKind::Deduced,
            _ => return Err(self.mismatch("array")),
        };
        self.walk.pay(CONTAINER_BYTES)?;
        let mut values = Vec::new();
        loop {
            let path = Path::Index(self.path, values.len());
            let place = self.child(element, Shape::Single, &path);
            let Some(value) = access.next_element_seed(place)? else { break };
            values.push(self.present(value, element));
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Value, A::Error> {
        match (self.shape, self.kind) {
            (Shape::Map, kind) => self.map(kind, access),
            (Shape::Single, ValueKind::Any | ValueKind::AnyObject) => self.map(ValueKind::Any, access),
            (Shape::Single, ValueKind::Deduced) => self.map(ValueKind::Deduced, access),
            (Shape::Single, ValueKind::Struct(id)) => {
                structure(self.walk, self.walk.schema.get(id), self.path, self.depth, access)
                    .map(Value::Object)
            }
            (Shape::Single, ValueKind::Quantity) => self.quantity("{"),
            _ => Err(self.mismatch("object")),
        }
    }
}

impl<'w, 's> Place<'w, 's> {
    /// Where the schema says nothing.
    fn anything(walk: &'w Walk<'s>) -> Self {
        Self { walk, kind: ValueKind::Any, shape: Shape::Single, path: &Path::Root, parent: None, depth: 0 }
    }

    fn child<'c>(self, kind: ValueKind, shape: Shape, path: &'c Path<'c>) -> Place<'c, 's>
    where
        'w: 'c,
    {
        Place { walk: self.walk, kind, shape, path, parent: self.parent, depth: self.depth + 1 }
    }

    fn map<'de, A: MapAccess<'de>>(self, kind: ValueKind, mut access: A) -> Result<Value, A::Error> {
        let is_opaque = matches!(self.kind, ValueKind::Any | ValueKind::AnyObject)
            && self.walk.untyped == Untyped::Opaque;
        self.walk.pay(CONTAINER_BYTES)?;
        let mut entries = Map::new();
        while let Some(key) = access.next_key::<Text>()? {
            self.walk.pay(key.len())?;
            let path = Path::Key(self.path, &key);
            let value = access.next_value_seed(self.child(kind, Shape::Single, &path))?;
            let mut value = self.present(value, kind);
            if let (ValueKind::Quantity, Value::String(amount)) = (kind, &mut value) {
                scalar::round_to_milli(amount);
            }
            if !is_opaque && entries.contains_key(&key) {
                self.walk.find(Finding::Duplicate, &path);
            }
            entries.insert(key, value);
        }
        Ok(entries.into())
    }

    /// Go has no null elements: a null in a list or map is the element's zero value.
    fn present(self, value: Value, kind: ValueKind) -> Value {
        if value.is_null() && !matches!(kind, ValueKind::Any | ValueKind::Deduced) {
            scalar::zero(kind)
        } else {
            value
        }
    }

    fn quantity<E: Error>(self, text: &str) -> Result<Value, E> {
        scalar::quantity(text).map(Value::String).map_err(|ScalarError(message)| self.walk.fail(message))
    }

    fn mismatch<E: Error>(self, found: &str) -> E {
        let wanted = go_type(self.walk.schema, self.kind, self.shape);
        let Some(parent) = self.parent else {
            return self.walk.fail(format!("json: cannot unmarshal {found} into Go value of type {wanted}"));
        };
        let field = format!("{}.{}", parent.short_name(), self.path.fields());
        self.walk
            .fail(format!("json: cannot unmarshal {found} into Go struct field {field} of type {wanted}"))
    }
}

/// Reads the fields of a struct.
fn structure<'de, A: MapAccess<'de>>(
    walk: &Walk<'_>,
    parent: &Type,
    path: &Path<'_>,
    depth: usize,
    mut access: A,
) -> Result<Map, A::Error> {
    walk.pay(STRUCT_BYTES)?;
    let mut fields = Map::new();
    while let Some(key) = access.next_key::<Text>()? {
        let here = Path::Field(path, &key);
        if depth == 0 && (key.eq_ignore_ascii_case("kind") || key.eq_ignore_ascii_case("apiVersion")) {
            let value = access.next_value_seed(Place::anything(walk))?;
            type_meta(walk, parent, &key, &value, &mut fields)?;
            continue;
        }
        let (kind, shape) = match walk.schema.field(parent, &key) {
            Some(field) => (field.kind, field.shape),
            None if parent.open => (ValueKind::Deduced, Shape::Single),
            None => {
                access.next_value::<serde::de::IgnoredAny>()?;
                walk.find(Finding::Unknown, &here);
                continue;
            }
        };
        let place = Place { walk, kind, shape, path: &here, parent: Some(parent), depth: depth + 1 };
        let value = access.next_value_seed(place)?;
        if let Some(earlier) = fields.get_mut(&key) {
            walk.find(Finding::Duplicate, &here);
            merge(earlier, value);
        } else {
            fields.insert(key, value);
        }
    }
    fields.retain(|name, value| match walk.schema.field(parent, name) {
        Some(field) => !is_omitted(field, value),
        None => parent.open,
    });
    Ok(fields)
}

/// `kind` and `apiVersion` of the object itself: found in any letter case, as the API server's first look does.
fn type_meta<E: Error>(
    walk: &Walk<'_>,
    parent: &Type,
    key: &str,
    value: &Value,
    fields: &mut Map,
) -> Result<(), E> {
    let text = match value {
        Value::String(text) => text.to_string(),
        Value::Null => String::new(),
        other => {
            let found = scalar::go_kind(other);
            let message =
                format!("json: cannot unmarshal {found} into Go struct field .{key} of type string");
            return Err(walk.fail(format!("couldn't get version/kind; json parse error: {message}")));
        }
    };
    let mut meta = walk.meta.borrow_mut();
    if key.eq_ignore_ascii_case("kind") {
        meta.kind = text
    } else {
        meta.api_version = text
    }
    drop(meta);
    let here = Path::Field(&Path::Root, key);
    if walk.schema.field(parent, key).is_none() {
        walk.find(Finding::Unknown, &here);
    } else if fields.insert(key, value.clone()).is_some() {
        walk.find(Finding::Duplicate, &here);
    }
    Ok(())
}

/// What Go does with a field that comes twice: structs and maps grow together, everything else is replaced.
fn merge(earlier: &mut Value, later: Value) {
    match (earlier, later) {
        (Value::Object(earlier), Value::Object(later)) => {
            for (key, value) in later {
                match earlier.get_mut(&key) {
                    Some(old) => merge(old, value),
                    None => {
                        earlier.insert(key, value);
                    }
                }
            }
        }
        (_, Value::Null) => {}
        (earlier, later) => *earlier = later,
    }
}

/// Whether Go's encoder leaves this value of this field out.
pub(super) fn is_omitted(field: &Field, value: &Value) -> bool {
    match value {
        _ if field.kind == ValueKind::Deduced && field.shape == Shape::Single => false,
        Value::Null => true,
        _ if field.pointer && field.shape == Shape::Single => false,
        // An empty list of managers is a wish: it clears them (see `managed_fields`).
        Value::Array(_) if &*field.name == "managedFields" => false,
        Value::Array(values) => field.omit_empty && values.is_empty(),
        Value::Object(entries) => field.omit_empty && field.shape == Shape::Map && entries.is_empty(),
        Value::String(text) => field.omit_empty && text.is_empty(),
        Value::Bool(value) => field.omit_empty && field.kind == ValueKind::Bool && !value,
        Value::Number(number) => {
            let counts = matches!(field.kind, ValueKind::Int32 | ValueKind::Int64 | ValueKind::Float64);
            field.omit_empty && counts && number.as_f64() == Some(0.0)
        }
    }
}

/// The type as Go's reflection prints it.
fn go_type(schema: &Schema, kind: ValueKind, shape: Shape) -> String {
    let element = match kind {
        ValueKind::String | ValueKind::Time | ValueKind::MicroTime | ValueKind::Duration => "string",
        ValueKind::Int32 | ValueKind::IntOrString => "int32",
        ValueKind::Int64 => "int64",
        ValueKind::Float64 => "float64",
        ValueKind::Bool => "bool",
        ValueKind::Bytes => "[]uint8",
        ValueKind::Strings => "[]string",
        ValueKind::Quantity => "resource.Quantity",
        ValueKind::Any | ValueKind::AnyObject | ValueKind::Deduced => "runtime.RawExtension",
        ValueKind::Struct(id) => schema.get(id).go_name(),
    };
    match shape {
        Shape::Single => element.to_owned(),
        Shape::List => format!("[]{element}"),
        Shape::Map => format!("map[string]{element}"),
    }
}
