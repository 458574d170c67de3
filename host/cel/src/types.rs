//! The types of expressions.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use berth_json::Text;

use crate::names;

/// The longest text that a declared time or duration can be, in quotes: what Kubernetes reckons with.
const TIME_SIZE: u64 = 32;
/// That of a day.
const DATE_SIZE: u64 = 12;

/// A type of CEL. Sizes are upper bounds that a schema declares; they matter to [estimates](crate::Program::estimated_cost)
/// alone, and types that differ in nothing else are the same.
#[derive(Clone, Debug)]
pub enum Type {
    /// Checked when the program runs.
    Dyn(Option<u64>),
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// 64 bits with a sign.
    Int,
    /// 64 bits without one.
    Uint,
    /// A floating-point number.
    Double,
    /// Text, and the most characters it can have.
    String(Option<u64>),
    /// Bytes, and the most there can be.
    Bytes(Option<u64>),
    /// A point in time.
    Timestamp,
    /// A point in time that JSON writes as a day: in expressions no other type.
    Date,
    /// A span of time.
    Duration,
    /// A list.
    List(Arc<ListType>),
    /// A map of keys that are not known before.
    Map(Arc<MapType>),
    /// An object with named fields.
    Object(Arc<ObjectType>),
    /// A value that may be missing.
    Optional(Arc<Type>),
    /// A type as a value.
    Type(Arc<Type>),
    /// What only functions can look into.
    Opaque(Opaque),
    /// Not known yet: a variable of the checker.
    #[doc(hidden)]
    Parameter(u32),
    /// What was refused already.
    #[doc(hidden)]
    Error,
}

/// Kubernetes' own types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opaque {
    /// An amount of a resource.
    Quantity,
    /// An IP address.
    Ip,
    /// A range of IP addresses.
    Cidr,
    /// A URL.
    Url,
    /// A semantic version.
    Semver,
    /// A named format of strings.
    Format,
}

/// What a list holds.
#[derive(Debug)]
pub struct ListType {
    /// The type of its elements.
    pub element: Type,
    /// The most elements there can be.
    pub max_items: Option<u64>,
    /// How its elements are told apart.
    pub kind: ListKind,
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListKind {
    /// By position.
    #[default]
    Atomic,
    /// By value, in any order.
    Set,
    /// By the values of these fields of theirs, in any order.
    Map(Vec<Text>),
}

/// What a map holds.
#[derive(Debug)]
pub struct MapType {
    /// The type of its keys.
    pub key: Type,
    /// The type of its values.
    pub value: Type,
    /// The most entries there can be.
    pub max_properties: Option<u64>,
}

/// The named fields of an object.
#[derive(Debug)]
pub struct ObjectType {
    name: Text,
    fields: BTreeMap<Text, Field>,
}

/// A field of an object.
#[derive(Debug)]
pub struct Field {
    /// Its key in JSON.
    pub key: Text,
    /// Its type.
    pub value: Type,
}

impl ObjectType {
    /// An object with these fields by their JSON keys. A key that cannot be written in an expression even when
    /// [escaped](crate::escape) is left out, as Kubernetes does.
    pub fn new(name: &str, fields: impl IntoIterator<Item = (Text, Type)>) -> Self {
        let named = fields.into_iter().filter_map(|(key, value)| {
            let name = names::escape(&key)?;
            Some((name, Field { key, value }))
        });
        Self { name: name.into(), fields: named.collect() }
    }

    /// The field that an expression calls `name`.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.get(name)
    }
}

impl Type {
    /// A text of any length.
    pub const STRING: Self = Self::String(None);
    /// Bytes of any length.
    pub const BYTES: Self = Self::Bytes(None);
    /// Anything.
    pub const DYN: Self = Self::Dyn(None);

    /// A list of any length.
    pub fn list(element: Self) -> Self {
        Self::List(Arc::new(ListType { element, max_items: None, kind: ListKind::Atomic }))
    }

    /// A map of any size.
    pub fn map(key: Self, value: Self) -> Self {
        Self::Map(Arc::new(MapType { key, value, max_properties: None }))
    }

    /// A value that may be missing.
    pub fn optional(value: Self) -> Self {
        Self::Optional(Arc::new(value))
    }

    /// The most elements, entries, characters or bytes that a declared value of this type can have.
    pub(crate) fn max_size(&self) -> Option<u64> {
        match self {
            Self::Dyn(max) | Self::String(max) | Self::Bytes(max) => *max,
            Self::List(list) => list.max_items,
            Self::Map(map) => map.max_properties,
            Self::Timestamp | Self::Duration => Some(TIME_SIZE),
            Self::Date => Some(DATE_SIZE),
            _ => Some(0),
        }
    }

    /// Whether its values are all of one size.
    pub(crate) fn is_scalar(&self) -> bool {
        match self {
            Self::Optional(value) => value.is_scalar(),
            Self::Bool
            | Self::Int
            | Self::Uint
            | Self::Double
            | Self::Timestamp
            | Self::Date
            | Self::Duration => true,
            _ => false,
        }
    }

    pub(crate) fn is_dyn(&self) -> bool {
        matches!(self, Self::Dyn(_))
    }

    pub(crate) fn is_dyn_or_error(&self) -> bool {
        matches!(self, Self::Dyn(_) | Self::Error)
    }

    /// Whether both are the same type.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(a), Self::List(b)) => Arc::ptr_eq(a, b) || a.element.is(&b.element),
            (Self::Map(a), Self::Map(b)) => Arc::ptr_eq(a, b) || (a.key.is(&b.key) && a.value.is(&b.value)),
            (Self::Object(a), Self::Object(b)) => Arc::ptr_eq(a, b),
            (Self::Optional(a), Self::Optional(b)) | (Self::Type(a), Self::Type(b)) => a.is(b),
            (Self::Opaque(a), Self::Opaque(b)) => a == b,
            (Self::Parameter(a), Self::Parameter(b)) => a == b,
            (Self::Timestamp, Self::Date) | (Self::Date, Self::Timestamp) => true,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl PartialEq for Type {
    fn eq(&self, other: &Self) -> bool {
        self.is(other)
    }
}

impl Opaque {
    /// Whether cel-go knows it as an object, though one without fields.
    pub(crate) fn is_object(self) -> bool {
        !matches!(self, Self::Ip | Self::Cidr)
    }

    /// The name of the type in expressions.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quantity => "kubernetes.Quantity",
            Self::Ip => "net.IP",
            Self::Cidr => "net.CIDR",
            Self::Url => "kubernetes.URL",
            Self::Semver => "kubernetes.Semver",
            Self::Format => "kubernetes.NamedFormat",
        }
    }
}

/// As cel-go prints types in errors.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn(_) => f.write_str("dyn"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String(_) => f.write_str("string"),
            Self::Bytes(_) => f.write_str("bytes"),
            Self::Timestamp | Self::Date => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::List(list) => write!(f, "list({})", list.element),
            Self::Map(map) => write!(f, "map({}, {})", map.key, map.value),
            Self::Object(object) => f.write_str(&object.name),
            Self::Optional(value) => write!(f, "optional_type({value})"),
            Self::Type(value) => write!(f, "type({value})"),
            Self::Opaque(opaque) => f.write_str(opaque.name()),
            Self::Parameter(number) => write!(f, "_var{number}"),
            Self::Error => f.write_str("!error!"),
        }
    }
}
