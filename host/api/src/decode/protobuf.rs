//! Protobuf to JSON, driven by the schema table.
//!
//! The wire type that stands in the message decides how bytes are read, the table what they mean. Unknown fields are
//! skipped, as Go's generated code does.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use berth_json::{Map, Number, Value};

use super::budget::{Budget, CONTAINER_BYTES, NODE_BYTES, Spent};
use super::{DEPTH_MAX, TypeMeta, walk};
use crate::schema::{Field, Schema, Shape, Type, ValueKind};
use crate::time::Timestamp;

/// What every protobuf body of the Kubernetes API begins with.
pub(crate) const MAGIC: &[u8] = b"k8s\0";

/// What a time can be in JSON, whose years have four digits: the first second of the year 0 and the last of 9999.
const YEAR_0_S: i64 = -62_167_219_200;
const YEAR_9999_END_S: i64 = 253_402_300_799;

/// Why bytes are no such message, in Go's words where it has some.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProtoError {
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    #[error("empty data")]
    NoData,
    #[error("empty body")]
    NoBody,
    #[error("unexpected EOF")]
    Truncated,
    #[error("proto: integer overflow")]
    Overflow,
    #[error("proto: illegal wireType {0}")]
    WireType(u8),
    #[error("proto: wrong wireType = {wire} for field {field}")]
    WrongWireType { wire: u8, field: String },
    #[error("proto: {seconds} seconds and {nanos} nanoseconds are no time between the years 0 and 9999")]
    Time { seconds: i64, nanos: i64 },
    #[error("proto: exceeded max depth of {DEPTH_MAX}")]
    Depth,
    #[error("proto: field {0} does not hold JSON: {1}")]
    Json(String, serde_json::Error),
    #[error(transparent)]
    Spent(#[from] Spent),
}

/// The envelope `runtime.Unknown`: what kind it holds, and the bytes of the object.
pub(super) fn envelope(body: &[u8]) -> Result<(TypeMeta, &[u8]), ProtoError> {
    if body.is_empty() {
        return Err(ProtoError::NoData);
    }
    let rest = body.strip_prefix(MAGIC).ok_or(ProtoError::Magic)?;
    if rest.is_empty() {
        return Err(ProtoError::NoBody);
    }
    let (mut meta, mut raw): (TypeMeta, &[u8]) = (TypeMeta::default(), &[]);
    for item in Fields(rest) {
        match item? {
            (1, Wire::Bytes(bytes)) => {
                for item in Fields(bytes) {
                    match item? {
                        (1, Wire::Bytes(text)) => {
                            meta.api_version = String::from_utf8_lossy(text).into_owned()
                        }
                        (2, Wire::Bytes(text)) => meta.kind = String::from_utf8_lossy(text).into_owned(),
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    Ok((meta, raw))
}

/// The message `raw` of type `root` as a JSON object.
pub(super) fn object(schema: &Schema, root: &Type, raw: &[u8], budget: &Budget) -> Result<Map, ProtoError> {
    let mut fields = Map::new();
    Reader { schema, budget }.message(root, raw, 0, &mut fields)?;
    Ok(fields)
}

/// Reads messages of the table's types.
#[derive(Clone, Copy)]
struct Reader<'r> {
    schema: &'r Schema,
    budget: &'r Budget,
}

/// One value on the wire. No type of the table has 32-bit ones: they are only skipped.
#[derive(Clone, Copy)]
enum Wire<'b> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'b [u8]),
}

/// The fields of a message, by number.
struct Fields<'b>(&'b [u8]);

impl<'b> Iterator for Fields<'b> {
    type Item = Result<(u64, Wire<'b>), ProtoError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let item = self.read();
        if item.is_err() {
            self.0 = &[];
        }
        Some(item)
    }
}

impl<'b> Fields<'b> {
    fn read(&mut self) -> Result<(u64, Wire<'b>), ProtoError> {
        let key = varint(&mut self.0)?;
        let wire = match (key & 7) as u8 {
            0 => Wire::Varint(varint(&mut self.0)?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(varint(&mut self.0)?).map_err(|_| ProtoError::Truncated)?;
                Wire::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Wire::Fixed32
            }
            other => return Err(ProtoError::WireType(other)),
        };
        Ok((key >> 3, wire))
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], ProtoError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(ProtoError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtoError> {
        self.take(N)?.try_into().map_err(|_| ProtoError::Truncated)
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, ProtoError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(ProtoError::Truncated)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(ProtoError::Overflow)
}

impl Reader<'_> {
    fn message(self, parent: &Type, raw: &[u8], depth: usize, fields: &mut Map) -> Result<(), ProtoError> {
        if depth > DEPTH_MAX {
            return Err(ProtoError::Depth);
        }
        for item in Fields(raw) {
            let (number, wire) = item?;
            let Some(field) =
                parent.fields.iter().find(|field| u64::from(field.number) == number && number != 0)
            else {
                continue;
            };
            match (field.inline, field.kind, wire) {
                (true, ValueKind::Struct(id), Wire::Bytes(bytes)) => {
                    self.message(self.schema.get(id), bytes, depth + 1, fields)?;
                }
                _ => self.add(field, wire, depth, fields)?,
            }
        }
        Ok(())
    }

    fn add(self, field: &Field, wire: Wire<'_>, depth: usize, fields: &mut Map) -> Result<(), ProtoError> {
        let name = &*field.name;
        match field.shape {
            Shape::Single => {
                let value = self.single(field, wire, depth)?;
                fields.insert(name.to_owned(), value);
            }
            Shape::List => {
                let values = fields.entry(name).or_insert_with(|| Vec::<Value>::new().into());
                let Value::Array(values) = values else { return Ok(()) };
                match (field.kind, wire) {
                    (ValueKind::Int32 | ValueKind::Int64 | ValueKind::Bool, Wire::Bytes(mut packed)) => {
                        while !packed.is_empty() {
                            let wire = Wire::Varint(varint(&mut packed)?);
                            values.push(self.single(field, wire, depth)?);
                        }
                    }
                    _ => values.push(self.single(field, wire, depth)?),
                }
            }
            Shape::Map => {
                let (key, value) = self.entry(field, wire, depth)?;
                let entries = fields.entry(name).or_insert_with(|| Map::new().into());
                if let Value::Object(entries) = entries {
                    entries.insert(key, value);
                }
            }
        }
        Ok(())
    }

    /// A map entry: a message of key (1) and value (2); either may be absent.
    fn entry(self, field: &Field, wire: Wire<'_>, depth: usize) -> Result<(String, Value), ProtoError> {
        let (mut key, mut value) = (String::new(), None);
        for item in Fields(bytes(field, wire)?) {
            match item? {
                (1, Wire::Bytes(text)) => key = String::from_utf8_lossy(text).into_owned(),
                (2, wire) => value = Some(self.single(field, wire, depth)?),
                _ => {}
            }
        }
        self.budget.bytes(NODE_BYTES + key.len())?;
        Ok((key, value.unwrap_or_else(|| super::scalar::zero(field.kind))))
    }

    fn single(self, field: &Field, wire: Wire<'_>, depth: usize) -> Result<Value, ProtoError> {
        self.budget.bytes(NODE_BYTES)?;
        Ok(match field.kind {
            ValueKind::Int32 => (varint_of(field, wire)? as i32).into(),
            ValueKind::Int64 => (varint_of(field, wire)? as i64).into(),
            ValueKind::Bool => (varint_of(field, wire)? != 0).into(),
            ValueKind::Float64 => float(field, wire)?,
            ValueKind::String => self.text(bytes(field, wire)?)?,
            ValueKind::Bytes => STANDARD.encode(self.paid(bytes(field, wire)?)?).into(),
            ValueKind::Strings => self.strings(bytes(field, wire)?)?,
            ValueKind::Quantity => self.first_text(bytes(field, wire)?)?.unwrap_or_else(|| "0".into()),
            ValueKind::Time => time(bytes(field, wire)?, Timestamp::rfc3339)?,
            ValueKind::MicroTime => time(bytes(field, wire)?, Timestamp::rfc3339_micro)?,
            ValueKind::Duration => format!("{}ns", first_integer(bytes(field, wire)?)?).into(),
            ValueKind::IntOrString => self.int_or_string(bytes(field, wire)?)?,
            ValueKind::Any | ValueKind::AnyObject | ValueKind::Deduced => {
                self.raw_json(field, bytes(field, wire)?)?
            }
            ValueKind::Struct(id) => {
                self.budget.bytes(CONTAINER_BYTES)?;
                let mut inner = Map::new();
                self.message(self.schema.get(id), bytes(field, wire)?, depth + 1, &mut inner)?;
                inner.into()
            }
        })
    }

    /// Bytes for which twice their number is paid: base64 and replaced characters take more room than what stands in the body.
    fn paid(self, bytes: &[u8]) -> Result<&[u8], Spent> {
        self.budget.bytes(bytes.len().saturating_mul(2)).map(|()| bytes)
    }

    fn text(self, bytes: &[u8]) -> Result<Value, Spent> {
        Ok(String::from_utf8_lossy(self.paid(bytes)?).into_owned().into())
    }

    fn strings(self, raw: &[u8]) -> Result<Value, ProtoError> {
        let mut values = Vec::new();
        for item in Fields(raw) {
            if let (1, Wire::Bytes(bytes)) = item? {
                self.budget.bytes(NODE_BYTES)?;
                values.push(self.text(bytes)?);
            }
        }
        Ok(values.into())
    }

    fn first_text(self, raw: &[u8]) -> Result<Option<Value>, ProtoError> {
        let mut found = None;
        for item in Fields(raw) {
            if let (1, Wire::Bytes(bytes)) = item? {
                found = Some(self.text(bytes)?).filter(|value| value != "");
            }
        }
        Ok(found)
    }

    fn int_or_string(self, raw: &[u8]) -> Result<Value, ProtoError> {
        let (mut is_text, mut integer, mut string) = (false, 0_i32, Value::from(""));
        for item in Fields(raw) {
            match item? {
                (1, Wire::Varint(kind)) => is_text = kind == 1,
                (2, Wire::Varint(value)) => integer = value as i32,
                (3, Wire::Bytes(bytes)) => string = self.text(bytes)?,
                _ => {}
            }
        }
        Ok(if is_text { string } else { integer.into() })
    }

    /// RawExtension, FieldsV1 and apiextensions' JSON carry JSON text in field 1.
    fn raw_json(self, field: &Field, raw: &[u8]) -> Result<Value, ProtoError> {
        let mut value = Value::Null;
        for item in Fields(raw) {
            if let (1, Wire::Bytes(bytes)) = item? {
                value = walk::opaque(bytes, self.budget)
                    .map_err(|error| ProtoError::Json(field.name.to_string(), error))?;
            }
        }
        Ok(value)
    }
}

fn bytes<'b>(field: &Field, wire: Wire<'b>) -> Result<&'b [u8], ProtoError> {
    match wire {
        Wire::Bytes(bytes) => Ok(bytes),
        other => Err(other.wrong(field)),
    }
}

fn varint_of(field: &Field, wire: Wire<'_>) -> Result<u64, ProtoError> {
    match wire {
        Wire::Varint(value) => Ok(value),
        other => Err(other.wrong(field)),
    }
}

fn float(field: &Field, wire: Wire<'_>) -> Result<Value, ProtoError> {
    match wire {
        Wire::Fixed64(bits) => Ok(Number::from_f64(f64::from_bits(bits)).map_or(Value::Null, Value::Number)),
        other => Err(other.wrong(field)),
    }
}

impl Wire<'_> {
    fn wrong(self, field: &Field) -> ProtoError {
        let wire = match self {
            Self::Varint(_) => 0,
            Self::Fixed64(_) => 1,
            Self::Bytes(_) => 2,
            Self::Fixed32 => 5,
        };
        ProtoError::WrongWireType { wire, field: field.name.to_string() }
    }
}

fn first_integer(raw: &[u8]) -> Result<i64, ProtoError> {
    let mut found = 0;
    for item in Fields(raw) {
        if let (1, Wire::Varint(value)) = item? {
            found = value as i64;
        }
    }
    Ok(found)
}

/// Seconds (1) and nanoseconds (2); both absent is Go's zero time, which JSON does not show.
fn time(raw: &[u8], write: fn(Timestamp) -> String) -> Result<Value, ProtoError> {
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    for item in Fields(raw) {
        match item? {
            (1, Wire::Varint(value)) => seconds = value as i64,
            (2, Wire::Varint(value)) => nanos = i64::from(value as i32),
            _ => {}
        }
    }
    if seconds == 0 && nanos == 0 {
        return Ok(Value::Null);
    }
    let moment = Timestamp::from_seconds(seconds.clamp(YEAR_0_S, YEAR_9999_END_S));
    if moment.seconds() != seconds || !(0..1_000_000_000).contains(&nanos) {
        return Err(ProtoError::Time { seconds, nanos });
    }
    Ok(write(Timestamp::from_micros(moment.micros() + nanos / 1000)).into())
}
